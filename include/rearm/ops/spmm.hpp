#pragma once
/// @file spmm.hpp
/// Sparse times dense matrices of any width, optionally finishing each row of the result in the same pass.

#include <rearm/core/context.hpp>
#include <rearm/functors/normalize.hpp>

namespace rearm::REARM_ABI {

/// Y (+)= A X: A m x n sparse, X n x w, Y m x w; calls then(i, lane) once row i of Y is complete. Throws
/// ShapeError. 2 nnz w operations.
template <Backend B, class Then = NothingRow>
void spmm(Context<B>& ctx, CsrView<Real<B>> a, In<B> x, Into<Real<B>> y, const Then& then = {}) {
  if (a.cols != x.rows)
    throw ShapeError(detail::message("spmm: A is ", shape_string(a.rows, a.cols), " but X is ", shape_string(x)));
  detail::require_shape(y.view, a.rows, x.cols, "spmm", "Y");
  B::spmm(ctx, a, x, y.view, y.write, then);
}

/// d_X (+)= A^T d_Y, through the stored transpose.
template <Backend B>
void spmm_backward(Context<B>& ctx, const SparseOperator<Real<B>, typename B::Memory>& a, In<B> d_y,
                   Into<Real<B>> d_x) {
  spmm(ctx, a.transpose_view(), d_y, d_x);
}

/// y_i = (A X)_i / max(|(A X)_i|, eps), one propagation layer in one pass over Y; norm holds |(A X)_i| (m values).
template <Backend B>
void spmm_row_normalize(Context<B>& ctx, CsrView<Real<B>> a, In<B> x, Real<B> eps, Out<B> y, Real<B>* norm) {
  spmm(ctx, a, x, y, functors::NormalizeRow<Real<B>>{y, eps, y, norm});
}

}  // namespace rearm::REARM_ABI
