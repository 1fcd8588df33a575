#pragma once
/// @file normalize.hpp
/// L2 normalization of rows, and LayerNorm.

#include <rearm/core/context.hpp>
#include <rearm/functors/normalize.hpp>

namespace rearm::REARM_ABI {

/// y_i = x_i / max(|x_i|, eps); norm holds |x_i| (n values). A zero row stays zero.
template <Backend B>
void row_normalize(Context<B>& ctx, In<B> x, Real<B> eps, Out<B> y, Real<B>* norm) {
  detail::require_shape(y, x.rows, x.cols, "row_normalize", "output");
  B::for_each(ctx, x.rows, functors::NormalizeRow<Real<B>>{x, eps, y, norm});
}

/// d_x (+)= (d_y - y (y . d_y)) / max(|x|, eps), from the forward's y and norm.
template <Backend B>
void row_normalize_backward(Context<B>& ctx, In<B> y, const Real<B>* norm, Real<B> eps, In<B> d_y, Into<Real<B>> d_x) {
  detail::require_shape(d_x.view, y.rows, y.cols, "row_normalize_backward", "d_x");
  B::for_each(ctx, y.rows, functors::NormalizeBackwardRow<Real<B>>{y, norm, eps, d_y, d_x});
}

/// y_i = x_i / (|x_i| + eps); the gradient treats the divisor (n values) as a constant.
template <Backend B>
void row_scale_detached(Context<B>& ctx, In<B> x, Real<B> eps, Out<B> y, Real<B>* divisor) {
  detail::require_shape(y, x.rows, x.cols, "row_scale_detached", "output");
  B::for_each(ctx, x.rows, functors::ScaleDetachedRow<Real<B>>{x, eps, y, divisor});
}

/// d_x (+)= d_y / divisor
template <Backend B>
void row_scale_detached_backward(Context<B>& ctx, const Real<B>* divisor, In<B> d_y, Into<Real<B>> d_x) {
  detail::require_shape(d_x.view, d_y.rows, d_y.cols, "row_scale_detached_backward", "d_x");
  B::for_each(ctx, d_y.rows, functors::ScaleDetachedBackwardRow<Real<B>>{divisor, d_y, d_x});
}

/// y = gamma (x - mean) / sqrt(var + eps) + beta over each row (Ba et al., 2016); mean and rstd hold n values each.
template <Backend B>
void layer_norm(Context<B>& ctx, In<B> x, In<B> gamma, In<B> beta, Real<B> eps, Out<B> y, Real<B>* mean,
                Real<B>* rstd) {
  detail::require_shape(gamma, 1, x.cols, "layer_norm", "gamma");
  detail::require_shape(beta, 1, x.cols, "layer_norm", "beta");
  detail::require_shape(y, x.rows, x.cols, "layer_norm", "output");
  B::for_each(ctx, x.rows, functors::LayerNormRow<Real<B>>{x, gamma.data, beta.data, eps, y, mean, rstd});
}

/// y = prelu(layer_norm(x)) with one slope for all elements (1 x 1), as after each attention block.
template <Backend B>
void layer_norm_prelu(Context<B>& ctx, In<B> x, In<B> gamma, In<B> beta, Real<B> eps, In<B> slope, Out<B> y,
                      Real<B>* mean, Real<B>* rstd) {
  detail::require_shape(gamma, 1, x.cols, "layer_norm_prelu", "gamma");
  detail::require_shape(beta, 1, x.cols, "layer_norm_prelu", "beta");
  detail::require_shape(slope, 1, 1, "layer_norm_prelu", "slope");
  detail::require_shape(y, x.rows, x.cols, "layer_norm_prelu", "output");
  B::for_each(ctx, x.rows, functors::LayerNormRow<Real<B>>{x, gamma.data, beta.data, eps, y, mean, rstd, slope.data});
}

/// Gradients of layer_norm_prelu, all in one pass. Without beta and slope: those of layer_norm.
template <Backend B>
void layer_norm_prelu_backward(Context<B>& ctx, In<B> x, In<B> gamma, In<B> beta, In<B> slope, const Real<B>* mean,
                               const Real<B>* rstd, In<B> d_y, Into<Real<B>> d_x, Into<Real<B>> d_gamma,
                               Into<Real<B>> d_beta, Into<Real<B>> d_slope) {
  using T = Real<B>;
  const Index d = x.cols;
  B::reduce_rows(ctx, x.rows,
                 functors::LayerNormBackwardRow<T>{x, gamma.data, beta.data, slope.data, mean, rstd, d_y, d_x},
                 RowSums<T>({d, d_gamma}, {d, d_beta}, {1, d_slope}));
}

/// The three gradients of layer_norm.
template <Backend B>
void layer_norm_backward(Context<B>& ctx, In<B> x, In<B> gamma, const Real<B>* mean, const Real<B>* rstd, In<B> d_y,
                         Into<Real<B>> d_x, Into<Real<B>> d_gamma, Into<Real<B>> d_beta) {
  layer_norm_prelu_backward<B>(ctx, x, gamma, {}, {}, mean, rstd, d_y, d_x, d_gamma, d_beta, {});
}

}  // namespace rearm::REARM_ABI
