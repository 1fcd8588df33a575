#pragma once
/// @file item_neighbors.hpp
/// Items' neighbors as a by-product of the search for users' neighbors.

#include <rearm/graph/neighbors.hpp>

#include <optional>

namespace rearm::REARM_ABI {

/// The items' own neighbors, wanted in addition to the users': both come from the same cosines.
struct ItemNeighbors {
  Index k = 0;  ///< 0: not wanted
  std::optional<NeighborTable> table;
};

}  // namespace rearm::REARM_ABI
