// The GPU's part of `rearm train`, in a translation unit of nvcc.
#include "training.hpp"

#include <rearm/cuda.cuh>
#include <rearm/models/all.hpp>

#include <memory>
#include <string>
#include <utility>

namespace rearm::cli {
namespace {

using B = CudaBackend<float>;

CudaOptions options(const CudaRun& run) {
  cudaSetDevice(run.device);  // so that no other is opened; the context says what is wrong with it
  return {.device = run.device, .tf32 = run.tf32, .deterministic = run.deterministic};
}

/// The model that a record names, with the settings that it holds.
struct MakeModel {
  const SettingsRecord& record;
  Context<B>& ctx;
  const Dataset& data;
  const GraphOptions& graphs;

  template <template <class> class M>
  AnyRecommender<B> operator()() const {
    Settings<typename M<B>::Config> settings;
    update_settings(settings, record.settings);
    return AnyRecommender<B>(std::make_shared<M<B>>(ctx, data, settings.model, graphs));
  }
};
AnyRecommender<B> make_model(const SettingsRecord& record, Context<B>& ctx, const Dataset& data,
                             const GraphOptions& graphs) {
  return with_model<AllModels>(record.model, MakeModel{record, ctx, data, graphs});
}

}  // namespace

int cuda_devices() { return gpu::device_count(); }

void require_cuda(const CudaRun& run) {
  try {
    const Context<B> ctx(options(run));
  } catch (const Error& e) {
    throw ConfigError(std::string("backend = cuda: ") + e.what());
  }
}

TrainingOutcome run_training_on_cuda(const CudaRun& run, TrainingJob job) {
  Context<B> ctx(options(run), job.train.seed);
  const SettingsRecord record = job.settings;
  const auto make = [&](Context<B>& c, const Dataset& data, const GraphOptions& graphs) {
    return make_model(record, c, data, graphs);
  };
  return run_training<B>(ctx, std::move(job), make);
}

TrainResult train_in_memory_on_cuda(const CudaRun& run, const ModelEntry& entry, const Dataset& data,
                                    TrainOptions train_options, const GraphOptions& graphs, std::string& name) {
  Context<B> ctx(options(run), entry.train().seed);
  name = ctx.resources().device_name();
  const SettingsRecord record = record_settings(entry.name(), entry.settings());
  return Trainer<B>(ctx, make_model(record, ctx, data, graphs), data, entry.train(), std::move(train_options)).run();
}

}  // namespace rearm::cli
