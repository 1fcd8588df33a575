#pragma once
/// @file feature_config.hpp
/// How a model uses the raw features of items.

#include <rearm/core/fields.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// `trainable`: tables initialized with the features and trained. `frozen`: fixed. `residual`: fixed, plus a free
/// embedding of its own for every node and modality, added after the projection.
enum class Features { trainable, frozen, residual };
template <>
struct EnumNames<Features> {
  static constexpr std::pair<Features, std::string_view> values[] = {
      {Features::trainable, "trainable"}, {Features::frozen, "frozen"}, {Features::residual, "residual"}};
};

/// A part of the settings of every model that reads features; its fields stand among the model's own.
struct FeatureConfig {
  Features kind = Features::trainable;
  std::vector<std::string> modalities;
  bool normalize = false;
  double residual_learning_rate_scale = 1;
  bool bfloat16_tables = false;

  friend bool operator==(const FeatureConfig&, const FeatureConfig&) = default;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"features", "trainable, frozen, or residual (frozen plus a trainable embedding)"}, c.kind);
    f(Field{"modalities", "use only these modalities; empty for all of the data set"}, c.modalities);
    f(Field{"normalize_features", "scale each item's raw features to length 1, modality by modality"}, c.normalize);
    f(Field{"residual_learning_rate_scale", "factor on the learning rate of the residual embeddings", above(0)},
      c.residual_learning_rate_scale);
    f(Field{"bfloat16_tables", "store raw features in bfloat16; trainable ones with stochastic rounding"},
      c.bfloat16_tables);
  }
};

}  // namespace rearm::REARM_ABI
