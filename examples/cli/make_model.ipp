#pragma once
// The definition of make_model.
#include "make_model.hpp"

#include <rearm/backend/cpu/co_occurrence.hpp>
#include <rearm/backend/cpu/user_knn.hpp>

namespace rearm::cli {

template <template <class> class M>
AnyRecommender<CpuBackend<float>> make_model(Context<CpuBackend<float>>& ctx, const Dataset& data,
                                             const ModelConfig<M>& config, const GraphOptions& options) {
  return AnyRecommender<CpuBackend<float>>(std::make_shared<M<CpuBackend<float>>>(ctx, data, config, options));
}

}  // namespace rearm::cli
