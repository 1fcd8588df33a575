#pragma once
/// @file info_nce.hpp
/// InfoNCE between two sets of unit rows on views (paper eq. 12), the n x n similarities never stored.

#include <rearm/core/context.hpp>
#include <rearm/core/info_nce_scale.hpp>
#include <rearm/functors/elementwise.hpp>

namespace rearm {

/// loss (1 x 1) = sum_r w (log sum_s exp(a_r . b_s / temperature) - a_r . b_r / temperature), w the row weight of
/// `scale`; a, b n x d with unit rows. `lse` (n) is kept for the backward pass. 2 n^2 d operations.
template <Backend B>
void info_nce(Context<B>& ctx, ConstView<typename B::Scalar> a, ConstView<typename B::Scalar> b,
              const InfoNceScale<typename B::Scalar>& scale, typename B::Scalar* lse,
              MatrixView<typename B::Scalar> loss) {
  using T = typename B::Scalar;
  detail::require_shape(b, a.rows, a.cols, "info_nce", "second operand");
  detail::require_shape(loss, 1, 1, "info_nce", "loss");
  Scratch<B> scratch(ctx);
  T* rows = scratch.template allocate<T>(a.rows);
  B::info_nce(ctx, a, b, scale, lse, rows);
  B::reduce_rows(ctx, a.rows, 1, functors::SumRow<T>{T{1}, {rows, a.rows, 1}}, loss.data, Write::overwrite);
}

/// d_a, d_b (+)= gradients for d_loss (1 x 1); views without data are skipped. 8 n^2 d operations.
template <Backend B>
void info_nce_backward(Context<B>& ctx, ConstView<typename B::Scalar> a, ConstView<typename B::Scalar> b,
                       const InfoNceScale<typename B::Scalar>& scale, const typename B::Scalar* lse,
                       ConstView<typename B::Scalar> d_loss, MatrixView<typename B::Scalar> d_a, Write write_a,
                       MatrixView<typename B::Scalar> d_b, Write write_b) {
  if (d_a.data != nullptr) B::info_nce_backward(ctx, a, b, scale, lse, true, d_loss.data, d_a, write_a);
  if (d_b.data != nullptr) B::info_nce_backward(ctx, b, a, scale, lse, false, d_loss.data, d_b, write_b);
}

}  // namespace rearm
