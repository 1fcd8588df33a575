#pragma once
/// @file shared_users.hpp
/// Whether items that are alike by their features are liked by the same users.

#include <rearm/data/interactions.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace rearm::REARM_ABI {

/// How many times as many users an item shares with its neighbors as with other items drawn at random: the mean of
/// |U_i n U_j| over all items i and neighbors j != i, by its mean over all pairs of items. `neighbors(i)` is a range of
/// item i's neighbors. 1 means that the features know nothing of the users; 0 if no two items share a user.
template <class Neighbors>
double shared_users_lift(const Interactions& train, Index n_items, const Neighbors& neighbors) {
  const Adjacency users_of = users_by_item(train, n_items);
  double near = 0, near_pairs = 0, all = 0;
  for (Index i = 0; i < n_items; ++i)
    for (const Id j : neighbors(i)) {
      if (j == i) continue;
      const std::span<const Id> a = users_of.row(i), b = users_of.row(j);
      for (auto x = a.begin(), y = b.begin(); x != a.end() && y != b.end();) {
        const Id user = std::min(*x, *y);
        near += *x == *y ? 1 : 0;
        if (*x == user) ++x;
        if (*y == user) ++y;
      }
      near_pairs += 1;
    }
  std::vector<Id> users = users_of.ids;
  std::ranges::sort(users);
  double earlier = 0;  // pairs of the same user so far: each of its d items is beside d - 1 others
  for (std::size_t e = 1; e < users.size(); ++e) {
    earlier = users[e] == users[e - 1] ? earlier + 1 : 0;
    all += 2 * earlier;
  }
  const double n = static_cast<double>(n_items);
  if (all == 0 || near_pairs == 0) return 0;
  return near / near_pairs / (all / (n * (n - 1)));
}

}  // namespace rearm::REARM_ABI
