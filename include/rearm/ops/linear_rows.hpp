#pragma once
/// @file linear_rows.hpp
/// A linear map of some of a matrix's rows.

#include <rearm/ops/gather.hpp>
#include <rearm/ops/gemm.hpp>

#include <algorithm>
#include <type_traits>

namespace rearm::REARM_ABI {

/// y_i = W x_i + b for i in the distinct ids `rows`, 0 for all other i: X n x width, perhaps stored in bfloat16; W d x
/// width; b 1 x d or empty; y n x d. 2 d width operations a row of the list. Throws ShapeError.
template <Backend B, class Stored>
void linear_rows(Context<B>& ctx, MatrixView<Stored> x, const IndexList& rows, In<B> weight, In<B> bias, Out<B> y) {
  using T = Real<B>;
  using From = std::remove_const_t<Stored>;
  detail::require_shape(y, x.rows, weight.rows, "linear_rows", "output");
  fill(ctx, T{0}, y);
  if (rows.size == 0) return;
  Scratch<B> scratch(ctx);
  const Index row_bytes = x.cols * static_cast<Index>(sizeof(T));
  const Index block = std::min(rows.size, std::max<Index>(B::cached_bytes / std::max<Index>(row_bytes, 1), 64));
  const MatrixView<T> in = scratch.template matrix<T>(block, x.cols);
  const MatrixView<T> out = scratch.template matrix<T>(rows.size, y.cols);
  for (Index first = 0; first < rows.size; first += block) {
    const Index n = std::min(block, rows.size - first);
    B::for_each(ctx, n, functors::GatherRow<T, From>{x, rows.ids + first, in.row_block(0, n)});
    linear(ctx, In<B>(in.row_block(0, n)), weight, bias, out.row_block(first, n));
  }
  scatter_add(ctx, rows, out, y);
}

}  // namespace rearm::REARM_ABI
