#pragma once
/// @file products.cuh
/// Dense products by cuBLAS; sparse ones by cuSPARSE, or by a kernel whose sums have a fixed order.

#include <rearm/backend/cuda/rows.cuh>
#include <rearm/core/csr.hpp>

#include <algorithm>
#include <limits>
#include <type_traits>

namespace rearm::gpu {

inline int product_extent(Index n, const char* what) {
  if (n > std::numeric_limits<int>::max())
    throw ShapeError(detail::message("gemm: ", what, " = ", n, " is more than cuBLAS takes"));
  return static_cast<int>(n);
}

/// C (+)= alpha op(A) op(B), row-major: to cuBLAS, which counts by columns, the transposes C^T = op(B)^T op(A)^T.
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
  if constexpr (std::is_same_v<T, float>)
    REARM_CUDA_CHECK(cublasSgemm(resources.blas(), flag(op_b), flag(op_a), n, m, inner, &alpha, b.data, stride(b),
                                 a.data, stride(a), &beta, c.data, stride(c)));
  else
    REARM_CUDA_CHECK(cublasDgemm(resources.blas(), flag(op_b), flag(op_a), n, m, inner, &alpha, b.data, stride(b),
                                 a.data, stride(a), &beta, c.data, stride(c)));
}

/// Row i of Y (+)= S X by one warp: each lane has Tile columns 32 apart, entries in stored order.
template <class T, int Tile>
REARM_KERNEL void spmm_kernel(CsrView<T> s, MatrixView<const T> x, MatrixView<T> y, Write write) {
  const Index i = own_warp();
  if (i >= s.rows) return;
  const Index first = static_cast<Index>(blockIdx.y) * Tile * warp_size + own_lane().lane;
  T sum[Tile] = {};
  for (Index e = s.offsets[i]; e < s.offsets[i + 1]; ++e) {
    const T value = s.values[e];
    const T* const row = x.row(s.indices[e]);
    REARM_UNROLL
    for (int t = 0; t < Tile; ++t)
      if (first + t * warp_size < x.cols) sum[t] += value * row[first + t * warp_size];
  }
  REARM_UNROLL
  for (int t = 0; t < Tile; ++t) {
    const Index j = first + t * warp_size;
    if (j < y.cols) y(i, j) = write == Write::overwrite ? sum[t] : y(i, j) + sum[t];
  }
}

template <class T>
void spmm_in_order(const Resources& resources, CsrView<T> s, MatrixView<const T> x, MatrixView<T> y, Write write) {
  const auto run = [&](auto tile) {
    constexpr int Tile = decltype(tile)::value;
    launch(resources, dim3(blocks_for(s.rows, row_warps), blocks_for(y.cols, Tile * warp_size)), row_warps * warp_size,
           spmm_kernel<T, Tile>, s, x, y, write);
  };
  if (y.cols > 2 * warp_size)
    run(std::integral_constant<int, 6>{});
  else
    run(std::integral_constant<int, 2>{});
}

REARM_KERNEL void narrow_kernel(const Index* from, Index n, int* to) {
  const Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) to[i] = static_cast<int>(from[i]);
}

/// By cuSPARSE, whose sums may come in another order from run to run. Its indices must be all of one type: the offsets
/// are narrowed on the way (s.nonzeros below 2^31).
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

}  // namespace rearm::gpu
