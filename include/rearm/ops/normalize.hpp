#pragma once
/// @file normalize.hpp
/// Row L2 normalisation, LayerNorm, softmax along either axis, log-sum-exp, cosine.

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

/// The three gradients of layer_norm; views without data are skipped.
template <Backend B>
void layer_norm_backward(Context<B>& ctx, ConstView<typename B::Scalar> x, ConstView<typename B::Scalar> gamma,
                         const typename B::Scalar* mean, const typename B::Scalar* rstd,
                         ConstView<typename B::Scalar> d_y, MatrixView<typename B::Scalar> d_x, Write write_x,
                         MatrixView<typename B::Scalar> d_gamma, Write write_gamma,
                         MatrixView<typename B::Scalar> d_beta, Write write_beta) {
  using T = typename B::Scalar;
  if (d_gamma.data != nullptr || d_beta.data != nullptr) {
    Scratch<B> scratch(ctx);
    T* both = scratch.template allocate<T>(2 * x.cols);
    B::reduce_rows(ctx, x.rows, 2 * x.cols, functors::LayerNormAffineGradRow<T>{x, mean, rstd, d_y}, both,
                   Write::overwrite);
    if (d_gamma.data != nullptr)
      B::for_each(ctx, 1, functors::ScaleRow<T>{T{1}, {both, 1, x.cols}, d_gamma, write_gamma});
    if (d_beta.data != nullptr)
      B::for_each(ctx, 1, functors::ScaleRow<T>{T{1}, {both + x.cols, 1, x.cols}, d_beta, write_beta});
  }
  if (d_x.data != nullptr)
    B::for_each(ctx, x.rows, functors::LayerNormBackwardRow<T>{x, gamma.data, mean, rstd, d_y, d_x, write_x});
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

/// Gradients of layer_norm_prelu, all in one pass; views without data are skipped.
template <Backend B>
void layer_norm_prelu_backward(Context<B>& ctx, ConstView<typename B::Scalar> x, ConstView<typename B::Scalar> gamma,
                               ConstView<typename B::Scalar> beta, ConstView<typename B::Scalar> slope,
                               const typename B::Scalar* mean, const typename B::Scalar* rstd,
                               ConstView<typename B::Scalar> d_y, const GradSlot<typename B::Scalar>& d_x,
                               const GradSlot<typename B::Scalar>& d_gamma, const GradSlot<typename B::Scalar>& d_beta,
                               const GradSlot<typename B::Scalar>& d_slope) {
  using T = typename B::Scalar;
  const Index d = x.cols;
  Scratch<B> scratch(ctx);
  T* const sums = scratch.template allocate<T>(2 * d + 1);
  B::reduce_rows(ctx, x.rows, 2 * d + 1,
                 functors::LayerNormPreluBackwardRow<T>{x, gamma.data, beta.data, slope.data, mean, rstd, d_y, d_x.view,
                                                        d_x.write},
                 sums, Write::overwrite);
  const auto add = [&](T* from, Index n, const GradSlot<T>& to) {
    if (to.view.data != nullptr) B::for_each(ctx, 1, functors::ScaleRow<T>{T{1}, {from, 1, n}, to.view, to.write});
  };
  add(sums, d, d_gamma);
  add(sums + d, d, d_beta);
  add(sums + 2 * d, 1, d_slope);
}

/// How each row of a softmax is read: as an outer x axis x inner array, softmax along `axis`. A d x k matrix in a row
/// has its first axis with {d, k} and its last with {k, 1}; a plain row is {cols, 1}.
struct SoftmaxAxis {
  Index axis;
  Index inner;
};

/// Softmax inside each row, along the axis that `along` describes. Throws ShapeError when it does not divide the row.
template <Backend B>
void softmax(Context<B>& ctx, ConstView<typename B::Scalar> x, SoftmaxAxis along, MatrixView<typename B::Scalar> y) {
  if (along.axis < 1 || along.inner < 1 || x.cols % (along.axis * along.inner) != 0)
    throw ShapeError(detail::message("softmax: rows of ", shape_string(x), " are not made of blocks of ", along.axis,
                                     " x ", along.inner));
  detail::require_shape(y, x.rows, x.cols, "softmax", "output");
  B::for_each(ctx, x.rows, functors::SoftmaxRow<typename B::Scalar>{x, along.axis, along.inner, y});
}

template <Backend B>
void softmax_backward(Context<B>& ctx, ConstView<typename B::Scalar> y, SoftmaxAxis along,
                      ConstView<typename B::Scalar> d_y, MatrixView<typename B::Scalar> d_x, Write write) {
  detail::require_shape(d_x, y.rows, y.cols, "softmax_backward", "d_x");
  B::for_each(ctx, y.rows,
              functors::SoftmaxBackwardRow<typename B::Scalar>{y, along.axis, along.inner, d_y, d_x, write});
}

/// y_i = log sum_j exp(x_ij), y n x 1; x must have a column.
template <Backend B>
void log_sum_exp(Context<B>& ctx, ConstView<typename B::Scalar> x, MatrixView<typename B::Scalar> y) {
  if (x.cols < 1) throw ShapeError(detail::message("log_sum_exp: input is ", shape_string(x), ", without columns"));
  detail::require_shape(y, x.rows, 1, "log_sum_exp", "output");
  B::for_each(ctx, x.rows, functors::LogSumExpRow<typename B::Scalar>{x, y});
}

template <Backend B>
void log_sum_exp_backward(Context<B>& ctx, ConstView<typename B::Scalar> x, ConstView<typename B::Scalar> y,
                          ConstView<typename B::Scalar> d_y, MatrixView<typename B::Scalar> d_x, Write write) {
  detail::require_shape(d_x, x.rows, x.cols, "log_sum_exp_backward", "d_x");
  B::for_each(ctx, x.rows, functors::LogSumExpBackwardRow<typename B::Scalar>{x, y, d_y, d_x, write});
}

/// y_i = a_i . b_i / (max(|a_i|, eps) max(|b_i|, eps)), y n x 1. A zero row has cosine 0 with everything.
template <Backend B>
void cosine(Context<B>& ctx, ConstView<typename B::Scalar> a, ConstView<typename B::Scalar> b, typename B::Scalar eps,
            MatrixView<typename B::Scalar> y) {
  detail::require_shape(b, a.rows, a.cols, "cosine", "second operand");
  detail::require_shape(y, a.rows, 1, "cosine", "output");
  B::for_each(ctx, a.rows, functors::CosineRow<typename B::Scalar>{a, b, eps, y});
}

/// Both gradients of cosine; views without data are skipped.
template <Backend B>
void cosine_backward(Context<B>& ctx, ConstView<typename B::Scalar> a, ConstView<typename B::Scalar> b,
                     typename B::Scalar eps, ConstView<typename B::Scalar> d_y, MatrixView<typename B::Scalar> d_a,
                     Write write_a, MatrixView<typename B::Scalar> d_b, Write write_b) {
  using T = typename B::Scalar;
  if (d_a.data != nullptr) B::for_each(ctx, a.rows, functors::CosineBackwardRow<T>{a, b, eps, d_y, d_a, write_a});
  if (d_b.data != nullptr) B::for_each(ctx, a.rows, functors::CosineBackwardRow<T>{b, a, eps, d_y, d_b, write_b});
}

}  // namespace rearm
