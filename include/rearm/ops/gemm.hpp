#pragma once
/// @file gemm.hpp
/// Dense products and the affine map built on them.

#include <rearm/core/context.hpp>
#include <rearm/functors/elementwise.hpp>

namespace rearm {

/// C (+)= alpha op(A) op(B), op(A) m x k, op(B) k x n, C m x n. Throws ShapeError. 2 m n k operations.
template <Backend B>
void gemm(Context<B>& ctx, Op op_a, Op op_b, typename B::Scalar alpha, ConstView<typename B::Scalar> a,
          ConstView<typename B::Scalar> b, MatrixView<typename B::Scalar> c, Write write = Write::overwrite) {
  const Index m = op_a == Op::none ? a.rows : a.cols;
  const Index k = op_a == Op::none ? a.cols : a.rows;
  const Index k_b = op_b == Op::none ? b.rows : b.cols;
  const Index n = op_b == Op::none ? b.cols : b.rows;
  if (k != k_b)
    throw ShapeError(detail::message("gemm: A is ", shape_string(a), op_a == Op::none ? "" : " transposed", ", B is ",
                                     shape_string(b), op_b == Op::none ? "" : " transposed", ": inner dimensions ", k,
                                     " and ", k_b, " differ"));
  detail::require_shape(c, m, n, "gemm", "C");
  B::gemm(ctx, op_a, op_b, alpha, a, b, c, write);
}

/// d_A (+)= alpha d_C op(B)^T and d_B (+)= alpha op(A)^T d_C, each in the orientation its operand is stored in. A view
/// without data is skipped.
template <Backend B>
void gemm_backward(Context<B>& ctx, Op op_a, Op op_b, typename B::Scalar alpha, ConstView<typename B::Scalar> a,
                   ConstView<typename B::Scalar> b, ConstView<typename B::Scalar> d_c,
                   MatrixView<typename B::Scalar> d_a, Write write_a, MatrixView<typename B::Scalar> d_b,
                   Write write_b) {
  const auto flip = [](Op op) { return op == Op::none ? Op::transpose : Op::none; };
  if (d_a.data != nullptr) {
    if (op_a == Op::none)
      gemm(ctx, Op::none, flip(op_b), alpha, d_c, b, d_a, write_a);
    else
      gemm(ctx, op_b, Op::transpose, alpha, b, d_c, d_a, write_a);
  }
  if (d_b.data != nullptr) {
    if (op_b == Op::none)
      gemm(ctx, flip(op_a), Op::none, alpha, a, d_c, d_b, write_b);
    else
      gemm(ctx, Op::transpose, op_a, alpha, d_c, a, d_b, write_b);
  }
}

/// out_j (+)= alpha sum_i x_ij, out 1 x cols.
template <Backend B>
void column_sum(Context<B>& ctx, typename B::Scalar alpha, ConstView<typename B::Scalar> x,
                MatrixView<typename B::Scalar> out, Write write = Write::overwrite) {
  detail::require_shape(out, 1, x.cols, "column_sum", "output");
  using T = typename B::Scalar;
  B::reduce_rows(ctx, x.rows, x.cols, functors::ColumnSumRow<T>{alpha, x}, out.data, write);
}

/// Y = X W^T + b (paper eq. 3): X n x p, W d x p, b 1 x d (or empty for none), Y n x d. The feature projection.
template <Backend B>
void linear(Context<B>& ctx, ConstView<typename B::Scalar> x, ConstView<typename B::Scalar> weight,
            ConstView<typename B::Scalar> bias, MatrixView<typename B::Scalar> y) {
  using T = typename B::Scalar;
  gemm(ctx, Op::none, Op::transpose, T{1}, x, weight, y);
  if (bias.data == nullptr) return;
  detail::require_shape(bias, 1, y.cols, "linear", "bias");
  B::for_each(ctx, y.rows, functors::AddRow<T>{y, T{1}, bias, y});
}

/// d_X (+)= d_Y W, d_W (+)= d_Y^T X, d_b (+)= column sums of d_Y. Views without data are skipped.
template <Backend B>
void linear_backward(Context<B>& ctx, ConstView<typename B::Scalar> x, ConstView<typename B::Scalar> weight,
                     ConstView<typename B::Scalar> d_y, MatrixView<typename B::Scalar> d_x, Write write_x,
                     MatrixView<typename B::Scalar> d_weight, Write write_weight, MatrixView<typename B::Scalar> d_bias,
                     Write write_bias) {
  using T = typename B::Scalar;
  gemm_backward(ctx, Op::none, Op::transpose, T{1}, x, weight, d_y, d_x, write_x, d_weight, write_weight);
  if (d_bias.data != nullptr) column_sum(ctx, T{1}, d_y, d_bias, write_bias);
}

}  // namespace rearm
