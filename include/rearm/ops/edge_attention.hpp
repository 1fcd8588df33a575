#pragma once
/// @file edge_attention.hpp
/// Weights of edges: softmax over those that a node receives, and factors that senders have. Row i of the pattern holds
/// the edges that node i receives, column j those that node j sends.

#include <rearm/functors/edge_attention.hpp>
#include <rearm/ops/edge_values.hpp>

namespace rearm::REARM_ABI {

namespace detail {
template <class T, class Memory>
const Index* row_offsets(const SparsePattern<Memory>& at) {
  return at.with(static_cast<const T*>(nullptr)).offsets;
}
}  // namespace detail

/// p_e = exp(v_e) / sum over e' in e's row of exp(v_e'); v and p one number an entry of `at`, contiguous. Throws
/// ShapeError. One exponential an entry.
template <Backend B>
void edge_softmax(Context<B>& ctx, const SparsePattern<typename B::Memory>& at, In<B> v, Out<B> p) {
  using T = Real<B>;
  detail::require_values(at, v, "edge_softmax", "values");
  detail::require_values(at, p, "edge_softmax", "output");
  B::for_each(ctx, at.rows(), functors::EdgeSoftmaxRow<T>{detail::row_offsets<T>(at), v.data, p.data});
}

/// d_v_e (+)= p_e (d_p_e - sum over e' in e's row of p_e' d_p_e')
template <Backend B>
void edge_softmax_backward(Context<B>& ctx, const SparsePattern<typename B::Memory>& at, In<B> p, In<B> d_p,
                           Into<Real<B>> d_v) {
  using T = Real<B>;
  detail::require_values(at, p, "edge_softmax_backward", "result");
  detail::require_values(at, d_p, "edge_softmax_backward", "d_p");
  if (!d_v.wanted()) return;
  detail::require_values(at, d_v.view, "edge_softmax_backward", "d_v");
  B::for_each(
      ctx, at.rows(),
      functors::EdgeSoftmaxBackwardRow<T>{detail::row_offsets<T>(at), p.data, d_p.data, d_v.view.data, d_v.write});
}

/// y_e (+)= v_e s_j for every entry e = (i, j) of `at`, m x n: the values of V diag(s). v and y one number an entry,
/// contiguous; s n x 1. Throws ShapeError.
template <Backend B>
void scale_columns(Context<B>& ctx, const SparsePattern<typename B::Memory>& at, In<B> v, In<B> s, Into<Real<B>> y) {
  detail::require_values(at, v, "scale_columns", "values");
  detail::require_shape(s, at.cols(), 1, "scale_columns", "factors");
  detail::require_values(at, y.view, "scale_columns", "output");
  B::for_each(ctx, at.rows(), functors::ScaleColumnsRow<Real<B>>{at.with(v.data), s, y.view.data, y.write});
}

/// d_v_e (+)= d_y_e s_j;  d_s_j (+)= sum over e in column j of d_y_e v_e. d_v is written first.
template <Backend B>
void scale_columns_backward(Context<B>& ctx, const SparsePattern<typename B::Memory>& at, In<B> v, In<B> s, In<B> d_y,
                            Into<Real<B>> d_v, Into<Real<B>> d_s) {
  using T = Real<B>;
  detail::require_values(at, v, "scale_columns_backward", "values");
  detail::require_values(at, d_y, "scale_columns_backward", "d_y");
  if (d_v.wanted()) scale_columns<B>(ctx, at, d_y, s, d_v);
  if (!d_s.wanted()) return;
  detail::require_shape(d_s.view, at.cols(), 1, "scale_columns_backward", "d_s");
  B::for_each(ctx, at.cols(),
              functors::EdgeColumnDotRow<T>{at.transpose_with(static_cast<const T*>(nullptr)).offsets, at.numbers(),
                                            d_y.data, v.data, d_s});
}

}  // namespace rearm::REARM_ABI
