#pragma once
/// @file rows.cuh
/// Row functors on a device: a warp a row, and sums over rows whose order depends on the shape alone.

#include <rearm/backend/cuda/resources.cuh>
#include <rearm/core/arena.hpp>
#include <rearm/core/backend.hpp>

namespace rearm::gpu {

inline constexpr unsigned full_warp = 0xFFFFFFFFU;
inline constexpr int warp_size = 32;
/// Warps of a block that runs row functors.
inline constexpr int row_warps = 8;
/// Rows a warp adds up before its sum meets the others'.
inline constexpr Index reduce_rows_per_warp = 32;

/// One lane of the warp that has a row; see core/lane.hpp.
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

/// A warp's rows added into row `warp` of partials (n_warps x width).
template <class F, class T>
REARM_KERNEL void partial_sums_kernel(Index n, Index width, F f, T* partials) {
  const Index warp = own_warp();
  const Index begin = warp * reduce_rows_per_warp;
  if (begin >= n) return;
  const WarpLane lane = own_lane();
  T* const partial = partials + warp * width;
  for (Index j = lane.first(); j < width; j += WarpLane::step) partial[j] = T{0};
  lane.sync();
  const Index end = begin + reduce_rows_per_warp < n ? begin + reduce_rows_per_warp : n;
  for (Index i = begin; i < end; ++i) f(i, partial, lane);
}

/// out_j (+)= sum over rows of x: 32 columns a block, its 8 warps take every 8th row, then add up in order.
template <class T>
REARM_KERNEL void column_sums_kernel(MatrixView<const T> x, T* out, Write write) {
  __shared__ T sums[row_warps][warp_size];
  const int warp = static_cast<int>(threadIdx.x) / warp_size;
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  const Index j = static_cast<Index>(blockIdx.x) * warp_size + lane;
  T sum{0};
  if (j < x.cols)
    for (Index i = warp; i < x.rows; i += row_warps) sum += x(i, j);
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || j >= x.cols) return;
  T total = write == Write::overwrite ? T{0} : out[j];
  for (int w = 0; w < row_warps; ++w) total += sums[w][lane];
  out[j] = total;
}

/// out (+)= sum of n numbers by one block, in a fixed order.
template <class T>
REARM_KERNEL void total_kernel(const T* x, Index n, T* out, Write write) {
  __shared__ T sums[row_warps];
  T sum{0};
  for (Index i = threadIdx.x; i < n; i += blockDim.x) sum += x[i];
  sum = own_lane().sum(sum);
  if (own_lane().leads()) sums[threadIdx.x / warp_size] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  T total = write == Write::overwrite ? T{0} : *out;
  for (int w = 0; w < row_warps; ++w) total += sums[w];
  *out = total;
}

template <class F>
void for_each(const Resources& resources, Index n, const F& f) {
  launch(resources, blocks_for(n, row_warps), row_warps * warp_size, for_each_kernel<F>, n, f);
}

template <class F, class T>
void reduce_rows(const Resources& resources, Arena<CudaMemory>& arena, Index n, Index width, const F& f, T* out,
                 Write write) {
  const auto mark = arena.mark();
  const Index n_warps = (n + reduce_rows_per_warp - 1) / reduce_rows_per_warp;
  T* const partials = arena.template allocate<T>(n_warps * width > 0 ? n_warps * width : 1);
  launch(resources, blocks_for(n_warps, row_warps), row_warps * warp_size, partial_sums_kernel<F, T>, n, width, f,
         partials);
  if (width == 1)
    launch(resources, 1, row_warps * warp_size, total_kernel<T>, static_cast<const T*>(partials), n_warps, out, write);
  else
    launch(resources, blocks_for(width, warp_size), row_warps * warp_size, column_sums_kernel<T>,
           MatrixView<const T>(partials, n_warps, width), out, write);
  arena.rewind(mark);
}

}  // namespace rearm::gpu
