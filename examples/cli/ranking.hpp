#pragma once
/// @file ranking.hpp
/// Ranking and evaluation, compiled once for all commands.

#include "model_entry.hpp"

#include <rearm/backend/cpu/knn.hpp>
#include <rearm/backend/cpu/ranking.hpp>
#include <rearm/data/features.hpp>
#include <rearm/eval/candidates.hpp>
#include <rearm/eval/evaluator.hpp>
#include <rearm/run/new_items.hpp>
#include <rearm/run/new_users.hpp>

namespace rearm {
extern template TopK<float> recommend<cli::Cpu>(Context<cli::Cpu>&, ConstView<float>, std::span<const Id>,
                                                ConstView<float>, const Adjacency*, Index);
extern template MetricValues evaluate<cli::Cpu>(Context<cli::Cpu>&, ConstView<float>, ConstView<float>,
                                                const Adjacency*, const Adjacency&, std::span<const Index>,
                                                std::span<const Metric>);
extern template TopK<float> rank_candidates<cli::Cpu>(Context<cli::Cpu>&, ConstView<float>, std::span<const Id>,
                                                      ConstView<float>, const Adjacency*, const Adjacency&, Index);
extern template Matrix<float> represent_users<cli::Cpu>(Context<cli::Cpu>&, ConstView<float>, ConstView<float>,
                                                        const Adjacency&, const Adjacency&, double);
extern template std::vector<Id> add_items<cli::Cpu>(Context<cli::Cpu>&, SavedModel<cli::Cpu>&, const ItemFolder&, Index,
                                                    bool);
extern template NeighborTable cosine_knn<cli::Cpu, FeatureMatrix>(Context<cli::Cpu>&, const FeatureMatrix&, Index);
}  // namespace rearm
