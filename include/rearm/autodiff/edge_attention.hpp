#pragma once
/// @file edge_attention.hpp
/// Weights of edges on tape variables; see ops.hpp. The pattern must outlive the step.

#include <rearm/autodiff/edge_values.hpp>
#include <rearm/ops/edge_attention.hpp>

namespace rearm::REARM_ABI {

/// Softmax over each row of V; values nonzeros x 1.
template <Backend B>
Var<B> edge_softmax(const SparsePattern<typename B::Memory>& at, Var<B> values) {
  return apply(
      {values}, at.nonzeros(), 1, [&](Context<B>& ctx, Out<B> p) { edge_softmax<B>(ctx, at, values.value(), p); },
      [at = &at](Context<B>& ctx, Var<B> p, auto d_values) {
        edge_softmax_backward<B>(ctx, *at, p.value(), p.grad(), d_values);
      });
}

/// The values of V diag(s), s cols x 1.
template <Backend B>
Var<B> scale_columns(const SparsePattern<typename B::Memory>& at, Var<B> values, Var<B> s) {
  return apply(
      {values, s}, at.nonzeros(), 1,
      [&](Context<B>& ctx, Out<B> y) { scale_columns<B>(ctx, at, values.value(), s.value(), y); },
      [=, at = &at](Context<B>& ctx, Var<B> y, auto d_values, auto d_s) {
        scale_columns_backward<B>(ctx, *at, values.value(), s.value(), y.grad(), d_values, d_s);
      });
}

}  // namespace rearm::REARM_ABI
