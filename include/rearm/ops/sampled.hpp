#pragma once
/// @file sampled.hpp
/// Rows that meet candidates of their own: ids drawn at random, scores of those, sums over them, and attention among
/// them. No candidate's row is copied.

#include <rearm/functors/sampled.hpp>
#include <rearm/ops/elementwise.hpp>
#include <rearm/ops/gather.hpp>

#include <cstddef>
#include <span>

namespace rearm::REARM_ABI {

namespace detail {
template <class T>
void require_candidates(const MatrixView<T>& scores, Index rows, const IndexList& ids, const char* op) {
  if (scores.rows != rows || scores.size() != ids.size)
    throw ShapeError(
        message(op, ": ", ids.size, " ids and ", rows, " rows do not fit scores of ", shape_string(scores)));
}
}  // namespace detail

/// n_rows x (1 + n_drawn) ids, row by row: first[i], or i where `first` is empty, and then ids uniform in
/// [begin, begin + n), with replacement; grouped for a gather from `table_rows` rows. Throws ConfigError for n < 1.
template <Backend B>
IndexList draw_beside(Context<B>& ctx, Index n_rows, std::span<const Id> first, Index begin, Index n, Index n_drawn,
                      RandomKey key, Index table_rows) {
  if (n < 1) throw ConfigError(detail::message("draw_beside: n = ", n, " must be at least 1"));
  const Index size = n_rows * (n_drawn + 1);
  Id* const ids = ctx.arena().template allocate<Id>(size);
  B::for_each(ctx, n_rows,
              functors::DrawBesideRow{first.empty() ? nullptr : first.data(), begin, n, n_drawn, key, ids});
  return B::index_list(ctx, {ids, static_cast<std::size_t>(size)}, table_rows);
}

/// Rows shift + rows[i] of ids that are `width` wide, grouped like them.
template <Backend B>
IndexList gather_ids(Context<B>& ctx, const IndexList& from, Index width, std::span<const Id> rows, Index shift,
                     Index table_rows) {
  const auto n = static_cast<Index>(rows.size());
  Id* const ids = ctx.arena().template allocate<Id>(n * width);
  B::for_each(ctx, n, functors::GatherIdsRow{from.ids, width, shift, rows.data(), ids});
  return B::index_list(ctx, {ids, static_cast<std::size_t>(n * width)}, table_rows);
}

/// y_ij = u_i . x_{ids[i n + j]}: u b x d, x m x d, b n ids, y b x n. 2 b n d operations.
template <Backend B>
void sampled_scores(Context<B>& ctx, In<B> u, In<B> x, const IndexList& ids, Out<B> y) {
  detail::require_shape(x, x.rows, u.cols, "sampled_scores", "table");
  detail::require_candidates(y, u.rows, ids, "sampled_scores");
  B::for_each(ctx, u.rows, functors::SampledScoresRow<Real<B>>{u, x, ids.ids, y});
}
/// d_u_i (+)= sum_j d_y_ij x_{ids[i n + j]}; d_x_{ids[i n + j]} (+)= d_y_ij u_i, repeated ids in ascending position.
template <Backend B>
void sampled_scores_backward(Context<B>& ctx, In<B> u, In<B> x, const IndexList& ids, In<B> d_y, Into<Real<B>> d_u,
                             Into<Real<B>> d_x) {
  using T = Real<B>;
  detail::require_candidates(d_y, u.rows, ids, "sampled_scores_backward");
  if (d_u.wanted()) B::for_each(ctx, u.rows, functors::SampledSumRow<T>{d_y, x, ids.ids, d_u});
  if (!d_x.wanted()) return;
  if (d_x.write == Write::overwrite) fill(ctx, T{0}, d_x.view);
  B::for_each(ctx, ids.n_segments, functors::SampledSpreadRow<T>{u, d_y, ids, d_x.view});
}

/// y_i = sum_j w_ij x_{ids[i n + j]}: w b x n, x m x d, b n ids, y b x d. 2 b n d operations.
template <Backend B>
void sampled_sum(Context<B>& ctx, In<B> w, In<B> x, const IndexList& ids, Out<B> y) {
  detail::require_candidates(w, w.rows, ids, "sampled_sum");
  detail::require_shape(y, w.rows, x.cols, "sampled_sum", "output");
  B::for_each(ctx, w.rows, functors::SampledSumRow<Real<B>>{w, x, ids.ids, y});
}
/// d_w_ij (+)= d_y_i . x_{ids[i n + j]}; d_x_{ids[i n + j]} (+)= w_ij d_y_i, repeated ids in ascending position.
template <Backend B>
void sampled_sum_backward(Context<B>& ctx, In<B> w, In<B> x, const IndexList& ids, In<B> d_y, Into<Real<B>> d_w,
                          Into<Real<B>> d_x) {
  using T = Real<B>;
  detail::require_shape(d_y, w.rows, x.cols, "sampled_sum_backward", "d_y");
  if (d_w.wanted()) B::for_each(ctx, w.rows, functors::SampledScoresRow<T>{d_y, x, ids.ids, d_w});
  if (!d_x.wanted()) return;
  if (d_x.write == Write::overwrite) fill(ctx, T{0}, d_x.view);
  B::for_each(ctx, ids.n_segments, functors::SampledSpreadRow<T>{d_y, w, ids, d_x.view});
}

/// Attention inside blocks of m rows, of values that are one number each: y_br = sum_t a_rt z_bt, a_r the softmax over
/// t of q_{b m + r} . k_{b m + t}. q, k (b m) x c; z, y and lse b x m; lse holds each softmax's log-sum-exp. 4 b m^2 c
/// operations.
template <Backend B>
void block_attention(Context<B>& ctx, In<B> q, In<B> k, In<B> z, Out<B> lse, Out<B> y) {
  detail::require_shape(q, z.size(), q.cols, "block_attention", "queries");
  detail::require_shape(k, z.size(), q.cols, "block_attention", "keys");
  detail::require_shape(lse, z.rows, z.cols, "block_attention", "lse");
  detail::require_shape(y, z.rows, z.cols, "block_attention", "output");
  B::for_each(ctx, z.rows, functors::BlockAttentionRow<Real<B>>{q, k, z, lse, y});
}
/// Gradients from d_y and from what the forward pass wrote. d_q is written first, d_z last.
template <Backend B>
void block_attention_backward(Context<B>& ctx, In<B> q, In<B> k, In<B> z, Out<B> lse, Out<B> y, In<B> d_y,
                              Into<Real<B>> d_q, Into<Real<B>> d_k, Into<Real<B>> d_z) {
  detail::require_shape(d_y, z.rows, z.cols, "block_attention_backward", "d_y");
  B::for_each(ctx, z.rows, functors::BlockAttentionBackwardRow<Real<B>>{{q, k, z, lse, y}, d_y, d_q, d_k, d_z});
}

}  // namespace rearm::REARM_ABI
