#pragma once
/// @file info_nce.hpp
/// InfoNCE between two sets of unit rows on views (paper eq. 12), the n x n similarities never stored.

#include <rearm/core/context.hpp>
#include <rearm/functors/elementwise.hpp>

namespace rearm {

/// loss (1 x 1) = scale sum_r (log sum_s exp(a_r . b_s / temperature) - a_r . b_r / temperature); a, b n x d with unit
/// rows. `lse` (n) is kept for the backward pass. 2 n^2 d operations.
template <Backend B>
void info_nce(Context<B>& ctx, ConstView<typename B::Scalar> a, ConstView<typename B::Scalar> b,
              typename B::Scalar temperature, typename B::Scalar scale, typename B::Scalar* lse,
              MatrixView<typename B::Scalar> loss) {
  using T = typename B::Scalar;
  detail::require_shape(b, a.rows, a.cols, "info_nce", "second operand");
  detail::require_shape(loss, 1, 1, "info_nce", "loss");
  if (!(temperature > T{0}))
    throw ConfigError(detail::message("info_nce: temperature = ", temperature, " must be above 0"));
  Scratch<B> scratch(ctx);
  T* diagonal = scratch.template allocate<T>(a.rows);
  B::info_nce(ctx, a, b, T{1} / temperature, lse, diagonal);
  B::reduce_rows(ctx, a.rows, 1, functors::SumRow<T>{scale, {lse, a.rows, 1}}, loss.data, Write::overwrite);
  B::reduce_rows(ctx, a.rows, 1, functors::SumRow<T>{-scale, {diagonal, a.rows, 1}}, loss.data, Write::accumulate);
}

/// d_a, d_b (+)= gradients for d_loss, a number on the host; views without data are skipped. 8 n^2 d operations.
template <Backend B>
void info_nce_backward(Context<B>& ctx, ConstView<typename B::Scalar> a, ConstView<typename B::Scalar> b,
                       typename B::Scalar temperature, typename B::Scalar scale, const typename B::Scalar* lse,
                       typename B::Scalar d_loss, MatrixView<typename B::Scalar> d_a, Write write_a,
                       MatrixView<typename B::Scalar> d_b, Write write_b) {
  using T = typename B::Scalar;
  const T inverse = T{1} / temperature;
  const T g = d_loss * scale * inverse;
  if (d_a.data != nullptr) B::info_nce_backward(ctx, a, b, inverse, lse, true, g, d_a, write_a);
  if (d_b.data != nullptr) B::info_nce_backward(ctx, b, a, inverse, lse, false, g, d_b, write_b);
}

}  // namespace rearm
