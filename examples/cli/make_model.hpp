#pragma once
/// @file make_model.hpp
/// A model of the list on the CPU, instantiated apart from what reads text (make_model.cpp.in).

#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/models/all.hpp>

#include <memory>

namespace rearm::cli {

template <template <class> class M>
AnyRecommender<CpuBackend<float>> make_model(Context<CpuBackend<float>>& ctx, const Dataset& data,
                                             const ModelConfig<M>& config, const GraphOptions& options);

}  // namespace rearm::cli
