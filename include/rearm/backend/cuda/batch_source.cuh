#pragma once
/// @file batch_source.cuh
/// An epoch's batches made on the device: the same as on the host.

#include <rearm/backend/cuda/cuda_backend.cuh>
#include <rearm/train/batch_source.hpp>

#include <algorithm>
#include <cstdint>

namespace rearm::REARM_ABI {
namespace gpu {

REARM_KERNEL void shuffle_keys_kernel(RandomKey key, Index n, std::uint64_t* keys, Id* pairs) {
  const Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= n) return;
  keys[i] = functors::shuffle_key(key, static_cast<std::uint64_t>(i));
  pairs[i] = static_cast<Id>(i);
}

REARM_KERNEL void batch_kernel(const Id* order, const Id* users, const Id* items, functors::NegativeDraw negative,
                               Index first, Index n, int n_negatives, Id* batch_users, Id* positives, Id* negatives) {
  const Index r = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (r >= n) return;
  const Id pair = order[first + r];
  batch_users[r] = users[pair];
  positives[r] = items[pair];
  for (Index j = 0; j < n_negatives; ++j)
    negatives[r * n_negatives + j] = negative(users[pair], (first + r) * n_negatives + j);
}

}  // namespace gpu

/// Train pairs and excluded items are copied to the device once; kernels shuffle, make batches and draw negatives. A
/// batch has the same addresses each time.
template <class T>
class CudaBatchSource {
 public:
  /// Throws what PairSampler's constructor throws.
  CudaBatchSource(Context<CudaBackend<T>>& ctx, const Interactions& train, const Adjacency& excluded, Index n_items,
                  Index batch_size, std::uint64_t seed, int n_negatives = 1)
      : ctx_(&ctx), n_items_(n_items), batch_size_(batch_size), seed_(seed), n_negatives_(n_negatives) {
    PairSampler::check(train, excluded, n_items, batch_size, n_negatives);
    ctx.enter();
    users_ = Ids(train.users);
    items_ = Ids(train.items);
    excluded_offsets_ = Buffer<Index, CudaMemory>(excluded.offsets);
    excluded_ids_ = Ids(excluded.ids);
    const Index n = train.size();
    for (Ids* ids : {&pairs_, &order_}) *ids = Ids(n);
    for (auto* keys : {&keys_, &sorted_keys_}) *keys = Buffer<std::uint64_t, CudaMemory>(n);
    capacity_ = std::min(batch_size, n);
    batch_ = Ids((2 + n_negatives) * capacity_);
    begin_epoch(0);
  }
  Index n_batches() const noexcept { return (order_.size() + batch_size_ - 1) / batch_size_; }

  /// Starts the epoch at batch number `first`.
  void begin_epoch(std::uint32_t epoch, Index first = 0) {
    epoch_ = epoch;
    next_ = first * batch_size_;
    const gpu::Resources& resources = ctx_->resources();
    const Index n = order_.size();
    gpu::launch(resources, gpu::blocks_for(n, 256), 256, gpu::shuffle_keys_kernel,
                RandomKey{seed_, functors::shuffle_stream, epoch}, n, keys_.data(), pairs_.data());
    gpu::with_work(resources, ctx_->arena(), "cub::DeviceRadixSort::SortPairs", [&](void* work, std::size_t& bytes) {
      return cub::DeviceRadixSort::SortPairs(work, bytes, static_cast<const std::uint64_t*>(keys_.data()),
                                             sorted_keys_.data(), static_cast<const Id*>(pairs_.data()), order_.data(),
                                             gpu::item_count(n, "shuffle"), 0, 64, resources.stream());
    });
  }
  /// Makes the next batch; false at the epoch's end.
  bool next() {
    const Index n = std::min(batch_size_, order_.size() - next_);
    if (n <= 0) return false;
    size_ = n;
    Id* const users = batch_.data();
    gpu::launch(ctx_->resources(), gpu::blocks_for(n, 256), 256, gpu::batch_kernel,
                static_cast<const Id*>(order_.data()), static_cast<const Id*>(users_.data()),
                static_cast<const Id*>(items_.data()),
                functors::NegativeDraw{excluded_offsets_.data(), excluded_ids_.data(), n_items_,
                                       RandomKey{seed_, functors::negative_stream, epoch_}},
                next_, n, n_negatives_, users, users + capacity_, users + 2 * capacity_);
    next_ += n;
    return true;
  }
  BatchView<CudaMemory> batch() const {
    const auto n = static_cast<std::size_t>(size_);
    return {{batch_.data(), n},
            {batch_.data() + capacity_, n},
            {batch_.data() + 2 * capacity_, n * static_cast<std::size_t>(n_negatives_)}};
  }

 private:
  using Ids = Buffer<Id, CudaMemory>;
  Context<CudaBackend<T>>* ctx_;
  Index n_items_;
  Index batch_size_;
  std::uint64_t seed_;
  int n_negatives_;
  Index capacity_ = 0;  ///< pairs of the largest batch
  std::uint32_t epoch_ = 0;
  Index next_ = 0;
  Index size_ = 0;
  Ids users_, items_, excluded_ids_, pairs_, order_, batch_;
  Buffer<Index, CudaMemory> excluded_offsets_;
  Buffer<std::uint64_t, CudaMemory> keys_, sorted_keys_;
};

}  // namespace rearm::REARM_ABI
