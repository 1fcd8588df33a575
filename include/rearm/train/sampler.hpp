#pragma once
/// @file sampler.hpp
/// Shuffled train pairs with uniformly drawn negatives, a pure function of (seed, epoch).

#include <rearm/core/error.hpp>
#include <rearm/core/matrix.hpp>
#include <rearm/core/random.hpp>
#include <rearm/data/batch.hpp>
#include <rearm/data/interactions.hpp>
#include <rearm/functors/sampling.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// An epoch is one shuffled pass over the train pairs (spec 4). Batches depend on the seed and the epoch alone, so that
/// a resumed run draws the same ones.
class PairSampler {
 public:
  /// `excluded` has a row a user (data/dataset.hpp: known_items). Starts at epoch 0. Throws ConfigError for a batch
  /// size or a number of negatives below 1; DataError for no or too many pairs, ids out of range, or a user in train
  /// who has every item excluded.
  PairSampler(Interactions train, Adjacency excluded, Index n_items, Index batch_size, std::uint64_t seed,
              int n_negatives = 1)
      : train_(std::move(train)),
        excluded_(std::move(excluded)),
        n_items_(n_items),
        batch_size_(batch_size),
        seed_(seed),
        n_negatives_(n_negatives) {
    check(train_, excluded_, n_items_, batch_size_, n_negatives_);
    order_.resize(train_.users.size());
    begin_epoch(0);
  }

  /// Shuffles (by sorting random keys, which a GPU can do as well) and goes to batch number `first`, in [0, n_batches).
  void begin_epoch(std::uint32_t epoch, Index first = 0) {
    epoch_ = epoch;
    next_ = first * batch_size_;
    const RandomKey key{seed_, functors::shuffle_stream, epoch};
    for (std::size_t i = 0; i < order_.size(); ++i) order_[i] = {functors::shuffle_key(key, i), static_cast<Id>(i)};
    std::sort(order_.begin(), order_.end());
  }
  /// The checks of the constructor.
  static void check(const Interactions& train, const Adjacency& excluded, Index n_items, Index batch_size,
                    int n_negatives = 1) {
    if (n_negatives < 1) throw ConfigError(detail::message("n_negatives = ", n_negatives, ": must be at least 1"));
    if (batch_size < 1) throw ConfigError(detail::message("batch_size = ", batch_size, ": must be at least 1"));
    if (n_items < 1 || n_items > std::numeric_limits<Id>::max())
      throw DataError(
          detail::message("sampler: n_items = ", n_items, ": must be 1 to ", std::numeric_limits<Id>::max()));
    if (train.users.size() != train.items.size() || train.users.empty() ||
        train.users.size() > static_cast<std::size_t>(std::numeric_limits<Id>::max()))
      throw DataError(detail::message("sampler: train has ", train.users.size(), " users and ", train.items.size(),
                                      " items; it needs equally many of both, from 1 to 2^31 - 1"));
    for (Index u = 0; u < excluded.rows(); ++u) {
      const auto row = excluded.row(u);
      if (!row.empty() && (row.front() < 0 || row.back() >= n_items))
        throw DataError(detail::message("sampler: an excluded item of user ", u, " is outside [0, ", n_items, ")"));
    }
    for (std::size_t e = 0; e < train.users.size(); ++e) {
      const Id user = train.users[e], item = train.items[e];
      if (user < 0 || user >= excluded.rows() || item < 0 || item >= n_items)
        throw DataError(detail::message("sampler: train pair ", e, " is (", user, ", ", item, ") but there are ",
                                        excluded.rows(), " users and ", n_items, " items"));
      if (excluded.degree(user) >= n_items)
        throw DataError(detail::message("sampler: user ", user, " has all ", n_items,
                                        " items excluded, so there is no negative; drop that user's pairs"));
    }
  }

  Index n_pairs() const noexcept { return train_.size(); }
  Index n_batches() const noexcept { return (n_pairs() + batch_size_ - 1) / batch_size_; }
  Index batch_size() const noexcept { return batch_size_; }

  /// Fills `batch` (the last one of an epoch may be smaller); returns false at the end of the epoch. Allocates only
  /// while the vectors of `batch` are smaller than a batch.
  bool next(Batch& batch) {
    if (next_ >= n_pairs()) return false;
    const Index n = std::min(batch_size_, n_pairs() - next_);
    batch.resize(n, n_negatives_);
    const functors::NegativeDraw negative{excluded_.offsets.data(), excluded_.ids.data(), n_items_,
                                          RandomKey{seed_, functors::negative_stream, epoch_}};
    for (Index r = 0; r < n; ++r, ++next_) {
      const auto pair = static_cast<std::size_t>(order_[static_cast<std::size_t>(next_)].second);
      const auto row = static_cast<std::size_t>(r);
      batch.users[row] = train_.users[pair];
      batch.positives[row] = train_.items[pair];
      for (Index j = 0; j < n_negatives_; ++j)
        batch.negatives[static_cast<std::size_t>(r * n_negatives_ + j)] =
            negative(train_.users[pair], next_ * n_negatives_ + j);
    }
    return true;
  }

 private:
  Interactions train_;
  Adjacency excluded_;
  Index n_items_;
  Index batch_size_;
  std::uint64_t seed_;
  int n_negatives_;
  std::uint32_t epoch_ = 0;
  Index next_ = 0;
  std::vector<std::pair<std::uint64_t, Id>> order_;  ///< random key, pair
};

}  // namespace rearm::REARM_ABI
