#include "compare_backends_cpu.hpp"

#include <rearm/rearm.hpp>

using B = rearm::CpuBackend<float>;

rearm::GraphSet<float> build_on_cpu(const rearm::Dataset& data, const rearm::RearmSettings& settings, int threads) {
  rearm::Context<B> ctx({.threads = threads}, settings.train.seed);
  return rearm::build_graphs<B>(ctx, data, settings.model);
}

std::vector<rearm::EpochReport> train_on_cpu(const rearm::Dataset& data, const rearm::RearmSettings& settings,
                                             const rearm::GraphSet<float>& graphs, int threads) {
  rearm::Context<B> ctx({.threads = threads}, settings.train.seed);
  rearm::Model<B> model(ctx, data, settings.model, rearm::copy_graphs<B>(graphs));
  std::vector<rearm::EpochReport> epochs;
  rearm::TrainOptions options;
  options.on_epoch = [&](const rearm::EpochReport& r) { epochs.push_back(r); };
  rearm::train(ctx, model, data, settings, {}, options);
  return epochs;
}
