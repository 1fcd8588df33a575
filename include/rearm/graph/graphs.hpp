#pragma once
/// @file graphs.hpp
/// The three graphs REARM propagates over, built once from the train split and the raw features.

#include <rearm/graph/co_occurrence.hpp>
#include <rearm/graph/plan.hpp>
#include <rearm/graph/user_knn.hpp>

#include <cstddef>
#include <utility>
#include <vector>

namespace rearm {

/// All graphs of a data set under a configuration. Padding is drawn from config.seed; the result does not depend on
/// the number of threads. With a cache folder a homograph is read where it was built before from the same pairs,
/// features and settings, and written where not.
/// Throws, before anything is built: ConfigError for k >= nodes or weights that do not fit the modalities, DataError
/// for ids or feature rows that do not fit, IoError for a cache folder that cannot be written.
template <HostBackend B>
Graphs<B> build_graphs(Context<B>& ctx, const Dataset& data, const Config& config, const GraphOptions& options = {}) {
  const detail::GraphPlan plan(data, config);
  // One a modality: filled by the users' graph where it can, used by the items'.
  std::vector<ItemNeighbours> item_neighbours(data.modalities.size());
  const detail::HomographSettings& of_items = plan.item;
  for (std::size_t m = 0; m < data.modalities.size(); ++m)
    if (of_items.enabled && of_items.co_weight != 1 && of_items.modality_weights[m] != 0 &&
        detail::usable_knn(data.modalities[m], config, false) == nullptr)
      item_neighbours[m].k = of_items.k;
  const auto co_occurrence = [&](const detail::HomographSettings& s) {
    const bool user = s.name == "user";
    return co_occurrence_graph(ctx, user ? plan.by_user : plan.by_item, user ? plan.by_item : plan.by_user, s.k,
                               config.variant, s.key);
  };
  const auto neighbours = [&](const detail::HomographSettings& s, std::size_t m) -> NeighbourTable {
    const FeatureMatrix& features = data.modalities[m].features;
    ItemNeighbours& items = item_neighbours[m];
    if (s.name == "user") return user_knn(ctx, plan.by_user, features, s.k, options.gram_bytes, &items);
    return items.table ? std::move(*items.table) : cosine_knn(ctx, features, s.k);
  };
  return detail::build_planned<typename B::Scalar>(plan, data, config, options, {}, co_occurrence, neighbours);
}

}  // namespace rearm
