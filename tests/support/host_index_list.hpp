#pragma once
/// @file host_index_list.hpp
/// The simplest `index_list` of a backend whose memory is the host's.

#include <rearm/core/arena.hpp>
#include <rearm/core/index_list.hpp>

#include <algorithm>
#include <numeric>
#include <span>

namespace rearm::test {

inline IndexList host_index_list(Arena<HostMemory>& arena, std::span<const Id> ids) {
  const auto n = static_cast<Index>(ids.size());
  Id* const copy = arena.allocate<Id>(n);
  Id* const order = arena.allocate<Id>(n);
  Index* const segments = arena.allocate<Index>(n + 1);
  std::ranges::copy(ids, copy);
  std::iota(order, order + n, Id{0});
  std::ranges::stable_sort(order, order + n, {}, [&](Id place) { return copy[place]; });
  Index n_segments = 0;
  for (Index i = 0; i < n; ++i)
    if (i == 0 || copy[order[i]] != copy[order[i - 1]]) segments[n_segments++] = i;
  segments[n_segments] = n;
  return {copy, n, order, segments, n_segments};
}

}  // namespace rearm::test
