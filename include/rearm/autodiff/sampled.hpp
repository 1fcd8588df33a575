#pragma once
/// @file sampled.hpp
/// Rows with candidates of their own on tape variables; see ops.hpp.

#include <rearm/autodiff/apply.hpp>
#include <rearm/ops/sampled.hpp>

namespace rearm::REARM_ABI {

/// y_ij = u_i . x_{ids[i n + j]}, as many candidates for every row of u.
template <Backend B>
Var<B> sampled_scores(Var<B> u, Var<B> x, const IndexList& ids) {
  return apply(
      {u, x}, u.rows(), u.rows() == 0 ? 0 : ids.size / u.rows(),
      [&](Context<B>& ctx, Out<B> y) { sampled_scores(ctx, u.value(), x.value(), ids, y); },
      [=](Context<B>& ctx, Var<B> y, auto d_u, auto d_x) {
        sampled_scores_backward(ctx, u.value(), x.value(), ids, y.grad(), d_u, d_x);
      });
}

/// y_i = sum_j w_ij x_{ids[i n + j]}
template <Backend B>
Var<B> sampled_sum(Var<B> w, Var<B> x, const IndexList& ids) {
  return apply(
      {w, x}, w.rows(), x.cols(), [&](Context<B>& ctx, Out<B> y) { sampled_sum(ctx, w.value(), x.value(), ids, y); },
      [=](Context<B>& ctx, Var<B> y, auto d_w, auto d_x) {
        sampled_sum_backward(ctx, w.value(), x.value(), ids, y.grad(), d_w, d_x);
      });
}

template <Backend B>
Var<B> block_attention(Var<B> q, Var<B> k, Var<B> z) {
  return apply(
      {q, k, z}, z.rows(), z.cols(),
      [&](Context<B>& ctx, Out<B> y) {
        const Out<B> lse = ctx.arena().template matrix<Real<B>>(z.rows(), z.cols());
        block_attention(ctx, q.value(), k.value(), z.value(), lse, y);
        return lse;
      },
      [=](Context<B>& ctx, Var<B> y, Out<B> lse, auto d_q, auto d_k, auto d_z) {
        block_attention_backward(ctx, q.value(), k.value(), z.value(), lse, y.value(), y.grad(), d_q, d_k, d_z);
      });
}

}  // namespace rearm::REARM_ABI
