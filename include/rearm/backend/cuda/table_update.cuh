#pragma once
/// @file table_update.cuh
/// Adam on a table whose gradient is the product of two thin factors: a tile of the gradient in registers, the update
/// at once, nothing stored.

#include <rearm/backend/cuda/rows.cuh>
#include <rearm/functors/adam.hpp>

namespace rearm::gpu {

/// A block has 64 x 64 elements of the table, a thread 4 x 4 of them: rows 4 y.. and columns x, x + 16, ..., which is
/// also how one random draw serves four columns (functors::MomentWords).
inline constexpr int table_tile = 64;
inline constexpr int table_depth = 16;  ///< of the factors' inner dimension, in shared memory at once
inline constexpr int table_threads = 256;

template <class T>
REARM_KERNEL void factored_adam_kernel(functors::AdamTarget<T> table, MatrixView<const T> d_output,
                                       MatrixView<const T> weight) {
  __shared__ T left[table_depth][table_tile + 1];
  __shared__ T right[table_depth][table_tile];
  const int x = static_cast<int>(threadIdx.x) % 16;
  const int y = static_cast<int>(threadIdx.x) / 16;
  const Index first_row = static_cast<Index>(blockIdx.x) * table_tile;
  const Index first_col = static_cast<Index>(blockIdx.y) * table_tile;
  T grad[4][4] = {};
  for (Index depth = 0; depth < weight.rows; depth += table_depth) {
    for (int e = static_cast<int>(threadIdx.x); e < table_tile * table_depth; e += table_threads) {
      const Index row = first_row + e / table_depth;
      const Index k = depth + e % table_depth;
      left[e % table_depth][e / table_depth] = row < d_output.rows && k < weight.rows ? d_output(row, k) : T{0};
      const Index col = first_col + e % table_tile;
      const Index k_right = depth + e / table_tile;
      right[e / table_tile][e % table_tile] = col < weight.cols && k_right < weight.rows ? weight(k_right, col) : T{0};
    }
    __syncthreads();
    REARM_UNROLL
    for (int k = 0; k < table_depth; ++k) REARM_UNROLL
    for (int r = 0; r < 4; ++r) REARM_UNROLL
    for (int c = 0; c < 4; ++c) grad[r][c] += left[k][4 * y + r] * right[k][x + 16 * c];
    __syncthreads();
  }
  const functors::AdamUpdate<T> update = table.update.current();
  REARM_UNROLL
  for (int r = 0; r < 4; ++r) {
    const Index row = first_row + 4 * y + r;
    if (row >= table.rows()) return;
    RandomBits random{};
    if (table.rounded1.data != nullptr || table.rounded_value.data != nullptr)
      random = table.key.noise(
          functors::MomentWords::first_draw(table.first_row + row, table.first_col + first_col, table.all_cols) +
          static_cast<std::uint64_t>(x));
    table.with_kinds([&](const auto& value, const auto& moment1, const auto& moment2) {
      REARM_UNROLL
      for (int c = 0; c < 4; ++c) {
        const Index col = first_col + x + 16 * c;
        if (col < table.cols())
          update(value(row, col), moment1(row, col), moment2(row, col), grad[r][c], random.word[c]);
      }
    });
  }
}

}  // namespace rearm::gpu
