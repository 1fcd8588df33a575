#pragma once
/// @file options.hpp
/// How graphs are built, whatever the model.

#include <rearm/core/macros.hpp>

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string_view>

namespace rearm::REARM_ABI {

struct GraphOptions {
  std::filesystem::path cache_dir;  ///< where built graphs are cached; empty: nowhere
  /// Take from the cache what any backend has put there. A device's cosines are rounded otherwise than the CPU's, so
  /// that each keeps its own, unless backends are to be compared on the same graphs.
  bool of_any_backend = false;
  /// Called before each stage with its name and the fraction of stages finished, and at the end with 1.
  std::function<void(std::string_view stage, double fraction)> progress;
  /// Upper limit on memory for the items' cosines, the CPU's fast way to the users' neighbors (`user_knn`).
  std::size_t gram_bytes = std::size_t{2} << 30;
};

}  // namespace rearm::REARM_ABI
