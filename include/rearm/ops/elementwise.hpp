#pragma once
/// @file elementwise.hpp
/// Copies, sums, scalings, means, PReLU, scalar affine maps, dropout and Gumbel noise.

#include <rearm/core/context.hpp>
#include <rearm/functors/elementwise.hpp>
#include <rearm/ops/gemm.hpp>

namespace rearm::REARM_ABI {

/// y = value everywhere.
template <Backend B>
void fill(Context<B>& ctx, Real<B> value, Out<B> y) {
  B::for_each(ctx, y.rows, functors::FillRow<Real<B>>{value, y});
}

/// y_ij standard normal, a function of the key, the place and the number of columns.
template <Backend B>
void fill_normal(Context<B>& ctx, RandomKey key, Out<B> y) {
  B::for_each(ctx, y.rows, functors::NormalRow<Real<B>>{key, y});
}

/// y (+)= alpha x, same shape. With y a column block of a wider matrix this is concatenation; the backward
/// pass is the same call with the gradients of y and x.
template <Backend B>
void scaled_copy(Context<B>& ctx, Real<B> alpha, In<B> x, Into<Real<B>> y) {
  detail::require_shape(x, y.view.rows, y.view.cols, "scaled_copy", "input");
  B::for_each(ctx, x.rows, functors::ScaleRow<Real<B>>{alpha, x, y});
}

/// Collects copies y (+)= alpha x and makes them in one pass; if two would touch the same memory at different rows, in
/// the order they were added. No source may also be a destination. Copies without a destination are skipped.
template <Backend B>
class ScaledCopies {
 public:
  using T = Real<B>;
  explicit ScaledCopies(Context<B>& ctx) : ctx_(&ctx) {}
  void add(const functors::ScaleRow<T>& copy) {
    if (!copy.y.wanted()) return;
    detail::require_shape(copy.x, copy.y.view.rows, copy.y.view.cols, "scaled_copy", "input");
    bool apart = rows_.count < rows_.capacity;
    for (int c = 0; c < rows_.count; ++c) apart = apart && detail::rows_apart(rows_.copy[c].y.view, copy.y.view);
    if (!apart) run();
    rows_.copy[rows_.count++] = copy;
  }
  void run() {
    B::for_each(*ctx_, rows_.rows(), rows_);
    rows_.count = 0;
  }

