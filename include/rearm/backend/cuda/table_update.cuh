#pragma once
/// @file table_update.cuh
/// Adam on a table whose gradient is the product of two thin factors: a tile of the gradient is formed in registers and
/// applied at once; nothing is stored.

#include <rearm/backend/cuda/rows.cuh>
#include <rearm/functors/adam.hpp>

#include <cstdint>
#include <type_traits>

namespace rearm::REARM_ABI::gpu {

/// A block has 64 x 64 elements of the table, a thread 4 x 4 of them: rows 4 y.. and columns x, x + 16, ..., the same
/// four columns that share a random draw (functors::MomentWords).
inline constexpr int table_tile = 64;
inline constexpr int table_depth = 16;  ///< of the factors' inner dimension, in shared memory at a time
inline constexpr int table_threads = 256;

/// Calls f(row, column in the thread's 4 x 4 elements, row, column in the table) for those that exist.
template <class T, class F>
__device__ void for_own_elements(const functors::AdamTarget<T>& table, const F& f) {
  const Index row = static_cast<Index>(blockIdx.x) * table_tile + 4 * (static_cast<Index>(threadIdx.x) / 16);
  const Index col = static_cast<Index>(blockIdx.y) * table_tile + threadIdx.x % 16;
  REARM_UNROLL
  for (int r = 0; r < 4; ++r) REARM_UNROLL
  for (int c = 0; c < 4; ++c)
    if (row + r < table.rows() && col + 16 * c < table.cols()) f(r, c, row + r, col + 16 * c);
}

template <class T>
REARM_KERNEL void __launch_bounds__(table_threads, sizeof(T) == 4 ? 2 : 1)
    factored_adam_kernel(functors::AdamTarget<T> table, MatrixView<const T> d_output, MatrixView<const T> weight) {
  __shared__ T left[table_depth][table_tile + 1];
  __shared__ T right[table_depth][table_tile];
  const int x = static_cast<int>(threadIdx.x) % 16;
  const int y = static_cast<int>(threadIdx.x) / 16;
  const Index first_row = static_cast<Index>(blockIdx.x) * table_tile;
  const Index first_col = static_cast<Index>(blockIdx.y) * table_tile;
  table.with_kinds([&](const auto& value, const auto& moment1, const auto& moment2) {
    // What is updated is loaded while its gradient is computed.
    std::remove_cvref_t<decltype(value(0, 0))> p[4][4];
    std::remove_cvref_t<decltype(moment1(0, 0))> m[4][4];
    std::remove_cvref_t<decltype(moment2(0, 0))> v[4][4];
    for_own_elements(table, [&](int r, int c, Index row, Index col) {
      p[r][c] = value(row, col);
      m[r][c] = moment1(row, col);
      v[r][c] = moment2(row, col);
    });
    T grad[4][4] = {};
    for (Index depth = 0; depth < weight.rows; depth += table_depth) {
      for (int e = static_cast<int>(threadIdx.x); e < table_tile * table_depth; e += table_threads) {
        const Index row = first_row + e / table_depth;
        const Index k = depth + e % table_depth;
        left[e % table_depth][e / table_depth] = row < d_output.rows && k < weight.rows ? d_output(row, k) : T{0};
        const Index col = first_col + e % table_tile;
        const Index k_right = depth + e / table_tile;
        right[e / table_tile][e % table_tile] =
            col < weight.cols && k_right < weight.rows ? weight(k_right, col) : T{0};
      }
      __syncthreads();
      REARM_UNROLL
      for (int k = 0; k < table_depth; ++k) REARM_UNROLL
      for (int r = 0; r < 4; ++r) REARM_UNROLL
      for (int c = 0; c < 4; ++c) grad[r][c] += left[k][4 * y + r] * right[k][x + 16 * c];
      __syncthreads();
    }
    const functors::AdamUpdate<T> update = table.update.current();
    RandomBits random{};
    for_own_elements(table, [&](int r, int c, Index row, Index col) {
      if (c == 0 && (table.rounded1.data != nullptr || table.rounded_value.data != nullptr))
        random = table.key.noise(
            functors::MomentWords::first_draw(table.first_row + row, table.first_col + first_col, table.all_cols) +
            static_cast<std::uint64_t>(x));
      update(p[r][c], m[r][c], v[r][c], grad[r][c], random.word[c]);
      value(row, col) = p[r][c];
      moment1(row, col) = m[r][c];
      moment2(row, col) = v[r][c];
    });
  });
}

}  // namespace rearm::REARM_ABI::gpu
