#pragma once
/// @file spmm.hpp
/// Sparse times dense, any width.

#include <rearm/core/context.hpp>

namespace rearm {

/// Y (+)= A X: A m x n sparse, X n x w, Y m x w. Throws ShapeError. 2 nnz w operations.
template <Backend B>
void spmm(Context<B>& ctx, CsrView<typename B::Scalar> a, ConstView<typename B::Scalar> x,
          MatrixView<typename B::Scalar> y, Write write = Write::overwrite) {
  if (a.cols != x.rows)
    throw ShapeError(detail::message("spmm: A is ", shape_string(a.rows, a.cols), " but X is ", shape_string(x)));
  detail::require_shape(y, a.rows, x.cols, "spmm", "Y");
  B::spmm(ctx, a, x, y, write);
}

/// d_X (+)= A^T d_Y, through the stored transpose.
template <Backend B>
void spmm_backward(Context<B>& ctx, const SparseOperator<typename B::Scalar, typename B::Memory>& a,
                   ConstView<typename B::Scalar> d_y, MatrixView<typename B::Scalar> d_x, Write write) {
  spmm(ctx, a.transpose_view(), d_y, d_x, write);
}

}  // namespace rearm
