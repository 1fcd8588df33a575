#pragma once
/// @file item_neighbors.hpp
/// Items' neighbors that fall out of the search for users' neighbors.

#include <rearm/graph/neighbors.hpp>

#include <optional>

namespace rearm::REARM_ABI {

/// The items' own neighbors, wanted beside the users': they lie in the same cosines.
struct ItemNeighbors {
  Index k = 0;  ///< 0: not wanted
  std::optional<NeighborTable> table;
};

}  // namespace rearm::REARM_ABI
