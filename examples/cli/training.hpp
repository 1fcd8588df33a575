#pragma once
/// @file training.hpp
/// A training run on whichever backend.

#include "model_entry.hpp"
#include "program.hpp"

#include <rearm/data/node_blocks.hpp>
#include <rearm/graph/options.hpp>
#include <rearm/run/folder.hpp>
#include <rearm/run/run_folder.hpp>
#include <rearm/train/trainer.hpp>

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace rearm::cli {

/// What the program has got ready. The data set must outlive it.
struct TrainingJob {
  const Dataset* data;
  SettingsRecord settings;
  TrainConfig train;
  GraphOptions graphs;
  std::filesystem::path out;
  std::shared_ptr<HeldFolder> held;  ///< `out`
  bool resume = false;
  TrainOptions options;
  bool* shares_rows = nullptr;  ///< where to say whether the model's rows are shared by ranks, before on_begin
};

struct TrainingOutcome {
  TrainResult result;
  double graph_seconds = 0;  ///< until the model, its graphs included, was there
};

/// make(ctx, data, graph options) gives the AnyRecommender.
template <Backend B, class Make>
TrainingOutcome run_training(Context<B>& ctx, TrainingJob job, const Make& make) {
  TrainingOutcome out;
  const auto start = std::chrono::steady_clock::now();
  const AnyRecommender<B> model = make(ctx, *job.data, job.graphs);
  out.graph_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (job.shares_rows != nullptr) *job.shares_rows = model.parameters().shared();
  RunFolder<B> folder(job.out, job.settings, origin_of(*job.data, job.settings.data, share_nodes(ctx, *job.data).users),
                      job.resume, job.held, ctx.ranks());
  bool begun = false;
  job.options.on_begin = [&, then = std::move(job.options.on_begin)] {
    if (then) then();
    begun = true;
  };
  Trainer<B> trainer(ctx, model, *job.data, job.train, std::move(job.options), &folder);
  try {
    out.result = trainer.run();
  } catch (const IoError& e) {
    if (!begun) throw;  // what the run was to go on with
    throw FailedLate(e.what());
  }
  return out;
}

/// With the settings that the entry holds.
TrainingOutcome run_training_on_cpu(Context<Cpu>& ctx, const ModelEntry& entry, TrainingJob job);
/// Without files of a run and checkpoints.
TrainResult train_in_memory(Context<Cpu>& ctx, const ModelEntry& entry, const Dataset& data, TrainOptions options,
                            const GraphOptions& graphs = {});

/// Settings of a GPU run that are not the model's.
struct CudaRun {
  int device = 0;
  bool tf32 = false;
  bool deterministic = true;
};

#if defined(REARM_CUDA_PROGRAM)
/// Number of devices that can be used.
int cuda_devices();
/// Throws ConfigError where there is no usable device.
void require_cuda(const CudaRun& run);
/// Builds the graphs there, too.
TrainingOutcome run_training_on_cuda(const CudaRun& run, TrainingJob job);
/// As train_in_memory; `name` becomes the device's.
TrainResult train_in_memory_on_cuda(const CudaRun& run, const ModelEntry& entry, const Dataset& data,
                                    TrainOptions options, const GraphOptions& graphs, std::string& name);
#else
inline int cuda_devices() { return 0; }
inline void require_cuda(const CudaRun&) {
  throw ConfigError(
      "backend = cuda: this program was built for the CPU alone; build with `cmake --preset cuda`, or use --backend "
      "cpu");
}
inline TrainingOutcome run_training_on_cuda(const CudaRun& run, TrainingJob) {
  require_cuda(run);
  return {};
}
inline TrainResult train_in_memory_on_cuda(const CudaRun& run, const ModelEntry&, const Dataset&, TrainOptions,
                                           const GraphOptions&, std::string&) {
  require_cuda(run);
  return {};
}
#endif

}  // namespace rearm::cli
