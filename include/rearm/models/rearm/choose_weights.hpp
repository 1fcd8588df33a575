#pragma once
/// @file choose_weights.hpp
/// Weights of REARM's homographs from what their parts tell about validation by themselves, without training.

#include <rearm/eval/neighbors.hpp>
#include <rearm/models/rearm/homographs.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// What the parts of one homograph tell about the validation pairs, as twice the AUC of neighbors (eval/neighbors.hpp)
/// minus 1: 0 is nothing. Below 0 counts as 0.
struct PartsOfHomograph {
  double co_occurrence = 0;
  std::vector<double> modalities;  ///< in the data set's order
};
struct HomographProbe {
  PartsOfHomograph users, items;
};

/// Builds each part of both homographs alone and measures it. Takes about as long as building the graphs twice; nothing
/// is cached. Throws what `build_graphs` throws.
template <Backend B>
HomographProbe probe_homographs(Context<B>& ctx, const Dataset& data, RearmConfig config) {
  static_assert(B::Memory::host_accessible, "probe with a backend of the CPU: a device's graphs are not read here");
  const std::size_t n_modalities = data.modalities.size();
  const Adjacency seen = items_by_user(data.train, data.n_users);
  const auto measure = [&](double co_weight, const std::vector<double>& modality_weights) {
    config.use_co = config.use_sim = true;
    for (HomographConfig* side : {&config.users, &config.items}) {
      side->co_weight = co_weight;
      side->modality_weights = modality_weights;
    }
    const Graphs<B> graphs = build_graphs<B>(ctx, data, config);
    const auto told = [](double auc) { return std::max(0.0, 2 * auc - 1); };
    std::pair<double, double> out;
    if (!graphs.user_homograph.empty())
      out.first = told(user_neighbor_auc(graphs.user_homograph.matrix(), data.n_items, seen, data.valid, ctx.seed()));
    if (!graphs.item_homograph.empty())
      out.second = told(item_neighbor_auc(graphs.item_homograph.matrix(), data.n_items, seen, data.valid, ctx.seed()));
    return out;
  };
  HomographProbe probe;
  std::tie(probe.users.co_occurrence, probe.items.co_occurrence) = measure(1, {});
  for (std::size_t m = 0; m < n_modalities; ++m) {
    std::vector<double> only(n_modalities, 0.0);
    only[m] = 1;
    const auto [users, items] = measure(0, only);
    probe.users.modalities.push_back(users);
    probe.items.modalities.push_back(items);
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
  std::vector<double> out;
  for (const int part : parts) out.push_back(part / 20.0);
  return out;
}

}  // namespace detail

/// The weights that follow from what the parts tell: a modality's in proportion to the square of what it tells, the
/// co-occurrence's in proportion to what it tells beside the modalities' mean under their weights. In steps of 1/20.
/// Where nothing tells anything, equal.
inline HomographConfig weighted_by(const PartsOfHomograph& parts, HomographConfig config) {
  double squares = 0;
  for (const double told : parts.modalities) squares += told * told;
  std::vector<double> shares(parts.modalities.size(), 1.0 / static_cast<double>(parts.modalities.size()));
  double similarity = 0;
  for (std::size_t m = 0; m < shares.size(); ++m) {
    if (squares > 0) shares[m] = parts.modalities[m] * parts.modalities[m] / squares;
    similarity += shares[m] * parts.modalities[m];
  }
  config.modality_weights = squares > 0 ? detail::in_twentieths(shares) : std::vector<double>{};
  const double both = parts.co_occurrence + similarity;
  config.co_weight = both > 0 ? detail::in_twentieths({parts.co_occurrence / both, similarity / both})[0] : 0.5;
  return config;
}

/// Sets the homographs' weights that the user has not given (`set` has full names, "model.users.co_weight") to those of
/// the probe, and returns a sentence that says so; empty where there was nothing to choose. The same data, settings and
/// seed give the same weights for any number of threads.
template <Backend B>
std::string choose_weights(Context<B>& ctx, const Dataset& data, RearmConfig& config,
                           const std::set<std::string>& set = {}) {
  if (!config.use_co || !config.use_sim || data.valid.size() == 0) return {};
  const auto open = [&](const HomographConfig& side, const std::string& name) {
    return side.use && !(set.contains(name + ".co_weight") && set.contains(name + ".modality_weights"));
  };
  if (!open(config.users, "model.users") && !open(config.items, "model.items")) return {};
  const HomographProbe probe = probe_homographs(ctx, data, config);
  std::string said;
  const auto choose = [&](HomographConfig& side, const std::string& name, const PartsOfHomograph& parts) {
    if (!open(side, "model." + name)) return;
    const HomographConfig chosen = weighted_by(parts, side);
    if (!set.contains("model." + name + ".co_weight")) side.co_weight = chosen.co_weight;
    if (!set.contains("model." + name + ".modality_weights")) side.modality_weights = chosen.modality_weights;
    said += detail::message(said.empty() ? "" : "; ", name, " co-occurrence ", side.co_weight, ", of the rest");
    for (std::size_t m = 0; m < data.modalities.size(); ++m)
      said += detail::message(
          m == 0 ? " " : ", ", data.modalities[m].name, ' ',
          side.modality_weights.empty() ? 1.0 / static_cast<double>(data.modalities.size()) : side.modality_weights[m]);
  };
  choose(config.users, "users", probe.users);
  choose(config.items, "items", probe.items);
  return "weights chosen by what each graph alone tells of validation: " + said;
}

}  // namespace rearm::REARM_ABI
