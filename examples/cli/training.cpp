// Training on the CPU, compiled for speed and apart from what reads text.
#include "training.hpp"

#include "ranking.hpp"

#include <utility>

namespace rearm::cli {

TrainingOutcome run_training_on_cpu(Context<Cpu>& ctx, const ModelEntry& entry, TrainingJob job) {
  return run_training<Cpu>(ctx, std::move(job), [&](auto& c, const Dataset& data, const GraphOptions& graphs) {
    return entry.make(c, data, graphs);
  });
}

TrainResult train_in_memory(Context<Cpu>& ctx, const ModelEntry& entry, const Dataset& data, TrainOptions options,
                            const GraphOptions& graphs) {
  return Trainer<Cpu>(ctx, entry.make(ctx, data, graphs), data, entry.train(), std::move(options)).run();
}

}  // namespace rearm::cli
