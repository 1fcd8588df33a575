#pragma once
/// @file tiny.hpp
/// A data set and settings small enough for finite differences, whatever the model.

#include <rearm/data/synthetic.hpp>
#include <rearm/models/all.hpp>
#include <rearm/run/settings.hpp>
#include <rearm/train/sampler.hpp>

#include <algorithm>
#include <string>
#include <type_traits>

namespace rearm::test {

/// f.operator()<M>() of every model in the list.
template <class F>
void for_each_model(const F& f) {
  for (const std::string& name : model_names()) with_model<AllModels>(name, f);
}

/// Synthetic data in which user 3 and item 5 have no train pair, and user 4 and item 6 no pair at all.
inline Dataset idle_data(Index n_users = 24, Index n_items = 20) {
  SyntheticSettings s;
  s.n_users = n_users;
  s.n_items = n_items;
  s.pairs_per_user = 6;
  s.latent = 4;
  s.widths = {5, 4};
  Dataset data = make_synthetic(s);
  const auto erase = [](Interactions& pairs, Id user, Id item) {
    Interactions kept;
    for (std::size_t e = 0; e < pairs.users.size(); ++e)
      if (pairs.users[e] != user && pairs.items[e] != item) {
        kept.users.push_back(pairs.users[e]);
        kept.items.push_back(pairs.items[e]);
      }
    pairs = kept;
  };
  erase(data.train, 3, 5);
  for (Interactions* split : {&data.train, &data.valid, &data.test}) erase(*split, 4, 6);
  return data;
}

/// A model's defaults made small by what its fields are called: an embedding_dim of 6, a hidden_dim of 8, at most 3
/// neighbors (k) but 20 among users, which few have, weights of terms that are there at least 0.1, so that a mistake in
/// a small term shows, and every part of the model in use.
template <template <class> class M>
Settings<ModelConfig<M>> tiny_settings() {
  Settings<ModelConfig<M>> settings;
  visit_fields(settings.model, [](const std::string& path, const Field& field, auto& value) {
    const std::string name = path.substr(path.rfind('.') + 1);
    using T = std::remove_reference_t<decltype(value)>;
    if constexpr (std::is_same_v<T, int>) {
      if (name == "embedding_dim") value = 6;
      if (name == "hidden_dim") value = 8;
      if (name == "k" || name.ends_with("_k")) value = name == "user_k" ? 20 : std::min(value, 3);
    } else if constexpr (std::is_same_v<T, bool>) {
      if (name.starts_with("use_")) value = true;
    } else if constexpr (std::is_same_v<T, double>) {
      if (name.ends_with("_weight") && value > 0 && field.limits.allow(0.1)) value = std::max(value, 0.1);
    }
  });
  settings.train.batch_size = 16;
  settings.train.learning_rate = 1e-2;
  settings.train.epochs = 3;
  settings.train.seed = 7;
  return settings;
}

/// The first batch of the first epoch.
inline Batch first_batch(const Dataset& data, const TrainConfig& c, int n_negatives) {
  PairSampler sampler(data.train, known_items(data, false), data.n_items, c.batch_size, c.seed, n_negatives);
  Batch batch;
  sampler.next(batch);
  return batch;
}

}  // namespace rearm::test
