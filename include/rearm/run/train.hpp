#pragma once
/// @file train.hpp
/// Training in one call: a model, its data and settings, and a folder.

#include <rearm/data/node_blocks.hpp>
#include <rearm/run/run_folder.hpp>
#include <rearm/train/trainer.hpp>

#include <filesystem>
#include <utility>

namespace rearm::REARM_ABI {

/// Where a run is kept.
struct RunOptions {
  std::filesystem::path directory;  ///< for model.safetensors and checkpoint.safetensors; empty: weights stay in memory
  bool resume = false;              ///< continue from the checkpoint there, if there is one
};

/// Trains a model as Trainer does, of several ranks with those of the context; afterwards it holds the best weights.
/// Throws what Trainer and RunFolder throw.
template <Backend B, class M>
requires Recommender<M, B> TrainResult train(Context<B>& ctx, M& model, const Dataset& data,
                                             const Settings<typename M::Config>& settings, RunOptions run = {},
                                             TrainOptions options = {})
try {
  if (run.directory.empty()) return Trainer<B>(ctx, model, data, settings.train, std::move(options)).run();
  RunFolder<B> folder(run.directory, record_settings(M::name, settings),
                      origin_of(data, data_digests(data), share_nodes(ctx, data).users), run.resume, nullptr,
                      ctx.ranks());
  return Trainer<B>(ctx, model, data, settings.train, std::move(options), &folder).run();
} catch (const std::bad_alloc&) {
  detail::throw_out_of_memory("training");
}

}  // namespace rearm::REARM_ABI
