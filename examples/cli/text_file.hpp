#pragma once
/// @file text_file.hpp
/// Text files, also compressed by gzip.

#include <rearm/core/error.hpp>

#include <filesystem>
#include <istream>
#include <memory>

namespace rearm::cli {

/// Opens a file for reading; one that begins as gzip's do is uncompressed as it is read. Throws IoError if it cannot be
/// opened, or is compressed and the program was built without zlib; reading throws it for damaged data.
std::unique_ptr<std::istream> open_text(const std::filesystem::path& path);

}  // namespace rearm::cli
