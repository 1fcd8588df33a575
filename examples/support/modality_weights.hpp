#pragma once
/// @file modality_weights.hpp
/// The weights of modalities that fit a data set and the modalities chosen from it.

#include "settings.hpp"

#include <rearm/data/dataset.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace rearm::support {

/// Weights that were made for some modalities, for the chosen ones: each its own, scaled to sum 1 (all 0: equal, which
/// an empty list means). Nothing when a chosen modality is not among them.
inline std::optional<std::vector<double>> weights_for(const std::vector<double>& weights,
                                                      const std::vector<std::string>& made_for,
                                                      const std::vector<std::string>& chosen) {
  std::vector<double> out;
  double sum = 0;
  for (const std::string& name : chosen) {
    const auto place = std::ranges::find(made_for, name);
    if (place == made_for.end()) return std::nullopt;
    out.push_back(weights.at(static_cast<std::size_t>(place - made_for.begin())));
    sum += out.back();
  }
  if (out.size() == made_for.size()) return out;
  if (sum == 0) return std::vector<double>{};
  for (double& weight : out) weight /= sum;
  return out;
}

/// Fits the weights of modalities to the chosen ones of the data set: those the user gave (`set`) for all of the data
/// set's modalities, and a preset's, which are for image and text, are cut down by name. Where a preset's do not fit,
/// they become equal and the sentence that says so is returned; it is empty otherwise.
inline std::string fit_weights(Config& config, const SetFields& set, const std::vector<std::string>& all,
                               const std::vector<std::string>& chosen) {
  std::string note;
  const auto fit = [&](const char* field, std::vector<double>& weights) {
    const bool by_user = set.contains(field);
    const std::vector<std::string> made_for = by_user ? all : std::vector<std::string>{"image", "text"};
    if (weights.size() != made_for.size() || (by_user && weights.size() == chosen.size())) return;
    const auto fitting = weights_for(weights, made_for, chosen);
    if (!fitting)
      note =
          "the preset's weights are for image and text; this data set's modalities get equal weights "
          "(--user-modality-weights and --item-modality-weights set them)";
    weights = fitting.value_or(std::vector<double>{});
  };
  fit("user_modality_weights", config.user_modality_weights);
  fit("item_modality_weights", config.item_modality_weights);
  return note;
}

/// Keeps config.modalities (empty: all) in the data set and fits their weights; returns fit_weights' sentence.
/// Throws ConfigError for a modality that is not there.
inline std::string choose_modalities(Config& config, const SetFields& set, Dataset& data) {
  const auto names = [&] {
    std::vector<std::string> out;
    for (const Modality& m : data.modalities) out.push_back(m.name);
    return out;
  };
  const std::vector<std::string> all = names();
  if (!config.modalities.empty()) select_modalities(data, config.modalities);
  return fit_weights(config, set, all, names());
}

}  // namespace rearm::support
