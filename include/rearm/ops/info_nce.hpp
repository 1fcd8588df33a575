#pragma once
/// @file info_nce.hpp
/// InfoNCE between two sets of unit rows on views (REARM eq. 12). Only a tile of rows of their similarities exists at a
/// time.

#include <rearm/functors/info_nce.hpp>
#include <rearm/ops/elementwise.hpp>

#include <algorithm>

namespace rearm::REARM_ABI {
namespace detail {

/// Calls f(first row, a tile of rows of the similarities a_r . b_s / temperature) for one tile after the other.
template <Backend B, class T, class F>
void for_each_info_nce_tile(Context<B>& ctx, ConstView<T> a, ConstView<T> b, T inverse_temperature, const F& f) {
  if (a.rows == 0) return;
  Scratch<B> scratch(ctx);
  const Index block = std::min(a.rows, std::max<Index>(B::cached_bytes / static_cast<Index>(sizeof(T)) / b.rows, 16));
  // Rows a power of two apart would share a few sets of the cache.
  const MatrixView<T> tile = scratch.template matrix<T>(block, b.rows + 16).col_block(0, b.rows);
  for (Index first = 0; first < a.rows; first += block) {
    const MatrixView<T> scores = tile.row_block(0, std::min(block, a.rows - first));
    gemm(ctx, Op::none, Op::transpose, inverse_temperature, a.row_block(first, scores.rows), b, scores);
    f(first, scores);
  }
}

}  // namespace detail

/// loss (1 x 1) = sum_r w (log sum_s exp(a_r . b_s / temperature) - a_r . b_r / temperature), w the row weight of
/// `scale`; a n x d, b m x d with unit rows, m = n. With `scale.own` a_r . b_own[r] takes the place of a_r . b_r, and b
/// is of any length; own[r] < m, and no count. `lse` (n) is kept for the backward pass. 2 n m d operations.
template <Backend B>
void info_nce(Context<B>& ctx, In<B> a, In<B> b, const InfoNceScale<Real<B>>& scale, Real<B>* lse, Out<B> loss) {
  using T = Real<B>;
  const bool any_length = scale.own != nullptr && scale.count == nullptr;
  detail::require_shape(b, any_length ? b.rows : a.rows, a.cols, "info_nce", "second operand");
  detail::require_shape(loss, 1, 1, "info_nce", "loss");
  Scratch<B> scratch(ctx);
  T* const rows = scratch.template allocate<T>(a.rows);
  detail::for_each_info_nce_tile(ctx, a, b, scale.inverse_temperature, [&](Index first, MatrixView<T> scores) {
    B::for_each(ctx, scores.rows, functors::InfoNceRow<T>{scores, first, a.rows, scale, lse, rows});
  });
  sum(ctx, T{1}, ConstView<T>(rows, a.rows, 1), loss);
}

/// d_a, d_b (+)= gradients for d_loss (1 x 1), from one pass over the similarities.
/// 6 n m d operations.
template <Backend B>
void info_nce_backward(Context<B>& ctx, In<B> a, In<B> b, const InfoNceScale<Real<B>>& scale, const Real<B>* lse,
                       In<B> d_loss, Into<Real<B>> d_a, Into<Real<B>> d_b) {
  using T = Real<B>;
  Scratch<B> scratch(ctx);
  // Apart from d_b, which may be d_a and is written last.
  const MatrixView<T> of_b = d_b.wanted() ? scratch.template matrix<T>(b.rows, b.cols) : MatrixView<T>{};
  detail::for_each_info_nce_tile(ctx, a, b, scale.inverse_temperature, [&](Index first, MatrixView<T> scores) {
    B::for_each(ctx, scores.rows, functors::InfoNceBackwardRow<T>{scores, first, a.rows, scale, lse, d_loss.data});
    const ConstView<T> rows = a.row_block(first, scores.rows);
    if (d_a.wanted()) gemm(ctx, Op::none, Op::none, T{1}, ConstView<T>(scores), b, d_a.row_block(first, scores.rows));
    if (of_b.data != nullptr)
      gemm(ctx, Op::transpose, Op::none, T{1}, ConstView<T>(scores), rows, first == 0 ? of_b : add_to(of_b));
  });
  if (of_b.data != nullptr) scaled_copy(ctx, T{1}, ConstView<T>(of_b), d_b);
}

}  // namespace rearm::REARM_ABI
