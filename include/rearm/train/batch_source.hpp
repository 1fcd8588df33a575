#pragma once
/// @file batch_source.hpp
/// Where a trainer's batches come from: a backend's own memory.

#include <rearm/core/context.hpp>
#include <rearm/train/sampler.hpp>
#include <rearm/train/shared_sampler.hpp>

#include <cstdint>
#include <utility>
#include <variant>

namespace rearm::REARM_ABI {

/// The batches of a PairSampler, or of a SharedPairSampler.
template <Backend B>
class HostBatchSource {
  static_assert(B::Memory::host_accessible,
                "a backend whose memory the host cannot reach has a BatchSource of its own");

 public:
  using Shared = SharedPairSampler;
  /// Throws what PairSampler's constructor throws.
  HostBatchSource(Context<B>&, const Interactions& train, const Adjacency& excluded, Index n_items, Index batch_size,
                  std::uint64_t seed, int n_negatives = 1)
      : sampler_(std::in_place_type<PairSampler>, train, excluded, n_items, batch_size, seed, n_negatives) {}
  /// With the pairs shared by ranks; `excluded` is of this rank's users, `train` must outlive this.
  HostBatchSource(Context<B>&, const RowBlocks& users, const Interactions& train, Adjacency excluded, Index n_items,
                  Index batch_size, std::uint64_t seed, int n_negatives = 1)
      : sampler_(std::in_place_type<Shared>, users, train, std::move(excluded), n_items, batch_size, seed,
                 n_negatives) {}
  Index n_batches() const noexcept {
    return std::visit([](const auto& sampler) { return sampler.n_batches(); }, sampler_);
  }
  void begin_epoch(std::uint32_t epoch, Index first = 0) {
    std::visit([&](auto& sampler) { sampler.begin_epoch(epoch, first); }, sampler_);
  }
  /// Makes the next batch; false at the epoch's end.
  bool next() {
    return std::visit([&](auto& sampler) { return sampler.next(batch_); }, sampler_);
  }
  BatchView<HostMemory> batch() const { return batch_; }

 private:
  std::variant<PairSampler, Shared> sampler_;
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
