// The GPU's part of train_amazon, in a translation unit of nvcc.
#include "training.hpp"

#include <rearm/cuda.cuh>

#include <chrono>
#include <string>
#include <utility>

namespace rearm::support {
namespace {

using B = CudaBackend<float>;

CudaOptions options(const CudaRun& run) { return {.tf32 = run.tf32, .deterministic = run.deterministic}; }

}  // namespace

int cuda_devices() { return rearm::cuda::device_count(); }

void require_cuda(const CudaRun& run) {
  try {
    const Context<B> ctx(options(run));
  } catch (const DeviceError& e) {
    throw ConfigError(std::string("backend = cuda: ") + e.what());
  }
}

TrainResult run_training_on_cuda(const CudaRun& run, TrainingJob job, const GraphOptions& graph_options,
                                 double& graph_seconds) {
  Context<B> ctx(options(run), job.config.seed);
  const auto start = std::chrono::steady_clock::now();
  Graphs<B> graphs = build_graphs<B>(ctx, *job.data, job.config, graph_options);
  graph_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return run_training<B>(ctx, std::move(job), std::move(graphs));
}

}  // namespace rearm::support
