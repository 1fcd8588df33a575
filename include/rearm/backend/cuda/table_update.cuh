#pragma once
/// @file table_update.cuh
/// Adam on a table whose gradient is the product of two thin factors: a tile of the gradient is formed in registers and
/// applied at once; nothing is stored. Whole tiles of floats go through tensor cores, everything else through a plain
/// kernel.

#include <rearm/backend/cuda/rows.cuh>
#include <rearm/backend/cuda/tensor_cores.cuh>
#include <rearm/functors/adam.hpp>

#include <cstdint>
#include <limits>
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

/// AdamUpdate of one element by the device's own root and quotient (tensor_cores.cuh).
template <class P, class M>
__device__ void update_quickly(const functors::AdamUpdate<float>& with, P& p, M& m, M& v, float g,
                               std::uint32_t random) {
  const float value = with.widen(p);
  if (with.l2 != 0) g += with.l2 * value;
  const float moment1 = with.beta1 * with.widen(m) + (1 - with.beta1) * g;
  const float moment2 = with.beta2 * with.widen(v) + (1 - with.beta2) * g * g;
  const float divisor = device_root(moment2) * with.inverse_sqrt_correction2 + with.eps;
  with.put(p, value * with.keep - device_quotient(with.step_size * moment1, divisor), random);
  with.put(m, moment1, random >> 16);
  with.put(v, moment2, random);
}

/// Two adjacent elements, loaded and stored at once.
template <class E>
struct alignas(2 * sizeof(E)) Two {
  E x[2];
};

/// Whole tiles of a table of floats, its value and moments of types P and M. A warp forms 16 rows of the gradient and
/// four times 8 columns, 16 apart: each thread two rows and 2 x 4 columns, which share random draws as above. Both
/// factors are products in 3xTF32 (tensor_cores.cuh); roots and divisions are the device's own.
template <class P, class M>
REARM_KERNEL void __launch_bounds__(table_threads, 2)
    factored_adam_tiles_kernel(functors::AdamTarget<float> table, MatrixView<P> value, MatrixView<M> moment1,
                               MatrixView<M> moment2, MatrixView<const float> d_output, MatrixView<const float> weight,
                               unsigned column_tiles) {
  // Row lengths that keep the lanes of a warp in different banks.
  __shared__ __align__(16) float left[table_tile][table_tile + 4];
  __shared__ __align__(16) float right[table_tile][table_tile + 8];
  const int thread = static_cast<int>(threadIdx.x);
  const int warp = thread / warp_size;
  const int group = thread % warp_size / 4;
  const int within = thread % 4;
  const int row = 16 * (warp / 2) + group;      // and the one 8 further
  const int col = 8 * (warp % 2) + 2 * within;  // and the next, and those 16, 32, 48 further
  const Index first_row = static_cast<Index>(blockIdx.x / column_tiles) * table_tile;
  const Index first_col = static_cast<Index>(blockIdx.x % column_tiles) * table_tile;
  // What is updated is loaded while its gradient is computed.
  const auto own = [&](const auto& m, int half) { return m.row(first_row + row + 8 * half) + (first_col + col); };
  P* const to_p[2] = {own(value, 0), own(value, 1)};
  M* const to_m[2] = {own(moment1, 0), own(moment1, 1)};
  M* const to_v[2] = {own(moment2, 0), own(moment2, 1)};
  Two<P> p[2][4];
  Two<M> m[2][4];
  Two<M> v[2][4];
  REARM_UNROLL
  for (int half = 0; half < 2; ++half) REARM_UNROLL
  for (int tile = 0; tile < 4; ++tile) {
    p[half][tile] = *reinterpret_cast<const Two<P>*>(to_p[half] + 16 * tile);
    m[half][tile] = *reinterpret_cast<const Two<M>*>(to_m[half] + 16 * tile);
    v[half][tile] = *reinterpret_cast<const Two<M>*>(to_v[half] + 16 * tile);
  }
  float grad[4][4] = {};  // of a tile: row, row, row + 8, row + 8
  // Both factors 64 deep at a time: a thread brings four numbers of every 16th row.
  constexpr int threads_a_row = table_tile / 4;
  constexpr int rows_at_once = table_threads / threads_a_row;
  const int i = thread / threads_a_row;
  const int j = thread % threads_a_row * 4;
  const auto depth = static_cast<int>(weight.rows);
  for (int done = 0; done < depth; done += table_tile) {
    if (done > 0) __syncthreads();
    const float* from_left = d_output.row(first_row + i) + (done + j);
    const float* from_right = weight.row(done + i) + (first_col + j);
    REARM_UNROLL
    for (int below = 0; below < table_tile; below += rows_at_once) {
      const float4 zero{0, 0, 0, 0};
      *reinterpret_cast<float4*>(&left[i + below][j]) =
          done + j < depth ? *reinterpret_cast<const float4*>(from_left) : zero;
      *reinterpret_cast<float4*>(&right[i + below][j]) =
          done + i + below < depth ? *reinterpret_cast<const float4*>(from_right) : zero;
      from_left += rows_at_once * d_output.stride;
      from_right += rows_at_once * weight.stride;
    }
    __syncthreads();
    REARM_UNROLL
    for (int k = 0; k < table_tile; k += 8) {
      const SplitFragment<4> a(
          {left[row][k + within], left[row + 8][k + within], left[row][k + within + 4], left[row + 8][k + within + 4]});
      REARM_UNROLL
      for (int tile = 0; tile < 4; ++tile) {
        const int c = 8 * (warp % 2) + 16 * tile + group;
        add_product(grad[tile], a, SplitFragment<2>({right[k + within][c], right[k + within + 4][c]}));
      }
    }
  }
  constexpr bool rounded = !std::is_same_v<P, float> || !std::is_same_v<M, float>;
  const functors::AdamUpdate<float> update = table.update.current();
  REARM_UNROLL
  for (int half = 0; half < 2; ++half) {
    REARM_UNROLL
    for (int side = 0; side < 2; ++side) {
      RandomBits random{};
      if constexpr (rounded)
        random = table.key.noise(functors::MomentWords::first_draw(table.first_row + first_row + row + 8 * half,
                                                                   table.first_col + first_col, table.all_cols) +
                                 static_cast<std::uint64_t>(col + side));
      REARM_UNROLL
      for (int tile = 0; tile < 4; ++tile)
        update_quickly(update, p[half][tile].x[side], m[half][tile].x[side], v[half][tile].x[side],
                       grad[tile][2 * half + side], random.word[tile]);
    }
    REARM_UNROLL
    for (int tile = 0; tile < 4; ++tile) {
      *reinterpret_cast<Two<P>*>(to_p[half] + 16 * tile) = p[half][tile];
      *reinterpret_cast<Two<M>*>(to_m[half] + 16 * tile) = m[half][tile];
      *reinterpret_cast<Two<M>*>(to_v[half] + 16 * tile) = v[half][tile];
    }
  }
}

