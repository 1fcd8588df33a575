#pragma once
/// @file sampler.hpp
/// Shuffled train pairs with one uniform negative each, a pure function of (seed, epoch).

#include <rearm/core/error.hpp>
#include <rearm/core/random.hpp>
#include <rearm/data/interactions.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

namespace rearm {

/// Row r: a user, an item of its train pairs and an item outside its excluded ones.
struct Batch {
  std::vector<Id> users, positives, negatives;
  Index size() const noexcept { return static_cast<Index>(users.size()); }
};

namespace detail {
/// Streams of the run's random numbers that belong to the sampler.
inline constexpr std::uint32_t shuffle_stream = 0x5A4D0001;
inline constexpr std::uint32_t negative_stream = 0x5A4D0002;

/// The r-th (from 0) of the ids that are not in `excluded` (ascending, distinct). O(log).
inline Id select_outside(std::span<const Id> excluded, Index r) {
  // excluded[c] - c ids below excluded[c] are not excluded; that never falls with c.
  std::size_t low = 0, high = excluded.size();
  while (low < high) {
    const std::size_t mid = (low + high) / 2;
    if (excluded[mid] - static_cast<Index>(mid) > r)
      high = mid;
    else
      low = mid + 1;
  }
  return static_cast<Id>(r + static_cast<Index>(low));
}
}  // namespace detail

/// An epoch is one shuffled pass over the train pairs (spec 4). Batches depend on the seed and the epoch alone, so that
/// a resumed run draws the same ones.
class PairSampler {
 public:
  /// `excluded` has a row a user (data/dataset.hpp: known_items). Starts at epoch 0. Throws ConfigError for a batch
  /// size below 1; DataError for no or too many pairs, ids out of range, or a user in train who has every item
  /// excluded.
  PairSampler(Interactions train, Adjacency excluded, Index n_items, Index batch_size, std::uint64_t seed)
      : train_(std::move(train)),
        excluded_(std::move(excluded)),
        n_items_(n_items),
        batch_size_(batch_size),
        seed_(seed) {
    if (batch_size_ < 1) throw ConfigError(detail::message("batch_size = ", batch_size_, ": must be at least 1"));
    check_ids();
    order_.resize(train_.users.size());
    begin_epoch(0);
  }

  /// Shuffles (Fisher-Yates) and goes to the first batch.
  void begin_epoch(std::uint32_t epoch) {
    epoch_ = epoch;
    next_ = 0;
    std::iota(order_.begin(), order_.end(), std::uint32_t{0});
    const RandomKey key{seed_, detail::shuffle_stream, epoch};
    for (std::size_t i = order_.size(); i-- > 1;)
      std::swap(order_[i], order_[key.below(i, static_cast<std::uint32_t>(i) + 1)]);
  }
  Index n_pairs() const noexcept { return train_.size(); }
  Index n_batches() const noexcept { return (n_pairs() + batch_size_ - 1) / batch_size_; }
  Index batch_size() const noexcept { return batch_size_; }

  /// Fills `batch` (the last of an epoch may be smaller) or returns false at the epoch's end. Allocates only while the
  /// batch's vectors are smaller than a batch.
  bool next(Batch& batch) {
    if (next_ >= n_pairs()) return false;
    const Index n = std::min(batch_size_, n_pairs() - next_);
    for (auto* ids : {&batch.users, &batch.positives, &batch.negatives}) ids->resize(static_cast<std::size_t>(n));
    for (Index r = 0; r < n; ++r, ++next_) {
      const std::size_t pair = order_[static_cast<std::size_t>(next_)];
      const auto row = static_cast<std::size_t>(r);
      batch.users[row] = train_.users[pair];
      batch.positives[row] = train_.items[pair];
      batch.negatives[row] = negative(train_.users[pair], next_);
    }
    return true;
  }

 private:
  static constexpr std::uint64_t max_tries = 31;

  void check_ids() const {
    if (n_items_ < 1 || n_items_ > std::numeric_limits<Id>::max())
      throw DataError(
          detail::message("sampler: n_items = ", n_items_, ": must be 1 to ", std::numeric_limits<Id>::max()));
    if (train_.users.size() != train_.items.size() || train_.users.empty() ||
        train_.users.size() >= std::numeric_limits<std::uint32_t>::max())
      throw DataError(detail::message("sampler: train has ", train_.users.size(), " users and ", train_.items.size(),
                                      " items; needed are as many of both, from 1 to 2^32 - 2"));
    for (Index u = 0; u < excluded_.rows(); ++u) {
      const auto row = excluded_.row(u);
      if (!row.empty() && (row.front() < 0 || row.back() >= n_items_))
        throw DataError(detail::message("sampler: an excluded item of user ", u, " is outside [0, ", n_items_, ")"));
    }
    for (std::size_t e = 0; e < train_.users.size(); ++e) {
      const Id user = train_.users[e], item = train_.items[e];
      if (user < 0 || user >= excluded_.rows() || item < 0 || item >= n_items_)
        throw DataError(detail::message("sampler: train pair ", e, " is (", user, ", ", item, ") but there are ",
                                        excluded_.rows(), " users and ", n_items_, " items"));
      if (excluded_.degree(user) >= n_items_)
        throw DataError(detail::message("sampler: user ", user, " has all ", n_items_,
                                        " items excluded, so there is no negative; drop that user's pairs"));
    }
  }

  /// Uniform over the items outside the user's excluded ones: rejection, and for a user who has nearly all of them
  /// selection by rank, which is as uniform and always ends.
  Id negative(Id user, Index position) const {
    const RandomKey key{seed_, detail::negative_stream, epoch_};
    const std::uint64_t base = static_cast<std::uint64_t>(position) * (max_tries + 1);
    for (std::uint64_t attempt = 0; attempt < max_tries; ++attempt) {
      const auto item = static_cast<Id>(key.below(base + attempt, static_cast<std::uint32_t>(n_items_)));
      if (!excluded_.contains(user, item)) return item;
    }
    const Index free = n_items_ - excluded_.degree(user);
    return detail::select_outside(excluded_.row(user), key.below(base + max_tries, static_cast<std::uint32_t>(free)));
  }

  Interactions train_;
  Adjacency excluded_;
  Index n_items_;
  Index batch_size_;
  std::uint64_t seed_;
  std::uint32_t epoch_ = 0;
  Index next_ = 0;
  std::vector<std::uint32_t> order_;
};

}  // namespace rearm
