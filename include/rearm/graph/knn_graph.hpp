#pragma once
/// @file knn_graph.hpp
/// The graph of the k most similar feature rows, all of one weight.

#include <rearm/core/context.hpp>
#include <rearm/data/features.hpp>
#include <rearm/graph/neighbors.hpp>

#include <algorithm>

namespace rearm::REARM_ABI {

/// n x n, directed: row i has 1 / (k + epsilon) at the k rows of greatest cosine, itself among them, which is
/// D^-1/2 K D^-1/2 of the 0/1 matrix K with D its row sums. The neighbors are the backend's (`cosine_knn`), which says
/// how ties and zero rows are taken. Throws ConfigError unless 1 <= k < n, DataError for NaN or infinity.
template <Backend B>
Csr<double> unweighted_knn_graph(Context<B>& ctx, const FeatureMatrix& features, Index k, double epsilon) {
  NeighborTable table = cosine_knn(ctx, features, k);
  std::fill_n(table.values.data(), table.values.size(), 1.0);
  return to_csr(table, 1.0 / (static_cast<double>(k) + epsilon));
}

}  // namespace rearm::REARM_ABI
