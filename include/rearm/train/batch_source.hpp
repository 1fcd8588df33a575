#pragma once
/// @file batch_source.hpp
/// Where a trainer's batches come from: a backend's own memory.

#include <rearm/core/context.hpp>
#include <rearm/train/sampler.hpp>

#include <cstdint>

namespace rearm::REARM_ABI {

/// The batches of a PairSampler.
template <Backend B>
class HostBatchSource {
  static_assert(B::Memory::host_accessible,
                "a backend whose memory the host cannot reach has a BatchSource of its own");

 public:
  /// Throws what PairSampler's constructor throws.
  HostBatchSource(Context<B>&, const Interactions& train, const Adjacency& excluded, Index n_items, Index batch_size,
                  std::uint64_t seed, int n_negatives = 1)
      : sampler_(train, excluded, n_items, batch_size, seed, n_negatives) {}
  Index n_batches() const noexcept { return sampler_.n_batches(); }
  void begin_epoch(std::uint32_t epoch) { sampler_.begin_epoch(epoch); }
  /// Makes the next batch; false at the end of the epoch.
  bool next() { return sampler_.next(batch_); }
  BatchView<HostMemory> batch() const { return batch_; }

 private:
  PairSampler sampler_;
  Batch batch_;
};

namespace detail {
template <class B>
struct BatchSourceOf {
  using type = HostBatchSource<B>;
};
template <class B>
requires requires { typename B::BatchSource; }
struct BatchSourceOf<B> {
  using type = typename B::BatchSource;
};
}  // namespace detail

/// The backend's own, which makes the same batches, or the host's.
template <Backend B>
using BatchSource = typename detail::BatchSourceOf<B>::type;

}  // namespace rearm::REARM_ABI
