#pragma once
/// @file table_update.hpp
/// Adam on a table whose gradient is the product of two thin factors: tile by tile, the gradient never stored.

#include <rearm/backend/cpu/parallel.hpp>
#include <rearm/backend/cpu/philox.hpp>
#include <rearm/core/context.hpp>
#include <rearm/functors/adam.hpp>
#include <rearm/functors/elementwise.hpp>

#include <algorithm>

namespace rearm::REARM_ABI::cpu {

/// Tile of the gradient formed at a time: 128 x 512 floats are 256 KiB, inside a core's L2.
inline constexpr Index table_tile_rows = 128;
inline constexpr Index table_tile_cols = 512;
/// Rows per task; each forms a part of the weight's gradient, and the parts are added in order.
inline constexpr Index table_chunk = 1024;

#if defined(__CUDACC__)  // nvcc refuses vectors in code also compiled for the device
using MomentVectors = functors::MomentWords;
#else
/// functors::MomentWords in vector registers.
struct MomentVectors {
  static void draw(const RandomKey& key, std::uint64_t first, std::uint32_t* word) {
    Vector16<std::uint32_t> words[4];
    philox_block(key, first, 1, words);
    for (int w = 0; w < 4; ++w) store_entries<std::uint32_t>(words[w], word + std::ptrdiff_t{w} * simd_width);
  }
};
#endif

/// value, moments <- Adam with gradient d_output (n x d) times weight (d x width). If wanted, d_weight (+)= d_output^T
/// value, with value from before the update, formed tile by tile in the same pass.
template <class B, class T = typename B::Scalar>
void factored_adam(Context<B>& ctx, const functors::AdamTarget<T>& table, MatrixView<const T> d_output,
                   MatrixView<const T> weight, Into<T> d_weight) {
  const Index rows = table.rows();
  const Index cols = table.cols();
  const bool with_weight = d_weight.wanted();
  const bool widened = with_weight && table.rounded_value.data != nullptr;
  const Index n_chunks = (rows + table_chunk - 1) / table_chunk;
  Scratch<B> scratch(ctx);
  T* const parts = with_weight ? scratch.template allocate<T>(n_chunks * weight.size()) : nullptr;
  const ThreadScratch<B> tiles(ctx, (widened ? 2 : 1) * table_tile_rows * table_tile_cols);
  parallel_chunks(ctx.resources(), n_chunks, [&](Index chunk, int thread) {
    T* const tile = tiles.data(thread);
    const Index end = std::min(rows, (chunk + 1) * table_chunk);
    for (Index begin = chunk * table_chunk; begin < end; begin += table_tile_rows)
      for (Index col = 0; col < cols; col += table_tile_cols) {
        const Index n = std::min(table_tile_rows, end - begin);
        const Index width = std::min(table_tile_cols, cols - col);
        const functors::AdamTarget<T> part = table.tile(begin, n, col, width);
        if (with_weight) {
          ConstView<T> value = part.value;
          if (widened) {
            const functors::ConvertRow<BFloat16, T> widen{part.rounded_value,
                                                          {tile + table_tile_rows * table_tile_cols, n, width}};
            for (Index i = 0; i < n; ++i) widen(i, SoleLane{});
            value = widen.y;
          }
          const MatrixView<T> sum(parts + chunk * weight.size(), weight.rows, weight.cols);
          gemm_serial<T>(Op::transpose, Op::none, T{1}, d_output.row_block(begin, n), value, sum.col_block(col, width),
                         begin == chunk * table_chunk ? Write::overwrite : Write::accumulate);
        }
        const MatrixView<T> grad(tile, n, width);
        gemm_serial<T>(Op::none, Op::none, T{1}, d_output.row_block(begin, n), weight.col_block(col, width), grad,
                       Write::overwrite);
        const functors::AdamRow<T, MomentVectors> row{part, grad};
        for (Index i = 0; i < n; ++i) row(i, SoleLane{});
      }
  });
  if (!with_weight) return;
  parallel_ranges(ctx.resources(), d_weight.view.rows, 1, [&](Index i, Index) {
    T* REARM_RESTRICT out = d_weight.view.row(i);
    if (d_weight.write == Write::overwrite) std::fill_n(out, weight.cols, T{0});
    for (Index chunk = 0; chunk < n_chunks; ++chunk) {
      const T* REARM_RESTRICT part = parts + chunk * weight.size() + i * weight.cols;
      for (Index j = 0; j < weight.cols; ++j) out[j] += part[j];
    }
  });
}

}  // namespace rearm::REARM_ABI::cpu
