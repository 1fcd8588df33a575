#pragma once
/// @file small_data.hpp
/// Made-up data sets and settings small enough for finite differences and whole training runs in a test.

#include <rearm/rearm.hpp>

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

/// The first batch of the first epoch.
inline Batch first_batch(const Dataset& data, const Config& c) {
  PairSampler sampler(data.train, known_items(data, true), data.n_items, c.batch_size, c.seed);
  sampler.begin_epoch(0);
  Batch batch;
  sampler.next(batch);
  return batch;
}

}  // namespace rearm::test
