#pragma once
/// @file sampling.hpp
/// The random choices of an epoch: the order of its pairs, and a negative item for each.

#include <rearm/core/matrix_view.hpp>
#include <rearm/core/random.hpp>

#include <cstdint>

namespace rearm::REARM_ABI::functors {

/// The sampler's random streams.
inline constexpr std::uint32_t shuffle_stream = 0x5A4D0001;
inline constexpr std::uint32_t negative_stream = 0x5A4D0002;

/// The epoch takes its pairs in ascending order of this key, ties in order of pair number.
REARM_HD inline std::uint64_t shuffle_key(const RandomKey& key, std::uint64_t pair) {
  const RandomBits bits = key.bits(pair);
  return (static_cast<std::uint64_t>(bits.word[0]) << 32) | bits.word[1];
}

/// The r-th (from 0) of the ids that are not among the n `excluded` (ascending, distinct). O(log n).
REARM_HD inline Id select_outside(const Id* excluded, Index n, Index r) {
  // excluded[c] - c ids below excluded[c] are not excluded; that never decreases with c.
  Index low = 0;
  Index high = n;
  while (low < high) {
    const Index mid = (low + high) / 2;
    if (excluded[mid] - mid > r)
      high = mid;
    else
      low = mid + 1;
  }
  return static_cast<Id>(r + low);
}

/// A uniform draw from the items that a user does not exclude: by rejection, and after `max_tries` rejections, as for a
/// user who excludes nearly all items, by rank, which is equally uniform and always terminates.
struct NegativeDraw {
  static constexpr std::uint64_t max_tries = 31;
  const Index* offsets;  ///< user u's excluded items are ids[offsets[u]] .. ids[offsets[u + 1]], ascending
  const Id* ids;
  Index n_items;
  RandomKey key;  ///< the epoch's

  REARM_HD bool is_excluded(Id user, Id item) const {
    Index low = offsets[user];
    Index high = offsets[user + 1];
    while (low < high) {
      const Index mid = (low + high) / 2;
      if (ids[mid] < item)
        low = mid + 1;
      else
        high = mid;
    }
    return low < offsets[user + 1] && ids[low] == item;
  }
  /// For the pair at `position` of the epoch.
  REARM_HD Id operator()(Id user, Index position) const {
    const std::uint64_t base = static_cast<std::uint64_t>(position) * (max_tries + 1);
    for (std::uint64_t attempt = 0; attempt < max_tries; ++attempt) {
      const auto item = static_cast<Id>(key.below(base + attempt, static_cast<std::uint32_t>(n_items)));
      if (!is_excluded(user, item)) return item;
    }
    const Index n = offsets[user + 1] - offsets[user];
    return select_outside(ids + offsets[user], n, key.below(base + max_tries, static_cast<std::uint32_t>(n_items - n)));
  }
};

}  // namespace rearm::REARM_ABI::functors
