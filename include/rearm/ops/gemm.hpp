#pragma once
/// @file gemm.hpp
/// Dense products and the affine map built on them.

#include <rearm/core/context.hpp>
#include <rearm/functors/elementwise.hpp>

#include <algorithm>

namespace rearm::REARM_ABI {

/// C (+)= alpha op(A) op(B), op(A) m x k, op(B) k x n, C m x n. Throws ShapeError. 2 m n k operations.
template <Backend B>
void gemm(Context<B>& ctx, Op op_a, Op op_b, Real<B> alpha, In<B> a, In<B> b, Into<Real<B>> c) {
  const Index m = op_a == Op::none ? a.rows : a.cols;
  const Index k = op_a == Op::none ? a.cols : a.rows;
  const Index k_b = op_b == Op::none ? b.rows : b.cols;
  const Index n = op_b == Op::none ? b.cols : b.rows;
  if (k != k_b)
    throw ShapeError(detail::message("gemm: A is ", shape_string(a), op_a == Op::none ? "" : " transposed", ", B is ",
                                     shape_string(b), op_b == Op::none ? "" : " transposed", ": inner dimensions ", k,
                                     " and ", k_b, " differ"));
  detail::require_shape(c.view, m, n, "gemm", "C");
  B::gemm(ctx, op_a, op_b, alpha, a, b, c.view, c.write);
}

/// d_A (+)= alpha d_C op(B)^T and d_B (+)= alpha op(A)^T d_C, each in the orientation its operand is stored in.
template <Backend B>
void gemm_backward(Context<B>& ctx, Op op_a, Op op_b, Real<B> alpha, In<B> a, In<B> b, In<B> d_c, Into<Real<B>> d_a,
                   Into<Real<B>> d_b) {
  const auto flip = [](Op op) { return op == Op::none ? Op::transpose : Op::none; };
  if (d_a.wanted()) {
    if (op_a == Op::none)
      gemm(ctx, Op::none, flip(op_b), alpha, d_c, b, d_a);
    else
      gemm(ctx, op_b, Op::transpose, alpha, b, d_c, d_a);
  }
  if (d_b.wanted()) {
    if (op_b == Op::none)
      gemm(ctx, flip(op_a), Op::none, alpha, a, d_c, d_b);
    else
      gemm(ctx, Op::transpose, op_a, alpha, d_c, a, d_b);
  }
}

/// out_j (+)= alpha sum_i x_ij, out 1 x cols.
template <Backend B>
void column_sum(Context<B>& ctx, Real<B> alpha, In<B> x, Into<Real<B>> out) {
  detail::require_shape(out.view, 1, x.cols, "column_sum", "output");
  using T = Real<B>;
  B::reduce_rows(ctx, x.rows, functors::ColumnSumRow<T>{alpha, x}, RowSums<T>(out));
}

/// Y = X W^T + b (REARM eq. 3): X n x p, W d x p, b 1 x d (or empty for none), Y n x d. The feature projection.
template <Backend B>
void linear(Context<B>& ctx, In<B> x, In<B> weight, In<B> bias, Out<B> y) {
  using T = Real<B>;
  gemm(ctx, Op::none, Op::transpose, T{1}, x, weight, y);
  if (bias.data == nullptr) return;
  detail::require_shape(bias, 1, y.cols, "linear", "bias");
  B::for_each(ctx, y.rows, functors::AddRow<T>{y, T{1}, bias, y});
}

namespace detail {

/// Calls f(first row, rows as T) for consecutive blocks of rows of a bfloat16 table, each small enough for a cache.
template <Backend B, class F>
void for_each_widened(Context<B>& ctx, ConstView<BFloat16> x, const F& f) {
  using T = Real<B>;
  if (x.empty()) return;
  Scratch<B> scratch(ctx);
  const Index block = std::min(x.rows, std::max<Index>(B::cached_bytes / static_cast<Index>(sizeof(T)) / x.cols, 64));
  const MatrixView<T> all = scratch.template matrix<T>(block, x.cols);
  for (Index first = 0; first < x.rows; first += block) {
    const MatrixView<T> rows = all.row_block(0, std::min(block, x.rows - first));
    B::for_each(ctx, rows.rows, functors::ConvertRow<BFloat16, T>{x.row_block(first, rows.rows), rows});
    f(first, ConstView<T>(rows));
  }
}

}  // namespace detail

/// `linear` for a table stored in bfloat16, computed in T.
template <Backend B>
void linear(Context<B>& ctx, ConstView<BFloat16> x, In<B> weight, In<B> bias, Out<B> y) {
  detail::require_shape(y, x.rows, weight.rows, "linear", "output");
  if constexpr (requires { B::linear(ctx, x, weight, y); }) {
    using T = Real<B>;
    detail::require_shape(weight, y.cols, x.cols, "linear", "weight");
    B::linear(ctx, x, weight, y);
    if (bias.data == nullptr) return;
    detail::require_shape(bias, 1, y.cols, "linear", "bias");
    B::for_each(ctx, y.rows, functors::AddRow<T>{y, T{1}, bias, y});
  } else {
    detail::for_each_widened(
        ctx, x, [&](Index first, In<B> rows) { linear(ctx, rows, weight, bias, y.row_block(first, rows.rows)); });
  }
}

/// d_X (+)= d_Y W, d_W (+)= d_Y^T X, d_b (+)= column sums of d_Y.
template <Backend B>
void linear_backward(Context<B>& ctx, In<B> x, In<B> weight, In<B> d_y, Into<Real<B>> d_x, Into<Real<B>> d_weight,
                     Into<Real<B>> d_bias) {
  using T = Real<B>;
  gemm_backward(ctx, Op::none, Op::transpose, T{1}, x, weight, d_y, d_x, d_weight);
  if (d_bias.wanted()) column_sum(ctx, T{1}, d_y, d_bias);
}

/// The same without d_X, whose factors are d_Y and W.
template <Backend B>
void linear_backward(Context<B>& ctx, In<B> x, In<B> d_y, Into<Real<B>> d_weight, Into<Real<B>> d_bias) {
  using T = Real<B>;
  if (d_weight.wanted()) gemm(ctx, Op::transpose, Op::none, T{1}, d_y, x, d_weight);
  if (d_bias.wanted()) column_sum(ctx, T{1}, d_y, d_bias);
}
/// For a table stored in bfloat16.
template <Backend B>
void linear_backward(Context<B>& ctx, ConstView<BFloat16> x, In<B> d_y, Into<Real<B>> d_weight, Into<Real<B>> d_bias) {
  using T = Real<B>;
  if (d_weight.wanted()) {
    if constexpr (requires { B::linear_backward(ctx, x, d_y, d_weight); }) {
      detail::require_shape(d_y, x.rows, d_weight.view.rows, "linear_backward", "d_y");
      detail::require_shape(d_weight.view, d_y.cols, x.cols, "linear_backward", "d_weight");
      B::linear_backward(ctx, x, d_y, d_weight);
    } else {
      detail::for_each_widened(ctx, x, [&](Index first, ConstView<T> rows) {
        gemm(ctx, Op::transpose, Op::none, T{1}, d_y.row_block(first, rows.rows), rows,
             first == 0 ? d_weight : add_to(d_weight.view));
      });
    }
  }
  if (d_bias.wanted()) column_sum(ctx, T{1}, d_y, d_bias);
}

}  // namespace rearm::REARM_ABI
