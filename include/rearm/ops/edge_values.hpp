#pragma once
/// @file edge_values.hpp
/// Sparse matrices whose values are computed: inner products of chosen pairs of rows, and products with such matrices.

#include <rearm/core/sparse_pattern.hpp>
#include <rearm/functors/edge_values.hpp>
#include <rearm/ops/spmm.hpp>

namespace rearm::REARM_ABI {

namespace detail {

template <class Memory, class T>
void require_values(const SparsePattern<Memory>& at, const MatrixView<T>& values, const char* op, const char* operand) {
  require_shape(values, at.nonzeros(), 1, op, operand);
  if (!values.contiguous()) throw ShapeError(message(op, ": ", operand, " must be contiguous"));
}

/// Y (+)= V^T X
template <Backend B>
void spmm_transposed(Context<B>& ctx, const SparsePattern<typename B::Memory>& at, In<B> values, In<B> x,
                     Into<Real<B>> y) {
  using T = Real<B>;
  Scratch<B> scratch(ctx);
  T* const permuted = scratch.template allocate<T>(at.nonzeros());
  const CsrView<T> transpose = at.transpose_with(static_cast<const T*>(permuted));
  B::for_each(ctx, transpose.rows,
              functors::PermuteValuesRow<T>{transpose.offsets, at.numbers(), values.data, permuted});
  spmm(ctx, transpose, x, y);
}

}  // namespace detail

/// v_e (+)= a_i . b_j for every entry e = (i, j) of `at`, m x n: a m x w, b n x w, v one number an entry, contiguous.
/// The sampled product A B^T. Throws ShapeError. 2 nnz w operations.
template <Backend B>
void sddmm(Context<B>& ctx, const SparsePattern<typename B::Memory>& at, In<B> a, In<B> b, Into<Real<B>> v) {
  using T = Real<B>;
  detail::require_shape(a, at.rows(), a.cols, "sddmm", "first operand");
  detail::require_shape(b, at.cols(), a.cols, "sddmm", "second operand");
  detail::require_values(at, v.view, "sddmm", "output");
  B::for_each(ctx, at.rows(),
              functors::SddmmRow<T>{at.with(static_cast<const T*>(nullptr)), a, b, v.view.data, v.write});
}

/// Y (+)= V X, V the m x n matrix with `values` at the entries of `at`, one an entry in stored order, contiguous; X
/// n x w, Y m x w. Throws ShapeError. 2 nnz w operations.
template <Backend B>
void spmm(Context<B>& ctx, const SparsePattern<typename B::Memory>& at, In<B> values, In<B> x, Into<Real<B>> y) {
  detail::require_values(at, values, "spmm", "values");
  spmm(ctx, at.with(values.data), x, y);
}

/// d_a_i (+)= sum over e = (i, j) of d_v_e b_j;  d_b_j (+)= sum over e = (i, j) of d_v_e a_i. d_a is written first.
template <Backend B>
void sddmm_backward(Context<B>& ctx, const SparsePattern<typename B::Memory>& at, In<B> a, In<B> b, In<B> d_v,
                    Into<Real<B>> d_a, Into<Real<B>> d_b) {
  detail::require_values(at, d_v, "sddmm_backward", "d_v");
  if (d_a.wanted()) spmm<B>(ctx, at, d_v, b, d_a);
  if (d_b.wanted()) detail::spmm_transposed<B>(ctx, at, d_v, a, d_b);
}

/// d_values_e (+)= d_y_i . x_j, e = (i, j);  d_X (+)= V^T d_Y. d_values is written first.
template <Backend B>
void spmm_backward(Context<B>& ctx, const SparsePattern<typename B::Memory>& at, In<B> values, In<B> x, In<B> d_y,
                   Into<Real<B>> d_values, Into<Real<B>> d_x) {
  detail::require_values(at, values, "spmm_backward", "values");
  if (d_values.wanted()) sddmm<B>(ctx, at, d_y, x, d_values);
  if (d_x.wanted()) detail::spmm_transposed<B>(ctx, at, values, d_y, d_x);
}

}  // namespace rearm::REARM_ABI
