#pragma once
/// @file diffusion.hpp
/// Diffusion over a graph on tape variables; see ops.hpp.

#include <rearm/autodiff/apply.hpp>
#include <rearm/autodiff/linear_ops.hpp>
#include <rearm/ops/diffusion.hpp>

namespace rearm::REARM_ABI {

/// What `edges` points to must outlive the step.
template <Backend B>
Var<B> diffuse(const Edges<Real<B>>& edges, Var<B> x, double alpha, double beta, int n_layers) {
  const bool same =
      edges.forward_halo == nullptr ? x.layout().empty() : detail::same_layout(edges.forward_halo->layout, x.layout());
  if (!same) throw ShapeError("diffuse: ranks share the rows of the matrix in another way than the graph's nodes");
  return apply_rows(
      {x}, x.rows(), x.cols(),
      [&](Context<B>& ctx, Out<B> y) {
        diffuse<B>(ctx, edges.forward, x.value(), alpha, beta, n_layers, y, edges.forward_halo);
      },
      [=, transpose = edges.backward, halo = edges.backward_halo](Context<B>& ctx, Var<B> y, auto d_x) {
        diffuse<B>(ctx, transpose, y.grad(), alpha, beta, n_layers, d_x, halo);
      });
}

/// Mean of X, A X, ..., A^L X (LightGCN, REARM eq. 10-11); `a` must outlive the step.
template <Backend B>
Var<B> propagate_mean(const SparseOperator<Real<B>, typename B::Memory>& a, Var<B> x, int n_layers) {
  return diffuse(all_edges(a), x, 1, 1, n_layers);
}

/// gather(propagate_mean(a, x, n_layers), rows), which computes the last layer, and the first backward, for these rows
/// alone, unless ranks share them; `a` must outlive the step.
template <Backend B>
Var<B> gather_propagate_mean(const SparseOperator<Real<B>, typename B::Memory>& a, Var<B> x, int n_layers,
                             const IndexList& rows) {
  if (a.halo() != nullptr) return gather(propagate_mean(a, x, n_layers), rows);
  return apply(
      {x}, rows.size, x.cols(),
      [&](Context<B>& ctx, Out<B> y) { gather_propagate_mean(ctx, a.view(), x.value(), n_layers, rows, y); },
      [=, matrix = &a](Context<B>& ctx, Var<B> y, auto d_x) {
        gather_propagate_mean_backward(ctx, matrix->transpose_view(), n_layers, rows, y.grad(), d_x);
      });
}

}  // namespace rearm::REARM_ABI
