#pragma once
/// @file spmm.hpp
/// Sparse times dense matrices of any width, optionally finishing each row of the result in the same pass.

#include <rearm/core/context.hpp>
#include <rearm/functors/normalize.hpp>
#include <rearm/functors/spmm.hpp>
#include <rearm/ops/ranks.hpp>

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

/// The same where ranks share A, with the `halo` of its columns: x and y are a rank's rows. Null: as it is.
template <Backend B, class Then = NothingRow>
void spmm(Context<B>& ctx, CsrView<Real<B>> a, const Halo* halo, In<B> x, Into<Real<B>> y, const Then& then = {}) {
  if (halo == nullptr) return spmm(ctx, a, x, y, then);
  const bool at_once = halo->columns_at_once(x.cols) == x.cols;
  for_each_column_block(ctx, *halo, x.cols, [&](Out<B> all, Index first, Index n, Scratch<B>&) {
    put_with_halo<B>(ctx, *halo, x.col_block(first, n), all);
    if (at_once)
      spmm<B>(ctx, a, all, y, then);
    else
      spmm<B>(ctx, a, all, y.col_block(first, n));
  });
  if (!at_once) B::for_each(ctx, y.view.rows, then);
}

/// d_X (+)= A^T d_Y, through the stored transpose; where ranks share A, with the rows of d_Y that it reads of others.
template <Backend B>
void spmm_backward(Context<B>& ctx, const SparseOperator<Real<B>, typename B::Memory>& a, In<B> d_y,
                   Into<Real<B>> d_x) {
  spmm(ctx, a.transpose_view(), a.transpose_halo(), d_y, d_x);
}

/// y_i = (A X)_i / max(|(A X)_i|, eps), one propagation layer in one pass over Y; norm holds |(A X)_i| (m values). With
/// the `halo` of a matrix that ranks share, x and y are a rank's rows.
template <Backend B>
void spmm_row_normalize(Context<B>& ctx, CsrView<Real<B>> a, In<B> x, Real<B> eps, Out<B> y, Real<B>* norm,
                        const Halo* halo = nullptr) {
  spmm<B>(ctx, a, halo, x, y, functors::NormalizeRow<Real<B>>{y, eps, y, norm});
}

namespace detail {

/// Y = alpha (A X + addend), of which the rows named are computed. A backend may have a faster way.
template <Backend B>
void gather_spmm(Context<B>& ctx, const functors::GatherSpmmRow<Real<B>>& f) {
  if (f.a.cols != f.x.rows)
    throw ShapeError(message("gather_spmm: A is ", shape_string(f.a.rows, f.a.cols), " but X is ", shape_string(f.x)));
  require_shape(f.y, f.rows.size, f.x.cols, "gather_spmm", "output");
  if (f.addend.data != nullptr) require_shape(f.addend, f.a.rows, f.x.cols, "gather_spmm", "addend");
  if constexpr (requires { B::gather_spmm(ctx, f); })
    B::gather_spmm(ctx, f);
  else
    B::for_each(ctx, f.rows.n_segments, f);
}

/// n x w, zero but for some rows: row i is row row_of[i] of `rows`, whose last is 0.
template <Backend B>
struct FewRows {
  const Id* row_of;
  In<B> rows;
};

/// alpha times the sums of the rows of d_y by id.
template <Backend B>
FewRows<B> sum_places(Context<B>& ctx, Scratch<B>& scratch, const IndexList& rows, Index n, In<B> d_y, Real<B> alpha) {
  using T = Real<B>;
  require_shape(d_y, rows.size, d_y.cols, "gather_spmm_backward", "d_Y");
  Id* const row_of = scratch.template allocate<Id>(n);
  const Out<B> sums = scratch.template matrix<T>(rows.size + 1, d_y.cols);
  const functors::NoRowsRow<T> none{row_of, n, static_cast<Id>(rows.size), sums.row(rows.size), d_y.cols};
  B::for_each(ctx, (n + none.width - 1) / none.width, none);
  B::for_each(ctx, rows.n_segments, functors::SumPlacesRow<T>{rows, alpha, d_y, sums, row_of});
  return {row_of, sums};
}

/// Y (+)= A X for such an X; then(i, lane) follows once row i of Y is complete.
template <Backend B, class Then = NothingRow>
void spmm_of_rows(Context<B>& ctx, CsrView<Real<B>> a, const FewRows<B>& x, const IndexList& rows, Into<Real<B>> y,
                  const Then& then = {}) {
  require_shape(y.view, a.rows, x.rows.cols, "gather_spmm_backward", "d_X");
  const functors::SpmmOfRowsRow<Real<B>> f{a, x.row_of, x.rows, y};
  if constexpr (requires { B::spmm_of_rows(ctx, f, rows, then); })
    B::spmm_of_rows(ctx, f, rows, then);
  else
    B::for_each(ctx, a.rows, functors::RowThenRow<functors::SpmmOfRowsRow<Real<B>>, Then>{f, then});
}

}  // namespace detail

/// y_p = (A X)_{ids[p]}, a row once for all its places: A m x n sparse, X n x w, ids below m. 2 w operations for each
/// entry of a distinct id's row. Throws ShapeError.
template <Backend B>
void gather_spmm(Context<B>& ctx, CsrView<Real<B>> a, In<B> x, const IndexList& rows, Out<B> y) {
  detail::gather_spmm(ctx, {a, x, {}, Real<B>{1}, rows, y});
}

/// d_X (+)= A^T D, row i of D the sum of d_Y's at the places of id i: entries of A^T in columns without a place
/// meet one row of zeros.
template <Backend B>
void gather_spmm_backward(Context<B>& ctx, const SparseOperator<Real<B>, typename B::Memory>& a, const IndexList& rows,
                          In<B> d_y, Into<Real<B>> d_x) {
  Scratch<B> scratch(ctx);
  detail::spmm_of_rows(ctx, a.transpose_view(), detail::sum_places(ctx, scratch, rows, a.rows(), d_y, Real<B>{1}), rows,
                       d_x);
}

}  // namespace rearm::REARM_ABI
