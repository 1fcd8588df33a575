#pragma once
/// @file batch_norm.hpp
/// Batch normalization of columns (Ioffe & Szegedy, ICML'15), with or without a PReLU behind it.

#include <rearm/functors/batch_norm.hpp>
#include <rearm/ops/elementwise.hpp>

namespace rearm::REARM_ABI {

/// Moments that follow those of the batches, d numbers each: r += momentum (batch's - r), the variance's unbiased.
template <class T>
struct RunningMoments {
  T* mean = nullptr;
  T* variance = nullptr;
  T momentum = 0;
};

/// Of the columns of x: mean, and rstd = 1 / sqrt(variance + eps), the variance divided by n; d numbers each. Moves
/// `running` unless it is empty. Throws ShapeError for less than two rows.
template <Backend B>
void batch_moments(Context<B>& ctx, In<B> x, Real<B> eps, Real<B>* mean, Real<B>* rstd,
                   const RunningMoments<Real<B>>& running = {}) {
  using T = Real<B>;
  if (x.rows < 2) throw ShapeError(detail::message("batch_moments: input is ", shape_string(x), ": needs two rows"));
  Scratch<B> scratch(ctx);
  const MatrixView<T> variance = scratch.template matrix<T>(1, x.cols);
  const auto n = static_cast<T>(x.rows);
  column_mean<B>(ctx, x, {mean, 1, x.cols});
  B::reduce_rows(ctx, x.rows, functors::CenteredSquaresRow<T>{T{1} / n, x, mean}, RowSums<T>(variance));
  B::for_each(ctx, 1,
              functors::BatchMomentsRow<T>{x.cols, mean, variance.data, eps, rstd, running.mean, running.variance,
                                           running.momentum, n / (n - T{1})});
}
/// rstd of a variance that is there already.
template <Backend B>
void inverse_deviation(Context<B>& ctx, Index d, const Real<B>* variance, Real<B> eps, Real<B>* rstd) {
  B::for_each(ctx, 1, functors::BatchMomentsRow<Real<B>>{d, nullptr, variance, eps, rstd});
}

namespace detail {
template <class T>
functors::BatchNormInput<T> batch_norm_input(ConstView<T> x, ConstView<T> gamma, ConstView<T> beta, ConstView<T> slope,
                                             const T* mean, const T* rstd, const char* op) {
  require_shape(gamma, 1, x.cols, op, "gamma");
  require_shape(beta, 1, x.cols, op, "beta");
  if (slope.data != nullptr) require_shape(slope, 1, 1, op, "slope");
  return {x, mean, rstd, gamma.data, beta.data, slope.data};
}
}  // namespace detail

/// y = gamma (x - mean) rstd + beta, all of them a number a column, and the PReLU of that unless `slope` is empty.
template <Backend B>
void batch_norm(Context<B>& ctx, In<B> x, In<B> gamma, In<B> beta, In<B> slope, const Real<B>* mean,
                const Real<B>* rstd, Out<B> y) {
  const auto in = detail::batch_norm_input<Real<B>>(x, gamma, beta, slope, mean, rstd, "batch_norm");
  detail::require_shape(y, x.rows, x.cols, "batch_norm", "output");
  B::for_each(ctx, x.rows, functors::BatchNormRow<Real<B>>{in, y});
}

/// All gradients, in two passes over x and d_y. `of_batch`: whether the moments are x's own and pass gradients on to
/// it; else they are constants.
template <Backend B>
void batch_norm_backward(Context<B>& ctx, In<B> x, In<B> gamma, In<B> beta, In<B> slope, const Real<B>* mean,
                         const Real<B>* rstd, bool of_batch, In<B> d_y, Into<Real<B>> d_x, Into<Real<B>> d_gamma,
                         Into<Real<B>> d_beta, Into<Real<B>> d_slope) {
  using T = Real<B>;
  const auto in = detail::batch_norm_input<T>(x, gamma, beta, slope, mean, rstd, "batch_norm_backward");
  detail::require_shape(d_y, x.rows, x.cols, "batch_norm_backward", "d_y");
  Scratch<B> scratch(ctx);
  const MatrixView<T> sums = scratch.template matrix<T>(3, x.cols);  // the slope's is the last row's first
  const MatrixView<T> of_gamma = sums.row_block(0, 1), of_beta = sums.row_block(1, 1);
  const MatrixView<T> of_slope = sums.row_block(2, 1).col_block(0, 1);
  B::reduce_rows(ctx, x.rows, functors::BatchNormSumsRow<T>{in, d_y},
                 RowSums<T>({x.cols, of_gamma}, {x.cols, of_beta}, {1, of_slope}));
  if (d_x.wanted()) {
    const T share = of_batch ? T{1} / static_cast<T>(x.rows) : T{0};
    B::for_each(ctx, x.rows, functors::BatchNormBackwardRow<T>{in, d_y, of_gamma.data, of_beta.data, share, d_x});
  }
  ScaledCopies<B> copies(ctx);
  copies.add({T{1}, of_gamma, d_gamma});
  copies.add({T{1}, of_beta, d_beta});
  copies.add({T{1}, of_slope, d_slope});
  copies.run();
}

}  // namespace rearm::REARM_ABI
