#pragma once
/// @file choose_weights.hpp
/// Weights of modalities in REARM's homographs, and whether their features attend, from what graphs tell about
/// validation by themselves, without training.

#include <rearm/eval/neighbors.hpp>
#include <rearm/models/rearm/homographs.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <set>
#include <string>
#include <vector>

namespace rearm::REARM_ABI {

namespace detail {

/// What the homographs in use tell about the validation pairs, as twice the AUC of neighbors (eval/neighbors.hpp) minus
/// 1: 0 is nothing. Below 0 counts as 0.
struct HomographProbe {
  double users = 0, items = 0;
};
template <Backend B>
HomographProbe probe_homographs(Context<B>& ctx, const Dataset& data, const RearmConfig& config) {
  static_assert(B::Memory::host_accessible, "probe with a backend of the CPU: a device's graphs are not read here");
  const Adjacency seen = items_by_user(data.train, data.n_users);
  const Graphs<B> graphs = build_graphs<B>(ctx, data, config);
  const auto told = [](double auc) { return std::max(0.0, 2 * auc - 1); };
  const auto& users = graphs.user_homograph;
  const auto& items = graphs.item_homograph;
  HomographProbe probe;
  if (!users.empty()) probe.users = told(user_neighbor_auc(users.matrix(), data.n_items, seen, data.valid, ctx.seed()));
  if (!items.empty()) probe.items = told(item_neighbor_auc(items.matrix(), data.n_items, seen, data.valid, ctx.seed()));
  return probe;
}

}  // namespace detail

/// What each modality's similarity graph alone tells about the validation pairs, as twice the AUC of neighbors
/// (eval/neighbors.hpp) minus 1, in the data set's order: 0 is nothing. Below 0 counts as 0.
struct ModalityProbe {
  std::vector<double> users, items;
};

/// Builds each modality's graphs alone, of the homographs in use, and measures them. Takes about as long as building
/// the graphs; nothing is cached. Throws what `build_graphs` throws.
template <Backend B>
ModalityProbe probe_modalities(Context<B>& ctx, const Dataset& data, RearmConfig config) {
  ModalityProbe probe;
  config.use_sim = true;
  config.users.co_weight = config.items.co_weight = 0;
  for (std::size_t m = 0; m < data.modalities.size(); ++m) {
    std::vector<double> only(data.modalities.size(), 0.0);
    only[m] = 1;
    config.users.modality_weights = config.items.modality_weights = only;
    const auto [users, items] = detail::probe_homographs(ctx, data, config);
    probe.users.push_back(users);
    probe.items.push_back(items);
  }
  return probe;
}

namespace detail {

/// In steps of 1/20, which sum to 1 exactly enough; what rounding leaves goes to the largest.
inline std::vector<double> in_twentieths(const std::vector<double>& shares) {
  std::vector<int> parts;
  int left = 20;
  for (const double share : shares) left -= parts.emplace_back(static_cast<int>(std::lround(20 * share)));
  parts[static_cast<std::size_t>(std::ranges::max_element(shares) - shares.begin())] += left;
  std::vector<double> out(parts.size());
  std::ranges::transform(parts, out.begin(), [](int part) { return part / 20.0; });
  return out;
}

}  // namespace detail

/// Weights in proportion to the square of what each modality tells, in steps of 1/20. Where none tells anything: empty,
/// which means equal.
inline std::vector<double> weights_by(const std::vector<double>& told) {
  double squares = 0;
  for (const double x : told) squares += x * x;
  if (squares == 0) return {};
  std::vector<double> shares(told.size());
  std::ranges::transform(told, shares.begin(), [&](double x) { return x * x / squares; });
  return detail::in_twentieths(shares);
}

/// Sets the homographs' modality weights that the user has not given (`set` has full names,
/// "model.users.modality_weights") by the probe, and returns a sentence that says so; empty where there was nothing to
/// choose. The same data, settings and seed give the same weights for any number of threads.
template <Backend B>
std::string choose_weights(Context<B>& ctx, const Dataset& data, RearmConfig& config,
                           const std::set<std::string>& set = {}) {
  const bool users = config.users.use && !set.contains("model.users.modality_weights");
  const bool items = config.items.use && !set.contains("model.items.modality_weights");
  if (!config.use_sim || data.modalities.size() < 2 || data.valid.size() == 0 || !(users || items)) return {};
  RearmConfig asked = config;
  asked.users.use = users;
  asked.items.use = items;
  const ModalityProbe probe = probe_modalities(ctx, data, asked);
  std::string said;
  const auto choose = [&](HomographConfig& side, const char* name, const std::vector<double>& told) {
    side.modality_weights = weights_by(told);
    said += detail::message(said.empty() ? "" : "; ", name);
    for (std::size_t m = 0; m < told.size(); ++m)
      said += detail::message(
          m == 0 ? " " : ", ", data.modalities[m].name, ' ',
          side.modality_weights.empty() ? 1.0 / static_cast<double>(told.size()) : side.modality_weights[m]);
  };
  if (users) choose(config.users, "users", probe.users);
  if (items) choose(config.items, "items", probe.items);
  return "modality weights chosen by what each graph alone tells of validation: " + said;
}

/// Leaves attention out where the features are not worth its weight: with it they enter propagation eight times as long
/// as the ids (a layer norm of 64 columns), without it they share a row of length 1 with them. It stays where the
/// homographs of similarity alone tell as much about validation as those of co-occurrence alone, users and items
/// together. Sets `config.use_attention`, unless the user has (`set` has "model.use_attention"), and returns a sentence
/// that says so; empty where there was nothing to choose. Call it after `choose_weights`.
template <Backend B>
std::string choose_attention(Context<B>& ctx, const Dataset& data, RearmConfig& config,
                             const std::set<std::string>& set = {}) {
  if (config.variant != Variant::reference || !config.use_sim || !config.use_co || data.valid.size() == 0 ||
      !(config.users.use || config.items.use) || set.contains("model.use_attention"))
    return {};
  const auto told = [&](double co_weight) {
    RearmConfig alone = config;
    alone.users.co_weight = alone.items.co_weight = co_weight;
    const auto [users, items] = detail::probe_homographs(ctx, data, alone);
    return users + items;
  };
  const double features = told(0), co_occurrence = told(1);
  config.use_attention = features >= co_occurrence;
  return detail::message("features' neighbors tell ", features, " of validation and co-occurrence ", co_occurrence,
                         config.use_attention ? ": attention is used" : ": attention is left out");
}

}  // namespace rearm::REARM_ABI
