#pragma once
/// @file products.cuh
/// Dense products by cuBLAS; sparse ones by cuSPARSE, or by a kernel whose sums have a fixed order.

#include <rearm/backend/cuda/rows.cuh>
#include <rearm/core/bfloat16.hpp>
#include <rearm/core/csr.hpp>
#include <rearm/core/into.hpp>
#include <rearm/functors/elementwise.hpp>

#include <algorithm>
#include <limits>
#include <type_traits>

namespace rearm::REARM_ABI::gpu {

inline int product_extent(Index n, const char* what) {
  if (n > std::numeric_limits<int>::max())
    throw ShapeError(detail::message("gemm: ", what, " = ", n, " is more than cuBLAS takes"));
  return static_cast<int>(n);
}

/// C (+)= alpha op(A) op(B), row-major: cuBLAS, which is column-major, computes C^T = op(B)^T op(A)^T.
template <class T>
void gemm(const Resources& resources, Op op_a, Op op_b, T alpha, MatrixView<const T> a, MatrixView<const T> b,
          MatrixView<T> c, Write write) {
  const Index k = op_a == Op::none ? a.cols : a.rows;
  if (c.empty()) return;
  const auto flag = [](Op op) { return op == Op::none ? CUBLAS_OP_N : CUBLAS_OP_T; };
  const auto stride = [](const auto& m) {
    return product_extent(std::max<Index>(std::max(m.stride, m.cols), 1), "stride");
  };
  const T beta = write == Write::overwrite ? T{0} : T{1};
  const int m = product_extent(c.rows, "rows"), n = product_extent(c.cols, "columns"),
            inner = product_extent(k, "inner");
  const DeviceGuard here = resources.start();
  if constexpr (std::is_same_v<T, float>)
    REARM_CUDA_CHECK(cublasSgemm(resources.blas(), flag(op_b), flag(op_a), n, m, inner, &alpha, b.data, stride(b),
                                 a.data, stride(a), &beta, c.data, stride(c)));
  else
    REARM_CUDA_CHECK(cublasDgemm(resources.blas(), flag(op_b), flag(op_a), n, m, inner, &alpha, b.data, stride(b),
                                 a.data, stride(a), &beta, c.data, stride(c)));
}

/// C = op(A) op(B) of matrices in bfloat16, their products (exact) added in float on tensor cores.
inline void gemm(const Resources& resources, Op op_a, Op op_b, ConstView<BFloat16> a, ConstView<BFloat16> b,
                 MatrixView<float> c) {
  if (c.empty()) return;
  const auto flag = [](Op op) { return op == Op::none ? CUBLAS_OP_N : CUBLAS_OP_T; };
  const auto stride = [](const auto& m) {
    return product_extent(std::max<Index>(std::max(m.stride, m.cols), 1), "stride");
  };
  const float one = 1, zero = 0;
  const DeviceGuard here = resources.start();
  REARM_CUDA_CHECK(cublasGemmEx(
      resources.blas(), flag(op_b), flag(op_a), product_extent(c.cols, "columns"), product_extent(c.rows, "rows"),
      product_extent(op_a == Op::none ? a.cols : a.rows, "inner"), &one, b.data, CUDA_R_16BF, stride(b), a.data,
      CUDA_R_16BF, stride(a), &zero, c.data, CUDA_R_32F, stride(c), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
}

/// A float is the sum of three numbers in bfloat16, unless the last is too small for one.
inline constexpr int bfloat16_terms = 3;
/// The terms of x(i, j) go to rows i and columns j of `terms`.
struct SplitRow {
  MatrixView<const float> x;
  MatrixView<BFloat16> terms[bfloat16_terms];
  template <class L>
  __device__ void operator()(Index i, const L& lane) const {
    for (Index j = lane.first(); j < x.cols; j += L::step) {
      float rest = x(i, j);
      REARM_UNROLL
      for (const MatrixView<BFloat16>& term : terms) {
        term(i, j) = round_to_nearest(rest);
        rest -= to_float(term(i, j));
      }
    }
  }
};
/// y (+)= the sum of what the terms gave, the last, which is the smallest, first.
struct AddTermsRow {
  MatrixView<const float> terms[bfloat16_terms];
  Into<float> y;
  template <class L>
  __device__ void operator()(Index i, const L& lane) const {
    for (Index j = lane.first(); j < y.view.cols; j += L::step) {
      float sum = 0;
      REARM_UNROLL
      for (int t = bfloat16_terms - 1; t >= 0; --t) sum += terms[t](i, j);
      functors::store(y.view(i, j), sum, y.write);
    }
  }
};

/// Rows with more entries than this are shared by the warps of a block.
inline constexpr Index long_row = 128;

/// sum_t += S(i, e) X(column of e, first + 32 t) over the entries [begin, end) of a row, in stored order: each lane
/// fetches entries for the whole warp and owns Tile columns.
template <class T, int Tile>
__device__ void add_entries(const CsrView<T>& s, const MatrixView<const T>& x, Index begin, Index end, Index first,
                            const WarpLane& lane, T (&sum)[Tile]) {
  for (Index e = begin; e < end; e += warp_size) {
    const Index own = e + lane.first();
    const Id column = own < end ? s.indices[own] : 0;
    const T value = own < end ? s.values[own] : T{0};
    const int n = end - e < warp_size ? static_cast<int>(end - e) : warp_size;
    REARM_UNROLL_BY(4)
    for (int source = 0; source < n; ++source) {
      const T factor = __shfl_sync(full_warp, value, source);
      const T* const row = x.row(__shfl_sync(full_warp, column, source));
      REARM_UNROLL
      for (int t = 0; t < Tile; ++t)
        if (first + t * warp_size < x.cols) sum[t] += factor * row[first + t * warp_size];
    }
  }
}

/// Y (+)= S X, one warp per row, except that all warps of a block share its long rows; then(i, lane) follows.
template <class T, int Tile, class Then>
REARM_KERNEL void spmm_kernel(CsrView<T> s, MatrixView<const T> x, MatrixView<T> y, Write write, Then then) {
  __shared__ T pieces[row_warps][Tile][warp_size];
  const WarpLane lane = own_lane();
  const int warp = static_cast<int>(threadIdx.x) / warp_size;
  const Index first_row = static_cast<Index>(blockIdx.x) * row_warps;
  const Index i = first_row + warp;
  // Lane r holds the extent of the block's row r.
  const auto offset = [&](Index r) { return s.offsets[r < s.rows ? r : s.rows]; };
  const Index begin = offset(first_row + lane.first());
  const Index size = offset(first_row + lane.first() + 1) - begin;
  const unsigned long_rows = __ballot_sync(full_warp, lane.first() < row_warps && size > long_row);
  const Index own_begin = __shfl_sync(full_warp, begin, warp);
  const Index own_size = __shfl_sync(full_warp, size, warp);
  for (Index base = 0; base < y.cols; base += Tile * warp_size) {
    const Index first = base + lane.first();
    T sum[Tile] = {};
    if (own_size <= long_row) add_entries(s, x, own_begin, own_begin + own_size, first, lane, sum);
    for (unsigned rest = long_rows; rest != 0; rest &= rest - 1) {
      const int r = __ffs(static_cast<int>(rest)) - 1;
      const Index end = __shfl_sync(full_warp, begin + size, r);
      const Index piece = (__shfl_sync(full_warp, size, r) + row_warps - 1) / row_warps;
      const Index from = __shfl_sync(full_warp, begin, r) + warp * piece;
      T part[Tile] = {};
      add_entries(s, x, from, from + piece < end ? from + piece : end, first, lane, part);
      REARM_UNROLL
      for (int t = 0; t < Tile; ++t) pieces[warp][t][lane.lane] = part[t];
      __syncthreads();
      for (int w = 0; warp == r && w < row_warps; ++w) {
        REARM_UNROLL
        for (int t = 0; t < Tile; ++t) sum[t] += pieces[w][t][lane.lane];
      }
      __syncthreads();
    }
    REARM_UNROLL
    for (int t = 0; t < Tile; ++t) {
      const Index j = first + t * warp_size;
      if (i < s.rows && j < y.cols) y(i, j) = write == Write::overwrite ? sum[t] : y(i, j) + sum[t];
    }
  }
  if (i < s.rows) then(i, lane);
}

template <class T, class Then>
void spmm_in_order(const Resources& resources, CsrView<T> s, MatrixView<const T> x, MatrixView<T> y, Write write,
                   const Then& then) {
  const auto run = [&](auto tile) {
    launch(resources, blocks_for(s.rows, row_warps), row_warps * warp_size, spmm_kernel<T, decltype(tile)::value, Then>,
           s, x, y, write, then);
  };
  if (y.cols <= 2 * warp_size)
    run(std::integral_constant<int, 2>{});
  else
    run(std::integral_constant<int, 6>{});
}

REARM_KERNEL void narrow_kernel(const Index* from, Index n, int* to) {
  const Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) to[i] = static_cast<int>(from[i]);
}

/// With cuSPARSE, whose order of summation may change from run to run. Its indices must all have one type, so the
/// offsets are narrowed first (s.nonzeros below 2^31).
template <class T>
void spmm_by_library(const Resources& resources, Arena<CudaMemory>& arena, CsrView<T> s, MatrixView<const T> x,
                     MatrixView<T> y, Write write) {
  constexpr cudaDataType_t type = std::is_same_v<T, float> ? CUDA_R_32F : CUDA_R_64F;
  struct Descriptors {
    cusparseConstSpMatDescr_t s = nullptr;
    cusparseConstDnMatDescr_t x = nullptr;
    cusparseDnMatDescr_t y = nullptr;
    ~Descriptors() {
      if (s != nullptr) cusparseDestroySpMat(s);
      if (x != nullptr) cusparseDestroyDnMat(x);
      if (y != nullptr) cusparseDestroyDnMat(y);
    }
  } of;
  const DeviceGuard here = resources.start();
  const auto mark = arena.mark();
  int* const offsets = arena.template allocate<int>(s.rows + 1);
  launch(resources, blocks_for(s.rows + 1, 256), 256, narrow_kernel, s.offsets, s.rows + 1, offsets);
  REARM_CUDA_CHECK(cusparseCreateConstCsr(&of.s, s.rows, s.cols, s.nonzeros, offsets, s.indices, s.values,
                                          CUSPARSE_INDEX_32I, CUSPARSE_INDEX_32I, CUSPARSE_INDEX_BASE_ZERO, type));
  REARM_CUDA_CHECK(cusparseCreateConstDnMat(&of.x, x.rows, x.cols, x.stride, x.data, type, CUSPARSE_ORDER_ROW));
  REARM_CUDA_CHECK(cusparseCreateDnMat(&of.y, y.rows, y.cols, y.stride, y.data, type, CUSPARSE_ORDER_ROW));
  const T one{1};
  const T beta = write == Write::overwrite ? T{0} : T{1};
  constexpr auto none = CUSPARSE_OPERATION_NON_TRANSPOSE;
  constexpr auto algorithm = CUSPARSE_SPMM_CSR_ALG2;
  std::size_t bytes = 0;
  REARM_CUDA_CHECK(
      cusparseSpMM_bufferSize(resources.sparse(), none, none, &one, of.s, of.x, &beta, of.y, type, algorithm, &bytes));
  void* const work = arena.template allocate<unsigned char>(static_cast<Index>(bytes) + 1);
  REARM_CUDA_CHECK(cusparseSpMM(resources.sparse(), none, none, &one, of.s, of.x, &beta, of.y, type, algorithm, work));
  arena.rewind(mark);
}

}  // namespace rearm::REARM_ABI::gpu
