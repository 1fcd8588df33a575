#pragma once
/// @file small_data.hpp
/// Made-up data sets and settings small enough for finite differences and whole training runs in a test.

#include "tests/support/backend.hpp"

#if defined(REARM_TEST_CUDA)
#include "tests/support/host_graphs.hpp"
#else
#include <rearm/rearm.hpp>
#endif

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

inline Config tiny_config() {
  Config c;
  c.embedding_dim = 6;
  c.rank = 2;
  c.n_ui_layers = 2;
  c.n_uu_layers = 1;
  c.n_ii_layers = 2;
  c.user_knn_k = 4;
  c.item_knn_k = 3;
  c.cl_weight = 0.2;
  c.ort_weight = 0.3;
  c.batch_size = 16;
  c.learning_rate = 1e-2;
  c.seed = 7;
  return c;
}

#if !defined(REARM_TEST_CUDA)
template <class T>
GraphSet<T> host_graphs(const Dataset& data, const Config& config) {
  Context<CpuBackend<T> > ctx(test_options());
  return build_graphs(ctx, data, config, {});
}
#endif
/// The graphs in the backend's memory.
template <Backend B>
Graphs<B> graphs_of(const Dataset& data, const Config& config) {
  return copy_graphs<B>(host_graphs<typename B::Scalar>(data, config));
}

/// The first batch of the first epoch.
inline Batch first_batch(const Dataset& data, const Config& c) {
  PairSampler sampler(data.train, known_items(data, true), data.n_items, c.batch_size, c.seed);
  sampler.begin_epoch(0);
  Batch batch;
  sampler.next(batch);
  return batch;
}

}  // namespace rearm::test
