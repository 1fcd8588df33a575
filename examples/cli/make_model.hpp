#pragma once
/// @file make_model.hpp
/// A model of the list on the CPU, instantiated apart from what reads text (make_model.cpp.in).

#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/models/all.hpp>

#include <memory>
#include <set>
#include <string>

namespace rearm::cli {

template <template <class> class M>
AnyRecommender<CpuBackend<float>> make_model(Context<CpuBackend<float>>& ctx, const Dataset& data,
                                             const ModelConfig<M>& config, const GraphOptions& options);
/// Fits settings that the user did not give (`set`) to the data, for a model that can; returns what was chosen.
template <template <class> class M>
std::string choose_settings(Context<CpuBackend<float>>& ctx, const Dataset& data, ModelConfig<M>& config,
                            const std::set<std::string>& set);

}  // namespace rearm::cli
