// The GPU's part of train_amazon, in a translation unit of nvcc.
#include "training.hpp"

#include <rearm/cuda.cuh>

namespace rearm::support {
namespace {

using B = CudaBackend<float>;

CudaOptions options(const CudaRun& run) { return {.tf32 = run.tf32, .deterministic = run.deterministic}; }

}  // namespace

int cuda_devices() { return gpu::device_count(); }

void require_cuda(const CudaRun& run) { const Context<B> ctx(options(run)); }

TrainResult run_training_on_cuda(const CudaRun& run, TrainingJob job) {
  Context<B> ctx(options(run), job.config.seed);
  Graphs<B> graphs = copy_graphs<B>(job.graphs);
  job.graphs = {};
  return run_training<B>(ctx, std::move(job), std::move(graphs));
}

}  // namespace rearm::support
