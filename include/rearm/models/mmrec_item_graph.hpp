#pragma once
/// @file mmrec_item_graph.hpp
/// The graph of items alike that FREEDOM and DRAGON share, as MMRec builds it.

#include <rearm/data/dataset.hpp>
#include <rearm/graph/fuse.hpp>
#include <rearm/graph/knn_graph.hpp>
#include <rearm/nn/raw_features.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace rearm::REARM_ABI::mmrec {

/// S = sum over the named modalities of weight times its unweighted kNN graph: `image_weight` for the image, where
/// there are others, which share the rest equally; else equal weights. A modality of weight 0 is not read.
template <Backend B>
Csr<double> item_graph(Context<B>& ctx, const Dataset& data, const std::vector<std::string>& names, int knn_k,
                       double image_weight, const GraphOptions& options = {}) {
  const std::vector<const Modality*> modalities = named_modalities(data, names);
  const auto n = static_cast<double>(modalities.size());
  const bool with_image =
      n > 1 && std::ranges::any_of(modalities, [](const Modality* m) { return m->name == "image"; });
  std::vector<Csr<double>> graphs(modalities.size());
  std::vector<WeightedGraph> parts;
  for (std::size_t m = 0; m < modalities.size(); ++m) {
    const double weight = !with_image                      ? 1.0 / n
                          : modalities[m]->name == "image" ? image_weight
                                                           : (1.0 - image_weight) / (n - 1.0);
    if (weight != 0) graphs[m] = unweighted_knn_graph(ctx, *modalities[m], knn_k, 1e-7, options);
    parts.push_back({weight, &graphs[m]});
  }
  return fuse(data.n_items, parts);
}

}  // namespace rearm::REARM_ABI::mmrec
