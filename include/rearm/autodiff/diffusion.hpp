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
/// alone; `a` must outlive the step.
template <Backend B>
Var<B> gather_propagate_mean(const SparseOperator<Real<B>, typename B::Memory>& a, Var<B> x, int n_layers,
                             const IndexList& rows) {
  detail::require_columns(a, x);
  Tape<B>& tape = x.tape();
  Context<B>& ctx = tape.context();
  const Var<B> y = tape.make(rows.size, x.cols(), x.requires_grad());
  IndexList read = rows;  // as the columns of the transpose
  if (a.halo() != nullptr) {
    const IndexList own = own_list(ctx, x.layout(), rows);
    gather_propagate_mean(ctx, a.view(), x.value(), n_layers, rows, y.value(), a.halo(), own);
    if (y.requires_grad())
      read = detail::renumbered<B>(ctx, rows, [&](Index id) { return a.transpose_halo()->column_of(id); });
  } else {
    gather_propagate_mean(ctx, a.view(), x.value(), n_layers, rows, y.value());
  }
  tape.record(y, [=, t = &tape, matrix = &a] {
    gather_propagate_mean_backward(t->context(), matrix->transpose_view(), n_layers, read, y.grad(), t->slot(x),
                                   matrix->transpose_halo());
  });
  return y;
}

}  // namespace rearm::REARM_ABI