template <class T>
void factored_adam_plain(const Resources& resources, const functors::AdamTarget<T>& table, MatrixView<const T> d_output,
                         MatrixView<const T> weight) {
  launch(resources, dim3(blocks_for(table.rows(), table_tile), blocks_for(table.cols(), table_tile)), table_threads,
         factored_adam_kernel<T>, table, d_output, weight);
}

/// Whether rows of m begin where `together` elements may be loaded at once.
template <class E>
bool loads_together(const MatrixView<E>& m, Index together) {
  return reinterpret_cast<std::uintptr_t>(m.data) % (static_cast<std::size_t>(together) * sizeof(E)) == 0 &&
         m.stride % together == 0;
}

/// value, moments <- Adam with gradient d_output (n x d) times weight (d x width). Whole tiles of floats by the kernel
/// for them unless `CudaOptions::exact_updates`, their edges and all else by the plain one.
template <class T>
void factored_adam(const Resources& resources, const functors::AdamTarget<T>& table, MatrixView<const T> d_output,
                   MatrixView<const T> weight) {
  if constexpr (std::is_same_v<T, float>) {
    const Index rows = table.rows() / table_tile * table_tile;
    const Index cols = table.cols() / table_tile * table_tile;
    const Index tiles = rows / table_tile * (cols / table_tile);
    bool together = loads_together(d_output, 4) && loads_together(weight, 4) && weight.rows % 4 == 0;
    table.with_kinds([&](const auto& value, const auto& moment1, const auto& moment2) {
      together = together && loads_together(value, 2) && loads_together(moment1, 2) && loads_together(moment2, 2);
    });
    if (!resources.options().exact_updates && together && tiles > 0 && tiles <= std::numeric_limits<int>::max()) {
      table.with_kinds([&](const auto& value, const auto& moment1, const auto& moment2) {
        using P = std::remove_cvref_t<decltype(value(0, 0))>;
        using M = std::remove_cvref_t<decltype(moment1(0, 0))>;
        launch(resources, static_cast<unsigned>(tiles), table_threads, factored_adam_tiles_kernel<P, M>, table, value,
               moment1, moment2, d_output, weight, static_cast<unsigned>(cols / table_tile));
      });
      if (cols < table.cols())
        factored_adam_plain(resources, table.tile(0, rows, cols, table.cols() - cols), d_output.row_block(0, rows),
                            weight.col_block(cols, table.cols() - cols));
      if (rows < table.rows())
        factored_adam_plain(resources, table.tile(rows, table.rows() - rows, 0, table.cols()),
                            d_output.row_block(rows, table.rows() - rows), weight);
      return;
    }
  }
  factored_adam_plain(resources, table, d_output, weight);
}

}  // namespace rearm::REARM_ABI::gpu
