#include "ranking.hpp"

namespace rearm {
template TopK<float> recommend<cli::Cpu>(Context<cli::Cpu>&, ConstView<float>, std::span<const Id>, ConstView<float>,
                                         const Adjacency*, Index);
template MetricValues evaluate<cli::Cpu>(Context<cli::Cpu>&, ConstView<float>, ConstView<float>, const Adjacency*,
                                         const Adjacency&, std::span<const Index>, std::span<const Metric>);
template TopK<float> rank_candidates<cli::Cpu>(Context<cli::Cpu>&, ConstView<float>, std::span<const Id>,
                                               ConstView<float>, const Adjacency*, const Adjacency&, Index);
template Matrix<float> represent_users<cli::Cpu>(Context<cli::Cpu>&, ConstView<float>, ConstView<float>,
                                                 const Adjacency&, const Adjacency&, double);
template std::vector<Id> add_items<cli::Cpu>(Context<cli::Cpu>&, SavedModel<cli::Cpu>&, const ItemFolder&, Index, bool);
template NeighborTable cosine_knn<cli::Cpu, FeatureMatrix>(Context<cli::Cpu>&, const FeatureMatrix&, Index);
}  // namespace rearm
