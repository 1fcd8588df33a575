#pragma once
/// @file table_update.hpp
/// Adam on a table whose gradient is the product of two thin factors: tile by tile, the gradient never stored.

#include <rearm/backend/cpu/parallel.hpp>
#include <rearm/core/context.hpp>
#include <rearm/functors/adam.hpp>

#include <algorithm>

namespace rearm::cpu {

/// Tile of the gradient that is formed at once: 128 x 512 floats are 256 KiB, inside a core's L2.
inline constexpr Index table_tile_rows = 128;
inline constexpr Index table_tile_cols = 512;

/// value, moments <- Adam with gradient d_output (n x d) times weight (d x width).
template <class B, class T = typename B::Scalar>
void factored_adam(Context<B>& ctx, const functors::AdamUpdate<T>& update, MatrixView<const T> d_output,
                   MatrixView<const T> weight, MatrixView<T> value, MatrixView<T> moment1, MatrixView<T> moment2) {
  const ThreadScratch<B> tile(ctx, table_tile_rows * table_tile_cols);
  parallel_ranges(ctx.resources(), value.rows, table_tile_rows, [&](Index begin, Index end) {
    for (Index col = 0; col < value.cols; col += table_tile_cols) {
      const Index width = std::min(table_tile_cols, value.cols - col);
      const MatrixView<T> grad(tile.data(), end - begin, width);
      gemm_serial<T>(Op::none, Op::none, T{1}, d_output.row_block(begin, end - begin), weight.col_block(col, width),
                     grad, Write::overwrite);
      const functors::AdamRow<T> row{update, value.row_block(begin, end - begin).col_block(col, width),
                                     moment1.row_block(begin, end - begin).col_block(col, width),
                                     moment2.row_block(begin, end - begin).col_block(col, width), grad};
      for (Index i = 0; i < end - begin; ++i) row(i);
    }
  });
}

}  // namespace rearm::cpu
