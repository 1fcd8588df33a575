#pragma once
/// @file compare_backends_cpu.hpp
/// The CPU's part of compare_backends, for the host's own compiler: nvcc would compile it without vector types.

#include <rearm/models/rearm/rearm.hpp>
#include <rearm/train/trainer.hpp>

#include <vector>

rearm::GraphSet<float> build_on_cpu(const rearm::Dataset& data, const rearm::RearmSettings& settings, int threads);
std::vector<rearm::EpochReport> train_on_cpu(const rearm::Dataset& data, const rearm::RearmSettings& settings,
                                             const rearm::GraphSet<float>& graphs, int threads);
