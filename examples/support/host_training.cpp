#include "host_training.hpp"

#include <rearm/rearm.hpp>

namespace rearm::support {

using B = CpuBackend<float>;

GraphSet<float> build_host_graphs(const Dataset& data, const Config& config, int threads) {
  Context<B> ctx({.threads = threads}, config.seed);
  return build_graphs<B>(ctx, data, config);
}

TrainResult run_training_on_cpu(int threads, TrainingJob job) {
  Context<B> ctx({.threads = threads}, job.config.seed);
  Graphs<B> graphs = std::move(job.graphs);
  return run_training<B>(ctx, std::move(job), std::move(graphs));
}

}  // namespace rearm::support
