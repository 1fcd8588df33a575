#pragma once
/// @file rows.cuh
/// Row functors on a device: one warp per row, and sums over rows whose order depends on the shape alone.

#include <rearm/backend/cuda/resources.cuh>
#include <rearm/core/arena.hpp>
#include <rearm/core/backend.hpp>

#include <algorithm>

namespace rearm::REARM_ABI::gpu {

inline constexpr unsigned full_warp = 0xFFFFFFFFU;
inline constexpr int warp_size = 32;
/// Warps per block of a kernel that runs row functors.
inline constexpr int row_warps = 8;
/// Warps per block of a reduction over rows.
inline constexpr int reduce_warps = 16;
/// Most blocks of a reduction over rows: two per multiprocessor, and few enough for the last block to add up quickly.
inline constexpr Index reduce_blocks = 256;
/// Sums per warp that fit in shared memory.
template <class T>
inline constexpr Index shared_width = Index{2048} / static_cast<Index>(sizeof(T));

/// One lane of the warp that owns a row; see core/lane.hpp.
struct WarpLane {
  static constexpr Index step = warp_size;
  int lane;

  REARM_HD Index first() const { return lane; }
  REARM_HD bool leads() const { return lane == 0; }
  template <class T>
  __device__ T sum(T x) const {
    for (int offset = warp_size / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(full_warp, x, offset);
    return x;
  }
  template <class T>
  __device__ T max(T x) const {
    for (int offset = warp_size / 2; offset > 0; offset /= 2) {
      const T other = __shfl_xor_sync(full_warp, x, offset);
      x = other > x ? other : x;
    }
    return x;
  }
  __device__ void sync() const { __syncwarp(); }
};

__device__ inline WarpLane own_lane() { return {static_cast<int>(threadIdx.x) % warp_size}; }
/// The warp's number in the grid.
__device__ inline Index own_warp() {
  return static_cast<Index>(blockIdx.x) * (blockDim.x / warp_size) + threadIdx.x / warp_size;
}

template <class F>
REARM_KERNEL void for_each_kernel(Index n, F f) {
  const Index i = own_warp();
  if (i < n) f(i, own_lane());
}

/// Sum j of `to` is the sum over rows i of what f(i, partial, lane) adds to partial_j: a warp adds up its rows, a block
/// its warps, and the last block to finish all blocks, each in a fixed order. The warps' sums are in shared memory or,
/// if they do not fit, in `partials`, after those of the blocks. `arrived` is 0 before and after.
template <bool Shared, class F, class T>
REARM_KERNEL void __launch_bounds__(reduce_warps* warp_size, Shared ? 2 : 1)
    reduce_rows_kernel(Index n, Index width, Index rows_per_warp, F f, T* partials, unsigned* arrived, RowSums<T> to) {
  __shared__ T sums[reduce_warps][Shared ? shared_width<T> : 1];
  __shared__ T slices[reduce_warps * warp_size];
  __shared__ bool last;
  const int thread = static_cast<int>(threadIdx.x);
  const int threads = reduce_warps * warp_size;
  const Index stride = Shared ? shared_width<T> : width;
  T* const of_block = Shared ? sums[0] : partials + (gridDim.x + static_cast<Index>(blockIdx.x) * reduce_warps) * width;
  T* const own = of_block + thread / warp_size * stride;
  const WarpLane lane = own_lane();
  for (Index j = lane.first(); j < width; j += WarpLane::step) own[j] = T{0};
  lane.sync();
  const Index begin = own_warp() * rows_per_warp;
  const Index end = begin + rows_per_warp < n ? begin + rows_per_warp : n;
  for (Index i = begin; i < end; ++i) f(i, own, lane);
  __syncthreads();
  for (Index j = thread; j < width; j += threads) {
    T sum{0};
    for (int w = 0; w < reduce_warps; ++w) sum += of_block[w * stride + j];
    partials[blockIdx.x * width + j] = sum;
  }
  __syncthreads();
  if (thread == 0) {
    __threadfence();
    last = atomicInc(arrived, gridDim.x - 1) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  if (!last) return;
  // As many columns at a time as possible; the threads of one column divide the blocks among them.
  int columns = 16;
  while (columns < width && columns < threads) columns *= 2;
  const int n_slices = threads / columns;
  const int slice = thread / columns;
  for (Index first = 0; first < width; first += columns) {
    const Index j = first + thread % columns;
    T sum{0};
    constexpr int together = 16;  // loads in flight
    for (Index block = slice; block < static_cast<Index>(gridDim.x); block += together * n_slices) {
      T part[together];
      REARM_UNROLL
      for (int p = 0; p < together; ++p) {
        const Index here = block + p * n_slices;
        part[p] = here < static_cast<Index>(gridDim.x) && j < width ? partials[here * width + j] : T{0};
      }
      REARM_UNROLL
      for (int p = 0; p < together; ++p) sum += part[p];
    }
    slices[thread] = sum;
    __syncthreads();
    T total{0};
    if (slice == 0 && j < width)
      for (int q = 0; q < n_slices; ++q) total += slices[q * columns + thread];
    for (int group = 0; group < to.n_groups; ++group) {
      if (slice == 0 && j < width) to.put(group, j, total);
      __syncthreads();
    }
  }
}

template <class F>
void for_each(const Resources& resources, Index n, const F& f) {
  launch(resources, blocks_for(n, row_warps), row_warps * warp_size, for_each_kernel<F>, n, f);
}

template <class F, class T>
void reduce_rows(const Resources& resources, Arena<CudaMemory>& arena, Index n, const F& f, const RowSums<T>& to) {
  const Index width = to.width();
  if (width == 0) return;
  constexpr Index least_rows = 4;  // per warp
  const Index rows_per_warp =
      std::max(least_rows, (n + reduce_blocks * reduce_warps - 1) / (reduce_blocks * reduce_warps));
  const unsigned blocks = std::max(blocks_for(n, rows_per_warp * reduce_warps), 1U);
  const bool shared = width <= shared_width<T>;
  const auto mark = arena.mark();
  T* const partials = arena.template allocate<T>(static_cast<Index>(blocks) * width * (shared ? 1 : 1 + reduce_warps));
  launch(resources, blocks, reduce_warps * warp_size,
         shared ? reduce_rows_kernel<true, F, T> : reduce_rows_kernel<false, F, T>, n, width, rows_per_warp, f,
         partials, resources.arrived(), to);
  arena.rewind(mark);
}

}  // namespace rearm::REARM_ABI::gpu
