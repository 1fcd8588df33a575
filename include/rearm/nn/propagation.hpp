#pragma once
/// @file propagation.hpp
/// Message passing on a homograph (paper eq. 4). LightGCN (eq. 10-11) is the operator propagate_mean.

#include <rearm/autodiff/ops.hpp>

namespace rearm {

/// h <- G h, n_layers times; the last layer alone. An empty G (ablated) leaves h as it is.
template <Backend B>
Var<B> propagate(const SparseOperator<typename B::Scalar, typename B::Memory>& g, Var<B> h, int n_layers) {
  if (g.empty()) return h;
  for (int layer = 0; layer < n_layers; ++layer) h = spmm(g, h);
  return h;
}

}  // namespace rearm
