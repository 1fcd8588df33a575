#pragma once
/// @file item_neighbours.hpp
/// Items' neighbors that fall out of the search for users' neighbors.

#include <rearm/graph/neighbours.hpp>

#include <optional>

namespace rearm {

/// The items' own neighbours, wanted beside the users': they lie in the same cosines.
struct ItemNeighbours {
  Index k = 0;  ///< 0: not wanted
  std::optional<NeighbourTable> table;
};

}  // namespace rearm
