#pragma once
/// @file shared_sampler.hpp
/// The batches of a PairSampler, drawn by ranks of which each keeps a part of the pairs.

#include <rearm/core/communicator.hpp>
#include <rearm/train/sampler.hpp>

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// What a PairSampler of all pairs draws, on every rank: each keeps the pairs of its own users and what these exclude.
/// An epoch's order is that of random keys, so a rank sorts its own; where in them each batch begins, all find
/// together, bit by bit. Of a batch, ranks then tell each other the keys and, with the negatives that each has drawn
/// for its users, the pairs. Every rank makes the same calls.
class SharedPairSampler {
 public:
  /// `train` has all pairs, which PairSampler::check has found good, and must outlive this; `excluded` a row for each
  /// of this rank's `users`.
  SharedPairSampler(const RowBlocks& users, const Interactions& train, Adjacency excluded, Index n_items,
                    Index batch_size, std::uint64_t seed, int n_negatives = 1)
      : ranks_(users.ranks),
        first_user_(users.begin()),
        train_(&train),
        excluded_(std::move(excluded)),
        n_items_(n_items),
        batch_size_(batch_size),
        seed_(seed),
        n_negatives_(n_negatives) {
    order_.reserve(static_cast<std::size_t>(std::ranges::count_if(train.users, [&](Id user) { return owns(user); })));
    begin_epoch(0);
  }

  Index n_batches() const noexcept { return (train_->size() + batch_size_ - 1) / batch_size_; }

  /// As PairSampler's.
  void begin_epoch(std::uint32_t epoch, Index first = 0) {
    epoch_ = epoch;
    next_ = first;
    const RandomKey key{seed_, functors::shuffle_stream, epoch};
    order_.clear();
    for (std::size_t pair = 0; pair < train_->users.size(); ++pair)
      if (owns(train_->users[pair])) order_.push_back({functors::shuffle_key(key, pair), static_cast<Id>(pair)});
    std::sort(order_.begin(), order_.end());
    find_batches();
  }

  /// As PairSampler's.
  bool next(Batch& batch) {
    if (next_ >= n_batches()) return false;
    const Index begin = next_ * batch_size_;
    const Index n = std::min(batch_size_, train_->size() - begin);
    const std::size_t own_begin = starts_[at(next_)], own_end = starts_[at(++next_)];
    const auto own = std::span<const Key>(order_).subspan(own_begin, own_end - own_begin);
    const auto n_ranks = static_cast<std::size_t>(ranks_->size());
    std::vector<Index> counts(n_ranks);
    counts[static_cast<std::size_t>(ranks_->rank())] = static_cast<Index>(own.size());
    ranks_->all_gather(counts.data(), std::vector<Index>(n_ranks, 1));
    std::vector<Index> begins(n_ranks + 1, 0);
    for (std::size_t q = 0; q < n_ranks; ++q) begins[q + 1] = begins[q] + counts[q];

    // The order of all.
    keys_.resize(static_cast<std::size_t>(n));
    const Index mine = begins[static_cast<std::size_t>(ranks_->rank())];
    std::copy(own.begin(), own.end(), keys_.begin() + mine);
    ranks_->all_gather(keys_.data(), counts);
    positions_.resize(static_cast<std::size_t>(n));
    std::vector<Index> heads(begins.begin(), begins.end() - 1);
    for (Index position = 0; position < n; ++position) {
      std::size_t least = n_ranks;
      for (std::size_t q = 0; q < n_ranks; ++q)
        if (heads[q] < begins[q + 1] && (least == n_ranks || keys_[at(heads[q])] < keys_[at(heads[least])])) least = q;
      positions_[at(heads[least]++)] = position;
    }

    // The pairs, each rank's own with their negatives.
    const Index width = 2 + n_negatives_;
    ids_.resize(static_cast<std::size_t>(n * width));
    const functors::NegativeDraw negative{excluded_.offsets.data(), excluded_.ids.data(), n_items_,
                                          RandomKey{seed_, functors::negative_stream, epoch_}};
    for (std::size_t i = 0; i < own.size(); ++i) {
      const auto pair = static_cast<std::size_t>(own[i].pair);
      const Index slot = mine + static_cast<Index>(i);
      Id* const to = ids_.data() + slot * width;
      to[0] = train_->users[pair];
      to[1] = train_->items[pair];
      for (Index j = 0; j < n_negatives_; ++j)
        to[2 + j] = negative(static_cast<Id>(to[0] - first_user_), (begin + positions_[at(slot)]) * n_negatives_ + j);
    }
    for (Index& count : counts) count *= width;
    ranks_->all_gather(ids_.data(), counts);
    batch.resize(n, n_negatives_);
    for (Index slot = 0; slot < n; ++slot) {
      const Id* const from = ids_.data() + slot * width;
      const Index position = positions_[at(slot)];
      batch.users[at(position)] = from[0];
      batch.positives[at(position)] = from[1];
      std::copy_n(from + 2, n_negatives_, batch.negatives.data() + position * n_negatives_);
    }
    return true;
  }

 private:
  struct Key {  ///< all differ
    std::uint64_t random;
    std::int64_t pair;
    auto operator<=>(const Key&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 reads a 0 in it
  };
  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }
  bool owns(Id user) const { return user >= first_user_ && user < first_user_ + excluded_.rows(); }
  /// How many of the own pairs come before `key`.
  std::size_t before(const Key& key) const {
    return static_cast<std::size_t>(std::ranges::lower_bound(order_, key) - order_.begin());
  }
  /// The first key of a batch is the largest before which there are no more pairs than in all batches before.
  void find_batches() {
    const auto n = static_cast<std::size_t>(n_batches());
    std::vector<Key> first(n, Key{0, 0});
    std::vector<Index> n_before(n);
    const auto try_bit = [&](const auto& with_bit) {
      for (std::size_t b = 0; b < n; ++b) n_before[b] = static_cast<Index>(before(with_bit(first[b])));
      ranks_->sum(std::span<Index>(n_before));
      for (std::size_t b = 0; b < n; ++b)
        if (n_before[b] <= static_cast<Index>(b) * batch_size_) first[b] = with_bit(first[b]);
    };
    for (int bit = 63; bit >= 0; --bit)
      try_bit([=](const Key& key) { return Key{key.random | std::uint64_t{1} << bit, key.pair}; });
    for (int bit = 30; bit >= 0; --bit)  // numbers of pairs are ids
      try_bit([=](const Key& key) { return Key{key.random, key.pair | std::int64_t{1} << bit}; });
    starts_.resize(n + 1);
    for (std::size_t b = 0; b < n; ++b) starts_[b] = before(first[b]);
    starts_[n] = order_.size();
  }

  Communicator* ranks_;
  Index first_user_;
  const Interactions* train_;
  Adjacency excluded_;
  Index n_items_;
  Index batch_size_;
  std::uint64_t seed_;
  int n_negatives_;
  std::uint32_t epoch_ = 0;
  Index next_ = 0;
  std::vector<Key> order_;           ///< of this rank's pairs
  std::vector<std::size_t> starts_;  ///< of each batch in `order_`, and its end
  std::vector<Key> keys_;            ///< of a batch, rank by rank
  std::vector<Index> positions_;     ///< in the batch
  std::vector<Id> ids_;              ///< user, positive and negatives
};

}  // namespace rearm::REARM_ABI
