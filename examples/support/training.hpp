#pragma once
/// @file training.hpp
/// A training run on whichever backend: the same for all of them.

#include "program.hpp"

#include <rearm/core/context.hpp>
#include <rearm/graph/plan.hpp>
#include <rearm/model/rearm.hpp>
#include <rearm/train/trainer.hpp>

#include <functional>
#include <string>
#include <utility>

namespace rearm::support {

/// What a program has got ready. The data set must outlive it.
struct TrainingJob {
  const Dataset* data;
  Config config;
  GraphSet<float> graphs;  ///< where they are built by somebody else than who trains
  TrainOptions options;
  std::function<void()> on_begin;  ///< called when all input is known to be good, before the first step
};

template <Backend B>
TrainResult run_training(Context<B>& ctx, TrainingJob job, Graphs<B> graphs) {
  Model<B> model(ctx, *job.data, job.config, std::move(graphs));
  if (job.on_begin) job.on_begin();
  Trainer<B, Model<B>> trainer(ctx, model, *job.data, job.config, std::move(job.options));
  return run_trainer(trainer);
}

/// Settings of a GPU run that are not the model's.
struct CudaRun {
  bool tf32 = false;
  bool deterministic = true;
};

#if defined(REARM_CUDA_PROGRAM)
/// Number of devices that can be used.
int cuda_devices();
/// Throws ConfigError where there is no usable device.
void require_cuda(const CudaRun& run);
/// Builds the graphs there, too, and says how long that took.
TrainResult run_training_on_cuda(const CudaRun& run, TrainingJob job, const GraphOptions& graphs,
                                 double& graph_seconds);
#else
inline int cuda_devices() { return 0; }
inline void require_cuda(const CudaRun&) {
  throw ConfigError(
      "backend = cuda: this program was built for the CPU alone; build with `cmake --preset cuda`, or use --backend "
      "cpu");
}
inline TrainResult run_training_on_cuda(const CudaRun& run, TrainingJob, const GraphOptions&, double&) {
  require_cuda(run);
  return {};
}
#endif

}  // namespace rearm::support
