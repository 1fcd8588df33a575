#pragma once
/// @file faiss_index.hpp
/// An index of faiss, where the program was built with it (REARM_FAISS).

#include <rearm/core/matrix_view.hpp>

#include <filesystem>

namespace rearm::cli {

/// Writes an index whose search by inner product compares with every row (IndexFlatIP), so that it finds what
/// `recommend` finds; the file is there whole or not at all. Throws IoError; ConfigError where there is no faiss.
void write_faiss_index(const std::filesystem::path& path, ConstView<float> rows);
/// Throws ConfigError where there is no faiss.
void require_faiss();

}  // namespace rearm::cli
