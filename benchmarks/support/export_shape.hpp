#pragma once
/// @file export_shape.hpp
/// What a peer needs to take the same step. Compiled by the host's compiler for every backend.

#include <benchmarks/support/shapes.hpp>

#include <filesystem>

namespace rearm::bench {

/// Writes pairs, graphs, and the settings in shape.json; threads as in CpuOptions.
void export_shape(const Shape& shape, int threads, const std::filesystem::path& folder);

}  // namespace rearm::bench
