#pragma once
/// @file normalize.hpp
/// Row L2 normalisation and LayerNorm.

#include <rearm/core/context.hpp>
#include <rearm/functors/normalize.hpp>

namespace rearm {

/// y_i = x_i / max(|x_i|, eps); norm holds |x_i| (n values). A zero row stays zero.
template <Backend B>
void row_normalize(Context<B>& ctx, ConstView<typename B::Scalar> x, typename B::Scalar eps,
                   MatrixView<typename B::Scalar> y, typename B::Scalar* norm) {
  detail::require_shape(y, x.rows, x.cols, "row_normalize", "output");
  B::for_each(ctx, x.rows, functors::RowNormalize<typename B::Scalar>{x, eps, y, norm});
}

/// d_x (+)= (d_y - y (y . d_y)) / max(|x|, eps), from the forward's y and norm.
template <Backend B>
void row_normalize_backward(Context<B>& ctx, ConstView<typename B::Scalar> y, const typename B::Scalar* norm,
                            typename B::Scalar eps, ConstView<typename B::Scalar> d_y,
                            MatrixView<typename B::Scalar> d_x, Write write) {
  detail::require_shape(d_x, y.rows, y.cols, "row_normalize_backward", "d_x");
  B::for_each(ctx, y.rows, functors::RowNormalizeBackward<typename B::Scalar>{y, norm, eps, d_y, d_x, write});
}

/// y_i = x_i / (|x_i| + eps), the divisor a constant for the gradient (the authors' orthogonality loss).
template <Backend B>
void row_scale_detached(Context<B>& ctx, ConstView<typename B::Scalar> x, typename B::Scalar eps,
                        MatrixView<typename B::Scalar> y, typename B::Scalar* divisor) {
  detail::require_shape(y, x.rows, x.cols, "row_scale_detached", "output");
  B::for_each(ctx, x.rows, functors::RowScaleDetached<typename B::Scalar>{x, eps, y, divisor});
}

/// d_x (+)= d_y / divisor
template <Backend B>
void row_scale_detached_backward(Context<B>& ctx, const typename B::Scalar* divisor, ConstView<typename B::Scalar> d_y,
                                 MatrixView<typename B::Scalar> d_x, Write write) {
  detail::require_shape(d_x, d_y.rows, d_y.cols, "row_scale_detached_backward", "d_x");
  B::for_each(ctx, d_x.rows, functors::RowScaleDetachedBackward<typename B::Scalar>{divisor, d_y, d_x, write});
}

/// y = gamma (x - mean) / sqrt(var + eps) + beta over each row (Ba et al., 2016); mean and rstd hold n values each.
template <Backend B>
void layer_norm(Context<B>& ctx, ConstView<typename B::Scalar> x, ConstView<typename B::Scalar> gamma,
                ConstView<typename B::Scalar> beta, typename B::Scalar eps, MatrixView<typename B::Scalar> y,
                typename B::Scalar* mean, typename B::Scalar* rstd) {
  detail::require_shape(gamma, 1, x.cols, "layer_norm", "gamma");
  detail::require_shape(beta, 1, x.cols, "layer_norm", "beta");
  detail::require_shape(y, x.rows, x.cols, "layer_norm", "output");
  B::for_each(ctx, x.rows, functors::LayerNormRow<typename B::Scalar>{x, gamma.data, beta.data, eps, y, mean, rstd});
}

/// y = prelu(layer_norm(x)), as above with one slope for all (1 x 1): what follows each attention block.
template <Backend B>
void layer_norm_prelu(Context<B>& ctx, ConstView<typename B::Scalar> x, ConstView<typename B::Scalar> gamma,
                      ConstView<typename B::Scalar> beta, typename B::Scalar eps, ConstView<typename B::Scalar> slope,
                      MatrixView<typename B::Scalar> y, typename B::Scalar* mean, typename B::Scalar* rstd) {
  detail::require_shape(gamma, 1, x.cols, "layer_norm_prelu", "gamma");
  detail::require_shape(beta, 1, x.cols, "layer_norm_prelu", "beta");
  detail::require_shape(slope, 1, 1, "layer_norm_prelu", "slope");
  detail::require_shape(y, x.rows, x.cols, "layer_norm_prelu", "output");
  B::for_each(ctx, x.rows,
              functors::LayerNormRow<typename B::Scalar>{x, gamma.data, beta.data, eps, y, mean, rstd, slope.data});
}

/// Gradients of layer_norm_prelu, all in one pass; views without data are skipped. Without beta and slope: those of
/// layer_norm.
template <Backend B>
void layer_norm_prelu_backward(Context<B>& ctx, ConstView<typename B::Scalar> x, ConstView<typename B::Scalar> gamma,
                               ConstView<typename B::Scalar> beta, ConstView<typename B::Scalar> slope,
                               const typename B::Scalar* mean, const typename B::Scalar* rstd,
                               ConstView<typename B::Scalar> d_y, const GradSlot<typename B::Scalar>& d_x,
                               const GradSlot<typename B::Scalar>& d_gamma, const GradSlot<typename B::Scalar>& d_beta,
                               const GradSlot<typename B::Scalar>& d_slope) {
  using T = typename B::Scalar;
  const Index d = x.cols;
  B::reduce_rows(
      ctx, x.rows,
      functors::LayerNormBackwardRow<T>{x, gamma.data, beta.data, slope.data, mean, rstd, d_y, d_x.view, d_x.write},
      SumTargets<T>({d, d_gamma}, {d, d_beta}, {1, d_slope}));
}

/// The three gradients of layer_norm; views without data are skipped.
template <Backend B>
void layer_norm_backward(Context<B>& ctx, ConstView<typename B::Scalar> x, ConstView<typename B::Scalar> gamma,
                         const typename B::Scalar* mean, const typename B::Scalar* rstd,
                         ConstView<typename B::Scalar> d_y, MatrixView<typename B::Scalar> d_x, Write write_x,
                         MatrixView<typename B::Scalar> d_gamma, Write write_gamma,
                         MatrixView<typename B::Scalar> d_beta, Write write_beta) {
  layer_norm_prelu_backward<B>(ctx, x, gamma, {}, {}, mean, rstd, d_y, {d_x, write_x}, {d_gamma, write_gamma},
                               {d_beta, write_beta}, {});
}

}  // namespace rearm
