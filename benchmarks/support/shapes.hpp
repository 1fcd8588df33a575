#pragma once
/// @file shapes.hpp
/// The data the benchmarks run on: a folder, or interactions and features generated at a published data set's size.

#include <rearm/rearm.hpp>

#include <functional>
#include <string>
#include <utility>

namespace rearm::bench {

struct Shape {
  std::string name;
  std::string preset;
  std::function<Dataset()> load;
};

/// Generated: `pairs_per_user` counts all three splits; degrees are long-tailed on the items' side.
inline Shape generated_shape(const std::string& name, const std::string& preset, Index n_users, Index n_items,
                             double pairs_per_user, std::vector<Index> widths = {4096, 384}) {
  return {name, preset, [=] {
            SyntheticSettings s;
            s.n_users = n_users;
            s.n_items = n_items;
            s.pairs_per_user = pairs_per_user;
            s.widths = widths;
            return make_synthetic(s);
          }};
}

/// The last shape asked for stays loaded: the benchmarks run shape by shape.
inline const Dataset& dataset(const Shape& shape) {
  static std::pair<std::string, Dataset> current;
  if (current.first != shape.name) {
    current = {};  // the last one's features go before the next one's come
    current = {shape.name, shape.load()};
  }
  return current.second;
}

inline Config settings(const Shape& shape, const Dataset& data, Variant variant, Features features) {
  Config c = preset(shape.preset);
  c.variant = variant;
  c.features = features;
  if (data.modalities.size() != 2) {
    c.user_modality_weights.clear();
    c.item_modality_weights.clear();
  }
  return c;
}

}  // namespace rearm::bench
