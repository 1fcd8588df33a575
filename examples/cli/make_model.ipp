#pragma once
// The definitions of make_model and choose_settings.
#include "make_model.hpp"

#include <rearm/backend/cpu/co_occurrence.hpp>
#include <rearm/backend/cpu/user_knn.hpp>
#include <rearm/models/rearm/choose_weights.hpp>

namespace rearm::cli {

template <template <class> class M>
AnyRecommender<CpuBackend<float>> make_model(Context<CpuBackend<float>>& ctx, const Dataset& data,
                                             const ModelConfig<M>& config, const GraphOptions& options) {
  return AnyRecommender<CpuBackend<float>>(std::make_shared<M<CpuBackend<float>>>(ctx, data, config, options));
}

template <template <class> class M>
std::string choose_settings([[maybe_unused]] Context<CpuBackend<float>>& ctx, [[maybe_unused]] const Dataset& data,
                            [[maybe_unused]] ModelConfig<M>& config,
                            [[maybe_unused]] const std::set<std::string>& set) {
  if constexpr (requires { choose_weights(ctx, data, config, set); }) {
    const std::string weights = choose_weights(ctx, data, config, set),
                      attention = choose_attention(ctx, data, config, set);
    return weights.empty() || attention.empty() ? weights + attention : weights + '\n' + attention;
  }
  return {};
}

}  // namespace rearm::cli