 private:
  Context<B>* ctx_;
  functors::ScaleRows<T> rows_;
};

/// out_j = (1/n) sum_i x_ij, out 1 x cols; x must have at least one row.
template <Backend B>
void column_mean(Context<B>& ctx, In<B> x, Out<B> out) {
  if (x.rows < 1) throw ShapeError(detail::message("column_mean: input is ", shape_string(x), ", which has no rows"));
  using T = Real<B>;
  column_sum(ctx, T{1} / static_cast<T>(x.rows), x, out);
}

/// d_x (+)= (1/n) d_out in every row.
template <Backend B>
void column_mean_backward(Context<B>& ctx, In<B> d_out, Into<Real<B>> d_x) {
  using T = Real<B>;
  const MatrixView<const T> repeated{d_out.data, d_x.view.rows, d_x.view.cols, 0};
  B::for_each(ctx, repeated.rows, functors::ScaleRow<T>{T{1} / static_cast<T>(repeated.rows), repeated, d_x});
}

/// out (1 x 1) (+)= alpha sum of all entries of x.
template <Backend B>
void sum(Context<B>& ctx, Real<B> alpha, In<B> x, Into<Real<B>> out) {
  detail::require_shape(out.view, 1, 1, "sum", "output");
  B::reduce_rows(ctx, x.rows, functors::SumRow<Real<B>>{alpha, x}, RowSums<Real<B>>(out));
}

/// out (1 x 1) (+)= alpha sum_ij x_ij y_ij.
template <Backend B>
void dot_sum(Context<B>& ctx, Real<B> alpha, In<B> x, In<B> y, Into<Real<B>> out) {
  detail::require_shape(out.view, 1, 1, "dot_sum", "output");
  detail::require_shape(y, x.rows, x.cols, "dot_sum", "second operand");
  B::reduce_rows(ctx, x.rows, functors::DotSumRow<Real<B>>{alpha, x, y}, RowSums<Real<B>>(out));
}

/// y = max(0, x) + slope min(0, x), one slope for all (He et al., ICCV'15), plus `addend` if it has data.
template <Backend B>
void prelu(Context<B>& ctx, In<B> x, In<B> slope, Out<B> y, In<B> addend = {}) {
  detail::require_shape(slope, 1, 1, "prelu", "slope");
  detail::require_shape(y, x.rows, x.cols, "prelu", "output");
  if (addend.data != nullptr) detail::require_shape(addend, x.rows, x.cols, "prelu", "addend");
  B::for_each(ctx, x.rows, functors::PreluRow<Real<B>>{x, slope.data, y, addend});
}

/// d_x (+)= d_y (x > 0 ? 1 : slope); d_slope (+)= sum over x <= 0 of x d_y; d_addend (+)= d_y. d_addend is
/// written before d_x.
template <Backend B>
void prelu_backward(Context<B>& ctx, In<B> x, In<B> slope, In<B> d_y, Into<Real<B>> d_x, Into<Real<B>> d_slope,
                    Into<Real<B>> d_addend = {}) {
  using T = Real<B>;
  if (d_addend.wanted())
    detail::require_shape(d_addend.view, d_y.rows, d_y.cols, "prelu_backward", "gradient of the addend");
  const functors::PreluInputBackwardRow<T> to_x{x, slope.data, d_y, d_x};
  const functors::ScaleRow<T> to_addend{T{1}, d_y, d_addend};
  const RowSums<T> to_slope(d_slope);
  if (d_addend.wanted() && d_x.wanted() && d_slope.wanted() && detail::rows_apart(d_addend.view, d_x.view))
    return B::reduce_rows(ctx, x.rows, functors::CopyThenRow<T, functors::PreluBackwardRow<T>>{to_addend, {to_x}},
                          to_slope);
  if (d_addend.wanted()) B::for_each(ctx, x.rows, to_addend);
  if (!d_x.wanted() && d_slope.wanted())
    B::reduce_rows(ctx, x.rows, functors::PreluSlopeBackwardRow<T>{x, d_y}, to_slope);
  else if (d_slope.wanted())
    B::reduce_rows(ctx, x.rows, functors::PreluBackwardRow<T>{to_x}, to_slope);
  else if (d_x.wanted())
    B::for_each(ctx, x.rows, to_x);
}

/// y = w x + b with one weight and one bias (1 x 1 each): a linear map on width-1 inputs. Plus `addend` if it has
/// data.
template <Backend B>
void scalar_affine(Context<B>& ctx, In<B> x, In<B> weight, In<B> bias, Out<B> y, In<B> addend = {}) {
  detail::require_shape(weight, 1, 1, "scalar_affine", "weight");
  detail::require_shape(bias, 1, 1, "scalar_affine", "bias");
  detail::require_shape(y, x.rows, x.cols, "scalar_affine", "output");
  if (addend.data != nullptr) detail::require_shape(addend, x.rows, x.cols, "scalar_affine", "addend");
  B::for_each(ctx, x.rows, functors::ScalarAffineRow<Real<B>>{x, weight.data, bias.data, y, addend});
}

/// d_x (+)= w d_y; d_w (+)= sum x d_y; d_b (+)= sum d_y; d_addend (+)= d_y. d_addend is written before d_x.
template <Backend B>
void scalar_affine_backward(Context<B>& ctx, In<B> x, In<B> weight, In<B> d_y, Into<Real<B>> d_x,
                            Into<Real<B>> d_weight, Into<Real<B>> d_bias, Into<Real<B>> d_addend = {}) {
  using T = Real<B>;
  if (d_addend.wanted())
    detail::require_shape(d_addend.view, d_y.rows, d_y.cols, "scalar_affine_backward", "gradient of the addend");
  const functors::ScalarAffineInputBackwardRow<T> to_x{weight.data, d_y, d_x};
  const functors::ScaleRow<T> to_addend{T{1}, d_y, d_addend};
  const bool sums = d_weight.wanted() || d_bias.wanted();
  const bool together = sums && d_addend.wanted() && detail::rows_apart(d_addend.view, d_x.view);
  if (d_addend.wanted() && !together) B::for_each(ctx, x.rows, to_addend);
  if (!sums) {
    if (d_x.wanted()) B::for_each(ctx, x.rows, to_x);
    return;
  }
  const RowSums<T> both({1, d_weight}, {1, d_bias});
  using Sums = functors::ScalarAffineBackwardRow<T>;
  if (together)
    B::reduce_rows(ctx, x.rows, functors::CopyThenRow<T, Sums>{to_addend, {x, to_x}}, both);
  else
    B::reduce_rows(ctx, x.rows, Sums{x, to_x}, both);
}

/// y (+)= x mask / (1 - p); p = 1 gives 0. The backward pass is the same call, with the same key, from d_y to d_x. With
/// `rows`, one a row of x, that row has the mask of row rows[i]: of rows gathered from a matrix what dropout makes of
/// it.
template <Backend B>
void dropout(Context<B>& ctx, In<B> x, double p, RandomKey key, Into<Real<B>> y, const IndexList* rows = nullptr) {
  detail::require_shape(y.view, x.rows, x.cols, "dropout", "output");
  if (!(p >= 0 && p <= 1)) throw ConfigError(detail::message("dropout: p = ", p, " must lie in [0, 1]"));
  if (rows != nullptr && rows->size != x.rows)
    throw ShapeError(detail::message("dropout: there are ", rows->size, " ids for ", x.rows, " rows"));
  using T = Real<B>;
  B::for_each(ctx, x.rows,
              functors::DropoutRow<T>{x, y, functors::DropoutMask::make(key, p), functors::DropoutMask::scale<T>(p),
                                      rows != nullptr ? rows->ids : nullptr});
}

/// y_ij = x_ij + g_ij, each g_ij from the standard Gumbel distribution and a function of the key and the place; y may
/// be x. softmax(y / temperature) is a Gumbel softmax (Jang et al., Maddison et al., ICLR'17). d_x is d_y.
template <Backend B>
void add_gumbel(Context<B>& ctx, In<B> x, RandomKey key, Out<B> y) {
  detail::require_shape(y, x.rows, x.cols, "add_gumbel", "output");
  B::for_each(ctx, x.rows, functors::GumbelRow<Real<B>>{x, y, key});
}

}  // namespace rearm::REARM_ABI
