#pragma once
/// @file info_nce.hpp
/// InfoNCE between two sets of unit rows on views (REARM eq. 12). Only a tile of rows of their similarities exists at a
/// time.

#include <rearm/functors/info_nce.hpp>
#include <rearm/ops/elementwise.hpp>

#include <algorithm>

namespace rearm::REARM_ABI {
namespace detail {

/// Calls f(first row, a tile of rows of the similarities a_r . b_s / temperature), tile by tile.
template <Backend B, class T, class F>
void for_each_info_nce_tile(Context<B>& ctx, ConstView<T> a, ConstView<T> b, T inverse_temperature, const F& f) {
  if (a.rows == 0) return;
  Scratch<B> scratch(ctx);
  const Index block = std::min(a.rows, std::max<Index>(B::cached_bytes / static_cast<Index>(sizeof(T)) / b.rows, 16));
  // Rows a power of two apart would share a few cache sets.
  const MatrixView<T> tile = scratch.template matrix<T>(block, b.rows + 16).col_block(0, b.rows);
  for (Index first = 0; first < a.rows; first += block) {
    const MatrixView<T> scores = tile.row_block(0, std::min(block, a.rows - first));
    gemm(ctx, Op::none, Op::transpose, inverse_temperature, a.row_block(first, scores.rows), b, scores);
    f(first, scores);
  }
}

}  // namespace detail

/// loss (1 x 1) = sum_r w (log sum_s exp(a_r . b_s / temperature) - a_r . b_r / temperature), w the row weight of
/// `scale`; a n x d, b m x d with unit rows, m = n. `scale` may allow any other m, without a count: with `own`,
/// a_r . b_own[r] takes the place of a_r . b_r, own[r] < m; with `left_out` >= n, row left_out + r of b, which has at
/// least left_out + n rows, is left out of the sum for r. d_a (n x d) and d_b (m x d), four arrays apart, are the
/// loss's gradients if they have data: from the same pass over the similarities, since all that a backward pass adds
/// is a factor. 2 n m d operations, and as many more for each gradient.
template <Backend B>
void info_nce(Context<B>& ctx, In<B> a, In<B> b, const InfoNceScale<Real<B>>& scale, Out<B> loss, Out<B> d_a = {},
              Out<B> d_b = {}) {
  using T = Real<B>;
  const bool fits = scale.left_out == 0 || (scale.left_out >= a.rows && b.rows >= scale.left_out + a.rows);
  const bool any_length = scale.count == nullptr && fits && (scale.own != nullptr || scale.left_out > 0);
  detail::require_shape(b, any_length ? b.rows : a.rows, a.cols, "info_nce", "second operand");
  detail::require_shape(loss, 1, 1, "info_nce", "loss");
  if (d_a.data != nullptr) detail::require_shape(d_a, a.rows, a.cols, "info_nce", "gradient of the first operand");
  if (d_b.data != nullptr) detail::require_shape(d_b, b.rows, b.cols, "info_nce", "gradient of the second operand");
  const bool gradient = d_a.data != nullptr || d_b.data != nullptr;
  if (a.rows == 0 && d_b.data != nullptr) fill(ctx, T{0}, d_b);
  Scratch<B> scratch(ctx);
  T* const rows = scratch.template allocate<T>(a.rows);
  detail::for_each_info_nce_tile(ctx, a, b, scale.inverse_temperature, [&](Index first, MatrixView<T> scores) {
    B::for_each(ctx, scores.rows, functors::InfoNceRow<T>{scores, first, a.rows, scale, rows, gradient});
    if (d_a.data != nullptr)
      gemm(ctx, Op::none, Op::none, T{1}, ConstView<T>(scores), b, d_a.row_block(first, scores.rows));
    if (d_b.data != nullptr)
      gemm(ctx, Op::transpose, Op::none, T{1}, ConstView<T>(scores), a.row_block(first, scores.rows),
           first == 0 ? Into<T>(d_b) : add_to(d_b));
  });
  sum(ctx, T{1}, ConstView<T>(rows, a.rows, 1), loss);
}

}  // namespace rearm::REARM_ABI
