#pragma once
/// @file fuse.hpp
/// Weighted sums of sparse graphs: modalities into one similarity graph, co-occurrence and similarity into one graph.

#include <rearm/core/csr.hpp>
#include <rearm/graph/neighbors.hpp>

#include <span>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// A graph and its weight in a sum.
struct WeightedGraph {
  double weight = 0;
  const Csr<double>* graph = nullptr;  ///< may be null where weight is 0
};

/// G = sum over parts of weight * graph (REARM, section 4.2.3), ids ascending, an edge in several parts summed in the
/// order of the parts. Parts of weight zero are ignored. Throws ShapeError when a part is not n x n.
inline Csr<double> fuse(Index n, std::span<const WeightedGraph> parts) {
  Index entries = 0;
  for (const WeightedGraph& part : parts) {
    if (part.weight == 0) continue;
    if (part.graph->rows != n || part.graph->cols != n)
      throw ShapeError(detail::message("fuse: a graph is ", shape_string(part.graph->rows, part.graph->cols),
                                       " but must be ", shape_string(n, n)));
    entries += part.graph->nonzeros();
  }
  detail::CsrBuilder builder(n, entries);
  std::vector<std::pair<Id, double>> row;
  for (Index i = 0; i < n; ++i) {
    row.clear();
    for (const WeightedGraph& part : parts) {
      if (part.weight == 0) continue;
      const Csr<double>& g = *part.graph;
      for (Index e = g.offsets[i]; e < g.offsets[i + 1]; ++e) row.emplace_back(g.indices[e], part.weight * g.values[e]);
    }
    builder.add_row(row);
  }
  return std::move(builder).finish(n);
}

}  // namespace rearm::REARM_ABI
