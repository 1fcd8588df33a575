#pragma once
/// @file benchmarks.hpp
/// What each file registers for one shape.

#include <benchmarks/support/floor.hpp>
#include <benchmarks/support/shapes.hpp>

#include <filesystem>
#include <string>
#include <utility>

namespace rearm::bench {

void register_train_steps(const Shape& shape, Machine& machine);
/// A step and an epoch of every model of the list with its default settings and batches of 2,048, on the CPU. A step's
/// row leaves in `export_folder`, unless that is empty, what a peer needs to take the same ones
/// (peers/torch_models.py).
void register_models(const Shape& shape, Machine& machine, const std::filesystem::path& export_folder);
void register_graph_build(const Shape& shape, Machine& machine);
void register_evaluation(const Shape& shape, Machine& machine);
void register_operators(const Shape& shape, Machine& machine);
/// Training steps at 10^4 to 10^6 users, 10 pairs a user, 5 users for 2 items, frozen features 64 wide, d = 32, without
/// kNN.
void register_scaling(Machine& machine);

/// Registered with real time in milliseconds.
template <class F>
void add_benchmark(const std::string& name, F run) {
  benchmark::RegisterBenchmark(name.c_str(), std::move(run))->Unit(benchmark::kMillisecond)->UseRealTime();
}

}  // namespace rearm::bench
