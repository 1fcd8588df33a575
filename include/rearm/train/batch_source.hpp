#pragma once
/// @file batch_source.hpp
/// Where a trainer's batches come from: a backend's own memory.

#include <rearm/core/context.hpp>
#include <rearm/train/sampler.hpp>

#include <cstdint>

namespace rearm {

/// The batches of a PairSampler; backends whose memory the host cannot reach specialise this and make the same ones.
template <Backend B>
class BatchSource {
  static_assert(B::Memory::host_accessible, "include the backend's own batch source");

 public:
  /// Throws what PairSampler's constructor throws.
  BatchSource(Context<B>&, const Interactions& train, const Adjacency& excluded, Index n_items, Index batch_size,
              std::uint64_t seed, int n_negatives = 1)
      : sampler_(train, excluded, n_items, batch_size, seed, n_negatives) {}
  Index n_batches() const noexcept { return sampler_.n_batches(); }
  void begin_epoch(std::uint32_t epoch) { sampler_.begin_epoch(epoch); }
  /// Makes the next batch; false at the epoch's end.
  bool next() { return sampler_.next(batch_); }
  BatchView<HostMemory> batch() const { return batch_; }

 private:
  PairSampler sampler_;
  Batch batch_;
};

}  // namespace rearm
