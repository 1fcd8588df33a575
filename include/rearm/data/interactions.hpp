#pragma once
/// @file interactions.hpp
/// User-item pairs and their grouping by user or by item.

#include <rearm/core/error.hpp>
#include <rearm/core/matrix_view.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace rearm::REARM_ABI {

/// A list of (user, item) pairs; ids start at 0.
struct Interactions {
  std::vector<Id> users;
  std::vector<Id> items;
  Index size() const noexcept { return static_cast<Index>(users.size()); }
};

/// For each of n rows a sorted list of distinct ids: a user's items, or an item's users.
struct Adjacency {
  std::vector<Index> offsets = {0};  ///< rows + 1
  std::vector<Id> ids;
  Index rows() const noexcept { return static_cast<Index>(offsets.size()) - 1; }
  std::span<const Id> row(Index i) const noexcept {
    const auto begin = static_cast<std::size_t>(offsets[static_cast<std::size_t>(i)]);
    const auto end = static_cast<std::size_t>(offsets[static_cast<std::size_t>(i) + 1]);
    return {ids.data() + begin, end - begin};
  }
  Index degree(Index i) const noexcept { return static_cast<Index>(row(i).size()); }
  bool contains(Index i, Id id) const noexcept { return std::ranges::binary_search(row(i), id); }
};

/// Groups `values` by `keys` (each in [0, n_keys)): ids of each row ascend, repeats are dropped. O(pairs log).
inline Adjacency group(std::span<const Id> keys, std::span<const Id> values, Index n_keys) {
  Adjacency out;
  out.offsets.assign(static_cast<std::size_t>(n_keys) + 1, 0);
  for (const Id key : keys) ++out.offsets[static_cast<std::size_t>(key) + 1];
  for (std::size_t i = 1; i < out.offsets.size(); ++i) out.offsets[i] += out.offsets[i - 1];
  std::vector<Id> ids(values.size());
  std::vector<Index> next(out.offsets.begin(), out.offsets.end());
  for (std::size_t e = 0; e < keys.size(); ++e)
    ids[static_cast<std::size_t>(next[static_cast<std::size_t>(keys[e])]++)] = values[e];
  std::vector<Index> offsets(1, 0);
  offsets.reserve(out.offsets.size());
  out.ids.reserve(values.size());
  for (Index i = 0; i < n_keys; ++i) {
    const auto first = ids.begin() + out.offsets[static_cast<std::size_t>(i)];
    const auto last = ids.begin() + out.offsets[static_cast<std::size_t>(i) + 1];
    std::sort(first, last);
    out.ids.insert(out.ids.end(), first, std::unique(first, last));
    offsets.push_back(static_cast<Index>(out.ids.size()));
  }
  out.offsets = std::move(offsets);
  return out;
}

/// Adds pairs behind those that are there.
inline void append(Interactions& pairs, const Interactions& more) {
  pairs.users.insert(pairs.users.end(), more.users.begin(), more.users.end());
  pairs.items.insert(pairs.items.end(), more.items.begin(), more.items.end());
}

namespace detail {

/// The pairs whose user (`kind` &Interactions::users) or item is one of [begin, begin + n), numbered from there.
inline Interactions pairs_inside(const Interactions& pairs, std::vector<Id> Interactions::*kind, Index begin, Index n) {
  const std::vector<Id>& ids = pairs.*kind;
  const auto inside = [=](Id id) { return id >= begin && id < begin + n; };
  const auto size = static_cast<std::size_t>(std::ranges::count_if(ids, inside));
  Interactions out;
  out.users.reserve(size);
  out.items.reserve(size);
  for (std::size_t e = 0; e < ids.size(); ++e)
    if (inside(ids[e])) {
      out.users.push_back(pairs.users[e]);
      out.items.push_back(pairs.items[e]);
    }
  for (Id& id : out.*kind) id -= static_cast<Id>(begin);
  return out;
}

}  // namespace detail

/// The pairs whose user is one of [begin, begin + n), users numbered from there.
inline Interactions pairs_of_users(const Interactions& pairs, Index begin, Index n) {
  return detail::pairs_inside(pairs, &Interactions::users, begin, n);
}

/// The items of each user.
inline Adjacency items_by_user(const Interactions& pairs, Index n_users) {
  return group(pairs.users, pairs.items, n_users);
}
/// The same without users who have nothing in `train`.
inline Adjacency items_by_warm_user(const Interactions& pairs, const Adjacency& train) {
  Interactions warm;
  for (std::size_t e = 0; e < pairs.users.size(); ++e)
    if (train.degree(pairs.users[e]) > 0) {
      warm.users.push_back(pairs.users[e]);
      warm.items.push_back(pairs.items[e]);
    }
  return items_by_user(warm, train.rows());
}
/// The users of each item.
inline Adjacency users_by_item(const Interactions& pairs, Index n_items) {
  return group(pairs.items, pairs.users, n_items);
}
/// Of items [begin, begin + n): row i is item begin + i.
inline Adjacency users_by_item(const Interactions& pairs, Index begin, Index n) {
  return users_by_item(detail::pairs_inside(pairs, &Interactions::items, begin, n), n);
}

}  // namespace rearm::REARM_ABI
