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
/// alone; `a` must outlive the step. Where ranks share it, as split_gather.
template <Backend B>
Var<B> gather_propagate_mean(const SparseOperator<Real<B>, typename B::Memory>& a, Var<B> x, int n_layers,
                             const IndexList& rows, Index n_lists = 1) {
  detail::require_columns(a, x);
  Tape<B>& tape = x.tape();
  Context<B>& ctx = tape.context();
  if (const Halo* const halo = a.halo(); halo != nullptr) {
    const RowBlocks& positions = ctx.even_blocks(rows.size / n_lists);
    const SplitList list = split_list(ctx, x.layout(), rows, positions, n_lists);
    const Var<B> y = tape.make(rows.size, x.cols(), x.requires_grad(), tape.repeated_layout(positions, n_lists));
    gather_propagate_mean<B>(ctx, a.view(), *halo, x.value(), n_layers, list, y.value());
    if (!y.requires_grad()) return y;
    const SplitColumns columns = split_columns(ctx, list, rows, *a.transpose_halo());
    tape.record(y, [=, t = &tape, matrix = &a] {
      gather_propagate_mean_backward<B>(t->context(), matrix->transpose_view(), *matrix->transpose_halo(), n_layers,
                                        list, columns, y.grad(), t->slot(x));
    });
    return y;
  }
  const Var<B> y = tape.make(rows.size, x.cols(), x.requires_grad());
  gather_propagate_mean(ctx, a.view(), x.value(), n_layers, rows, y.value());
  tape.record(y, [=, t = &tape, matrix = &a] {
    gather_propagate_mean_backward(t->context(), matrix->transpose_view(), n_layers, rows, y.grad(), t->slot(x));
  });
  return y;
}

}  // namespace rearm::REARM_ABI
