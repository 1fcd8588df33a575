#pragma once
/// @file host_training.hpp
/// The CPU's part of a program that nvcc compiles, in a translation unit of the host's own compiler.

#include "training.hpp"

namespace rearm::support {

/// All graphs; threads as in CpuOptions.
GraphSet<float> build_host_graphs(const Dataset& data, const Config& config, int threads);
TrainResult run_training_on_cpu(int threads, TrainingJob job);

}  // namespace rearm::support
