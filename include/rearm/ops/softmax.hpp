#pragma once
/// @file softmax.hpp
/// Softmax along either axis, log-sum-exp and cosine on views.

#include <rearm/core/context.hpp>
#include <rearm/functors/softmax.hpp>

namespace rearm::REARM_ABI {

/// How softmax reads a row: as an outer x axis x inner array, with the softmax along `axis`. For a row that holds a
/// d x k matrix, {d, k} is its first axis and {k, 1} its last; {cols, 1} is the row as a whole.
struct SoftmaxAxis {
  Index axis;
  Index inner;
};

/// y = softmax of x inside each row, along the axis that `along` describes. Throws ShapeError unless axis x inner
/// divides the row.
template <Backend B>
void softmax(Context<B>& ctx, In<B> x, SoftmaxAxis along, Out<B> y) {
  if (along.axis < 1 || along.inner < 1 || x.cols % (along.axis * along.inner) != 0)
    throw ShapeError(detail::message("softmax: rows of ", shape_string(x), " are not made of blocks of ", along.axis,
                                     " x ", along.inner));
  detail::require_shape(y, x.rows, x.cols, "softmax", "output");
  B::for_each(ctx, x.rows, functors::SoftmaxRow<Real<B>>{x, along.axis, along.inner, y});
}

/// d_x (+)= y (d_y - sum of y d_y along the axis)
template <Backend B>
void softmax_backward(Context<B>& ctx, In<B> y, SoftmaxAxis along, In<B> d_y, Into<Real<B>> d_x) {
  detail::require_shape(d_x.view, y.rows, y.cols, "softmax_backward", "d_x");
  B::for_each(ctx, y.rows, functors::SoftmaxBackwardRow<Real<B>>{y, along.axis, along.inner, d_y, d_x});
}

/// y_i = log sum_j exp(x_ij), y n x 1; x must have at least one column.
template <Backend B>
void log_sum_exp(Context<B>& ctx, In<B> x, Out<B> y) {
  if (x.cols < 1)
    throw ShapeError(detail::message("log_sum_exp: input is ", shape_string(x), ", which has no columns"));
  detail::require_shape(y, x.rows, 1, "log_sum_exp", "output");
  B::for_each(ctx, x.rows, functors::LogSumExpRow<Real<B>>{x, y});
}

/// d_x_ij (+)= exp(x_ij - y_i) d_y_i
template <Backend B>
void log_sum_exp_backward(Context<B>& ctx, In<B> x, In<B> y, In<B> d_y, Into<Real<B>> d_x) {
  detail::require_shape(d_x.view, x.rows, x.cols, "log_sum_exp_backward", "d_x");
  B::for_each(ctx, x.rows, functors::LogSumExpBackwardRow<Real<B>>{x, y, d_y, d_x});
}

/// y_i = a_i . b_i / (max(|a_i|, eps) max(|b_i|, eps)), y n x 1. A zero row has cosine 0 with everything.
template <Backend B>
void cosine(Context<B>& ctx, In<B> a, In<B> b, Real<B> eps, Out<B> y) {
  detail::require_shape(b, a.rows, a.cols, "cosine", "second operand");
  detail::require_shape(y, a.rows, 1, "cosine", "output");
  B::for_each(ctx, a.rows, functors::CosineRow<Real<B>>{a, b, eps, y});
}

/// d_a (+)= d_y (b / |b| - y a / |a|) / |a|, norms at least eps; d_b by symmetry. d_a is written first.
template <Backend B>
void cosine_backward(Context<B>& ctx, In<B> a, In<B> b, Real<B> eps, In<B> d_y, Into<Real<B>> d_a, Into<Real<B>> d_b) {
  using T = Real<B>;
  if (d_a.wanted()) B::for_each(ctx, a.rows, functors::CosineBackwardRow<T>{a, b, eps, d_y, d_a});
  if (d_b.wanted()) B::for_each(ctx, a.rows, functors::CosineBackwardRow<T>{b, a, eps, d_y, d_b});
}

}  // namespace rearm::REARM_ABI
