#pragma once
/// @file broadcast.hpp
/// Elementwise sums and products. The second operand has the shape of the first, or is one row, one column or one
/// number that is repeated; its gradient is then summed over the repetitions, in an order that the shape fixes.

#include <rearm/functors/broadcast.hpp>
#include <rearm/ops/elementwise.hpp>

namespace rearm::REARM_ABI {

namespace detail {
/// Whether b has a's shape or can be repeated to it.
template <class T, class U>
bool broadcasts(const MatrixView<T>& a, const MatrixView<U>& b) {
  return (b.rows == a.rows || b.rows == 1) && (b.cols == a.cols || b.cols == 1);
}
/// Throws ShapeError otherwise.
template <class T, class U>
void require_broadcast(const MatrixView<T>& a, const MatrixView<U>& b, const char* op) {
  if (!broadcasts(a, b))
    throw ShapeError(message(op, ": a is ", shape_string(a), " but b is ", shape_string(b),
                             "; it must have the same shape, or be one row, one column or one number"));
}
}  // namespace detail

/// y = a + beta b, y of a's shape.
template <Backend B>
void add(Context<B>& ctx, In<B> a, Real<B> beta, In<B> b, Out<B> y) {
  using T = Real<B>;
  detail::require_shape(y, a.rows, a.cols, "add", "output");
  detail::require_broadcast(a, b, "add");
  if (b.cols == a.cols)
    B::for_each(ctx, y.rows, functors::AddRow<T>{a, beta, b, y});
  else
    B::for_each(ctx, y.rows, functors::AddColumnRow<T>{a, beta, b, y});
}

/// d_a (+)= d_y; d_b (+)= beta d_y, summed over the rows if d_b is one row, over the columns if it is one column.
template <Backend B>
void add_backward(Context<B>& ctx, Real<B> beta, In<B> d_y, Into<Real<B>> d_a, Into<Real<B>> d_b) {
  using T = Real<B>;
  if (d_b.wanted()) detail::require_broadcast(d_y, d_b.view, "add_backward");
  const bool all_rows = d_b.view.rows == d_y.rows;
  const bool all_cols = d_b.view.cols == d_y.cols;
  ScaledCopies<B> copies(ctx);
  copies.add({T{1}, d_y, d_a});
  if (all_rows && all_cols) copies.add({beta, d_y, d_b});
  copies.run();
  if ((all_rows && all_cols) || !d_b.wanted()) return;
  if (all_cols)
    column_sum(ctx, beta, d_y, d_b);
  else if (all_rows)
    B::for_each(ctx, d_y.rows, functors::RowSumRow<T>{beta, d_y, d_b});
  else
    sum(ctx, beta, d_y, d_b);
}

/// y_ij = a_ij b_ij, y of a's shape.
template <Backend B>
void mul(Context<B>& ctx, In<B> a, In<B> b, Out<B> y) {
  detail::require_shape(y, a.rows, a.cols, "mul", "output");
  detail::require_broadcast(a, b, "mul");
  B::for_each(ctx, y.rows, functors::MulRow<Real<B>>{a, b, y});
}

/// d_a (+)= d_y b; d_b (+)= d_y a elementwise, summed over the rows if d_b is one row, over the columns if it is one
/// column. d_a is written before d_b.
template <Backend B>
void mul_backward(Context<B>& ctx, In<B> a, In<B> b, In<B> d_y, Into<Real<B>> d_a, Into<Real<B>> d_b) {
  using T = Real<B>;
  detail::require_shape(d_y, a.rows, a.cols, "mul_backward", "d_y");
  detail::require_broadcast(a, b, "mul_backward");
  if (d_a.wanted()) detail::require_shape(d_a.view, a.rows, a.cols, "mul_backward", "d_a");
  if (d_b.wanted()) detail::require_shape(d_b.view, b.rows, b.cols, "mul_backward", "d_b");
  if (d_a.wanted()) B::for_each(ctx, a.rows, functors::MulRow<T>{d_y, b, d_a});
  if (!d_b.wanted()) return;
  if (b.rows == a.rows && b.cols == a.cols)
    B::for_each(ctx, a.rows, functors::MulRow<T>{d_y, a, d_b});
  else if (b.cols == a.cols)
    B::reduce_rows(ctx, a.rows, functors::ColumnDotRow<T>{d_y, a}, RowSums<T>(d_b));
  else if (b.rows == a.rows)
    B::for_each(ctx, a.rows, functors::DotRow<T>{d_y, a, d_b});
  else
    dot_sum(ctx, T{1}, d_y, a, d_b);
}

}  // namespace rearm::REARM_ABI
