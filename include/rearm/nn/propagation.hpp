#pragma once
/// @file propagation.hpp
/// Message passing on a graph. LightGCN (eq. 10-11) is the operator propagate_mean.

#include <rearm/autodiff/ops.hpp>

namespace rearm::REARM_ABI {

/// h <- G h, n_layers times; the last layer alone. An empty G (ablated) leaves h as it is.
template <Backend B>
Var<B> propagate(const SparseOperator<Real<B>, typename B::Memory>& g, Var<B> h, int n_layers) {
  if (g.empty()) return h;
  for (int layer = 0; layer < n_layers; ++layer) h = spmm(g, h);
  return h;
}

/// Rows of `propagate`, the last layer for these alone.
template <Backend B>
Var<B> gather_propagate(const SparseOperator<Real<B>, typename B::Memory>& g, Var<B> h, int n_layers,
                        const IndexList& rows) {
  if (g.empty() || n_layers == 0) return gather(h, rows);
  return gather_spmm(g, propagate(g, h, n_layers - 1), rows);
}

/// `propagate`, each row of the result divided by max(its length, eps).
template <Backend B>
Var<B> propagate_unit(const SparseOperator<Real<B>, typename B::Memory>& g, Var<B> h, int n_layers, Real<B> eps) {
  if (g.empty() || n_layers == 0) return row_normalize(h, eps);
  return spmm_row_normalize(g, propagate(g, h, n_layers - 1), eps);
}

}  // namespace rearm::REARM_ABI
