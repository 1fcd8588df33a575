#pragma once
/// @file frobenius_norm.hpp
/// The norm of a whole matrix, on views.

#include <rearm/functors/frobenius_norm.hpp>
#include <rearm/ops/elementwise.hpp>
#include <rearm/ops/ranks.hpp>

namespace rearm::REARM_ABI {

/// norm (1 x 1) = ||X||_F = sqrt(sum_ij x_ij^2); 0 for an empty matrix. If `shared`, x has a rank's rows of an X that
/// ranks share.
template <Backend B>
void frobenius_norm(Context<B>& ctx, In<B> x, Out<B> norm, bool shared = false) {
  detail::require_shape(norm, 1, 1, "frobenius_norm", "norm");
  dot_sum(ctx, Real<B>{1}, x, x, norm);
  if (shared) sum_over_ranks<B>(ctx, norm);
  B::for_each(ctx, 1, functors::RootRow<Real<B>>{norm});
}

/// d_X (+)= d_norm X / ||X||_F, and 0 for a zero matrix, where the norm has no derivative.
template <Backend B>
void frobenius_norm_backward(Context<B>& ctx, In<B> x, In<B> norm, In<B> d_norm, Into<Real<B>> d_x) {
  detail::require_shape(norm, 1, 1, "frobenius_norm_backward", "norm");
  detail::require_shape(d_x.view, x.rows, x.cols, "frobenius_norm_backward", "d_x");
  B::for_each(ctx, x.rows, functors::FrobeniusNormBackwardRow<Real<B>>{x, norm.data, d_norm.data, d_x});
}

}  // namespace rearm::REARM_ABI
