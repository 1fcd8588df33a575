#pragma once
/// @file small_data.hpp
/// Made-up data sets and settings small enough for finite differences and whole training runs in a test.

#include "tests/support/backend.hpp"

#if defined(REARM_TEST_CUDA)
#include "tests/support/host_graphs.hpp"
#else
#include <rearm/rearm.hpp>
#endif

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace rearm::test {

/// About 14 users and 12 items with the given modalities.
inline Dataset tiny_data(std::vector<std::string> names = {"image", "text"}) {
  SyntheticSettings s;
  s.n_users = 14;
  s.n_items = 12;
  s.pairs_per_user = 5;
  s.latent = 4;
  s.widths.assign(names.size(), 5);
  s.modality_names = std::move(names);
  return make_synthetic(s);
}

inline RearmSettings tiny_settings() {
  RearmSettings s = preset("baby");
  RearmConfig& c = s.model;
  c.embedding_dim = 6;
  c.rank = 2;
  c.n_ui_layers = 2;
  c.users.n_layers = 1;
  c.items.n_layers = 2;
  c.users.k = 4;
  c.items.k = 3;
  c.users.modality_weights = c.items.modality_weights = {};
  c.cl_weight = 0.2;
  c.ort_weight = 0.3;
  s.train.batch_size = 16;
  s.train.learning_rate = 1e-2;
  s.train.seed = 7;
  return s;
}

#if !defined(REARM_TEST_CUDA)
template <class T>
GraphSet<T> host_graphs(const Dataset& data, const RearmConfig& config, std::uint64_t seed) {
  Context<CpuBackend<T>> ctx(test_options(), seed);
  return build_graphs(ctx, data, config);
}
#endif
/// The graphs in the backend's memory; their padding has the seed of the run.
template <Backend B>
Graphs<B> graphs_of(const Dataset& data, const RearmSettings& s) {
  return copy_graphs<B>(host_graphs<Real<B>>(data, s.model, s.train.seed));
}

/// The first batch of the first epoch.
inline Batch first_batch(const Dataset& data, const TrainConfig& c) {
  PairSampler sampler(data.train, known_items(data, true), data.n_items, c.batch_size, c.seed);
  sampler.begin_epoch(0);
  Batch batch;
  sampler.next(batch);
  return batch;
}

}  // namespace rearm::test
