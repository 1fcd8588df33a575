#pragma once
/// @file shapes.hpp
/// The data the benchmarks run on: a folder, or interactions and features generated at a published data set's size.

#include <rearm/data/synthetic.hpp>
#include <rearm/models/rearm/config.hpp>

#include <unistd.h>

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace rearm::bench {

struct Shape {
  std::string name;
  std::string preset;
  std::function<Dataset()> load;
  std::string features = {};  ///< tells shapes of one name apart: their widths, if generated
};

/// The same features, read from a file as a user's are.
inline FeatureMatrix from_a_file(FeatureMatrix features) {
  Matrix<float> copy(features.rows(), features.cols());
  features.copy_rows(0, copy.view());
  const auto file = std::filesystem::temp_directory_path() / ("rearm_benchmark_" + std::to_string(::getpid()) + ".npy");
  write_npy(file, std::span<const float>(copy.data(), static_cast<std::size_t>(copy.size())),
            {copy.rows(), copy.cols()});
  FeatureMatrix from_file = FeatureMatrix::open(file);
  std::filesystem::remove(file);  // the open file stays
  return from_file;
}

/// Generated: `pairs_per_user` counts all three splits; degrees are long-tailed on the items' side.
inline Shape generated_shape(const std::string& name, const std::string& preset, Index n_users, Index n_items,
                             double pairs_per_user, std::vector<Index> widths = {4096, 384}) {
  std::string features;
  for (const Index width : widths) features += ' ' + std::to_string(width);
  const auto load = [=] {
    SyntheticSettings s;
    s.n_users = n_users;
    s.n_items = n_items;
    s.pairs_per_user = pairs_per_user;
    s.widths = widths;
    Dataset data = make_synthetic(s);
    for (Modality& m : data.modalities) m.features = from_a_file(std::move(m.features));
    return data;
  };
  return {name, preset, load, features};
}

/// The last shape asked for stays loaded: the benchmarks run shape by shape.
inline const Dataset& dataset(const Shape& shape) {
  static std::pair<std::string, Dataset> current;
  const std::string key = shape.name + shape.features;
  if (current.first != key) {
    current = {};  // the last one's features go before the next one's come
    current = {key, shape.load()};
  }
  return current.second;
}

inline RearmSettings settings(const Shape& shape, const Dataset& data, Variant variant, Features features) {
  RearmSettings s = preset(shape.preset);
  s.model.variant = variant;
  s.model.features.kind = features;
  if (data.modalities.size() != 2) {
    s.model.users.modality_weights.clear();
    s.model.items.modality_weights.clear();
  }
  return s;
}

}  // namespace rearm::bench
