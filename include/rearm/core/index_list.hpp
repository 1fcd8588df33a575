#pragma once
/// @file index_list.hpp
/// Row ids with the grouping that makes the transpose of a gather a loop over targets.

#include <rearm/core/matrix_view.hpp>

namespace rearm::REARM_ABI {

/// ids[0..size), and the positions sorted by id: segment s (one distinct id) is order[segments[s]..segments[s + 1]).
/// Points into the arena of the context that made it, in the backend's memory. Where the host does not know how many
/// there are (`count`), size and n_segments are the most there can be; ids beyond are valid, segments beyond empty.
struct IndexList {
  const Id* ids = nullptr;
  Index size = 0;
  const Id* order = nullptr;
  const Index* segments = nullptr;
  Index n_segments = 0;
  const Index* count = nullptr;  ///< how many of a distinct list's ids count; null: all
};

}  // namespace rearm::REARM_ABI
