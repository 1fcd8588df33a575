#pragma once
/// @file plan.hpp
/// What the building of graphs is made of on every backend: settings and their checks, the cache, the order of stages.

#include <rearm/core/random.hpp>
#include <rearm/data/dataset.hpp>
#include <rearm/graph/bipartite.hpp>
#include <rearm/graph/cache.hpp>
#include <rearm/graph/fuse.hpp>
#include <rearm/graph/graph_set.hpp>
#include <rearm/graph/neighbours.hpp>
#include <rearm/graph/normalize.hpp>
#include <rearm/model/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm {

struct GraphOptions {
  std::filesystem::path cache_dir;  ///< where built homographs are kept; empty: nowhere
  /// Called before each stage with its name and the finished share of the stages, and at the end with 1.
  std::function<void(std::string_view stage, double fraction)> progress;
  /// Most memory for the items' cosines, the CPU's fast way to the users' neighbours (`user_knn`).
  std::size_t gram_bytes = std::size_t{2} << 30;
};

namespace detail {

/// Streams of the padding's random numbers.
inline constexpr std::uint32_t user_padding_stream = 0x47520001;
inline constexpr std::uint32_t item_padding_stream = 0x47520002;

/// One homograph's share of the settings.
struct HomographSettings {
  std::string name;  ///< "user" or "item"
  bool enabled = true;
  Index n = 0;
  Index k = 0;
  double co_weight = 0;                  ///< 0 without co-occurrence, 1 without similarity
  std::vector<double> modality_weights;  ///< one a modality
  RandomKey key;
};

inline HomographSettings homograph_settings(const Config& config, const Dataset& data, bool user) {
  HomographSettings s;
  s.name = user ? "user" : "item";
  s.enabled = user ? config.use_uu : config.use_ii;
  s.n = user ? data.n_users : data.n_items;
  s.k = user ? config.user_knn_k : config.item_knn_k;
  s.co_weight = !config.use_co ? 0.0 : !config.use_sim ? 1.0 : user ? config.uu_co_weight : config.ii_co_weight;
  s.key = {config.seed, user ? user_padding_stream : item_padding_stream, 0};
  s.modality_weights = user ? config.user_modality_weights : config.item_modality_weights;
  const std::size_t n_modalities = data.modalities.size();
  require_weights(s.modality_weights, static_cast<int>(n_modalities), s.name + "_modality_weights");
  if (s.modality_weights.empty()) s.modality_weights.assign(n_modalities, 1.0 / static_cast<double>(n_modalities));
  if (!s.enabled) return s;
  require_knn_k(s.k, s.n, s.name + "_knn_k", s.name + "s");
  if (s.co_weight != 1 && n_modalities == 0)
    throw ConfigError(message("use_sim = true but data set '", data.name,
                              "' has no features; add <modality>_feat.npy or set use_sim = false"));
  return s;
}

/// What the loader has checked for a folder, checked again for a data set made in memory.
inline void require_consistent(const Dataset& data) {
  for (Index e = 0; e < data.train.size(); ++e) {
    const Id user = data.train.users[static_cast<std::size_t>(e)];
    const Id item = data.train.items[static_cast<std::size_t>(e)];
    if (user < 0 || user >= data.n_users || item < 0 || item >= data.n_items)
      throw DataError(message("train pair ", e, " is (", user, ", ", item, ") but there are ", data.n_users,
                              " users and ", data.n_items, " items, numbered from 0"));
  }
  for (const Modality& m : data.modalities) {
    const Index rows = m.features.rows();
    if (rows != data.n_items || (m.knn && m.knn->indices.rows() != rows))
      throw DataError(message("modality '", m.name, "': ", rows, " feature rows and ",
                              m.knn ? m.knn->indices.rows() : rows, " rows of neighbours but there are ", data.n_items,
                              " items; every item needs one row"));
  }
}

/// The stored neighbours that stand in for the items' kNN, or null.
inline const KnnTable* usable_knn(const Modality& m, const Config& config, bool user) {
  return !user && config.use_precomputed_knn && m.knn && m.knn->indices.cols() >= config.item_knn_k ? &*m.knn : nullptr;
}

inline NeighbourTable first_neighbours(const KnnTable& knn, Index k) {
  NeighbourTable table(knn.indices.rows(), k);
  for (Index i = 0; i < table.rows(); ++i) {
    table.counts[i] = k;
    for (Index j = 0; j < k; ++j) {
      table.ids(i, j) = knn.indices(i, j);
      table.values(i, j) = static_cast<double>(knn.cosines(i, j));
    }
  }
  return table;
}

/// Digest of everything a homograph depends on. `arithmetic` names the backend whose cosines round otherwise than the
/// CPU's; what holds no cosines it computed is shared with the CPU.
template <class T>
ContentHash::Digest homograph_key(const HomographSettings& s, const Dataset& data, const Adjacency& items_by_user,
                                  const Config& config, std::size_t gram_bytes, std::string_view arithmetic = {}) {
  const bool user = s.name == "user";
  ContentHash hash;
  hash.add(std::string_view("rearm homograph 1"));
  hash.add(std::string_view(s.name));
  hash.add(sizeof(T));
  hash.add(std::string_view(to_string(config.variant)));
  for (const Index x : {s.k, data.n_users, data.n_items}) hash.add(x);
  hash.add(s.co_weight);
  if (s.co_weight != 0) hash.add(s.key.seed);
  hash.add(std::span<const Index>(items_by_user.offsets));
  hash.add(std::span<const Id>(items_by_user.ids));
  for (std::size_t m = 0; m < data.modalities.size(); ++m) {
    if (s.co_weight == 1 || s.modality_weights[m] == 0) continue;
    hash.add(s.modality_weights[m]);
    hash.add(gram_bytes);
    if (const KnnTable* knn = usable_knn(data.modalities[m], config, user)) {
      const NeighbourTable table = first_neighbours(*knn, s.k);
      hash.add(std::span<const Id>(table.ids.data(), static_cast<std::size_t>(table.ids.size())));
      hash.add(std::span<const double>(table.values.data(), static_cast<std::size_t>(table.values.size())));
      continue;
    }
    if (!arithmetic.empty()) hash.add(arithmetic);
    const FeatureMatrix& features = data.modalities[m].features;
    Matrix<double> rows(std::min<Index>(features.rows(), 64), features.cols());
    for (Index i = 0; i < features.rows(); i += rows.rows()) {
      const Index n = std::min(rows.rows(), features.rows() - i);
      features.copy_rows(i, rows.view().row_block(0, n));
      hash.add(std::span<const double>(rows.data(), static_cast<std::size_t>(n * rows.cols())));
    }
  }
  return hash.digest();
}

/// S (users: interest graph, items: semantic graph): sum over modalities of weight * the cosine kNN graph of the
/// modality, itself weighted by `similarity_scale` (paper, section 4.2.2). A modality of weight 0 is not read.
/// neighbours(s, m) gives the table of modality m where none is stored.
template <class Neighbours>
Csr<double> similarity_graph(const Dataset& data, const Config& config, const HomographSettings& s,
                             const Neighbours& neighbours) {
  std::vector<Csr<double>> graphs(data.modalities.size());
  std::vector<WeightedGraph> parts;
  for (std::size_t m = 0; m < graphs.size(); ++m) {
    const double weight = s.modality_weights[m];
    if (weight == 0) continue;
    const KnnTable* knn = usable_knn(data.modalities[m], config, s.name == "user");
    const NeighbourTable table = knn != nullptr ? first_neighbours(*knn, s.k) : neighbours(s, m);
    graphs[m] = to_csr(table, similarity_scale(config.variant, s.k));
    parts.push_back({weight, &graphs[m]});
  }
  return fuse(s.n, parts);
}

/// G = w C + (1 - w) S (paper, section 4.2.3), n x n; a part of weight 0 is not built. co_occurrence(s) gives C.
template <class CoOccurrence, class Neighbours>
Csr<double> homograph(const Dataset& data, const Config& config, const HomographSettings& s,
                      const CoOccurrence& co_occurrence, const Neighbours& neighbours) {
  Csr<double> co, similarity;
  if (s.co_weight != 0) co = co_occurrence(s);
  if (s.co_weight != 1) similarity = similarity_graph(data, config, s, neighbours);
  const WeightedGraph parts[] = {{s.co_weight, &co}, {1 - s.co_weight, &similarity}};
  return fuse(s.n, parts);
}

/// A data set and settings that have been checked.
struct GraphPlan {
  HomographSettings user, item;
  Adjacency by_user, by_item;

  /// Throws as `build_graphs` does for settings and data.
  GraphPlan(const Dataset& data, const Config& config)
      : user(homograph_settings(config, data, true)), item(homograph_settings(config, data, false)) {
    require_consistent(data);
    by_user = items_by_user(data.train, data.n_users);
    by_item = users_by_item(data.train, data.n_items);
  }
};

/// The graphs of a plan, on the host: `arithmetic` as for `homograph_key`, the rest as for `homograph`. Throws IoError
/// for a cache folder that cannot be written, before anything is built.
template <class T, class CoOccurrence, class Neighbours>
GraphSet<T> build_planned(const GraphPlan& plan, const Dataset& data, const Config& config, const GraphOptions& options,
                          std::string_view arithmetic, const CoOccurrence& co_occurrence,
                          const Neighbours& neighbours) {
  const GraphCache cache(options.cache_dir);
  const auto report = [&](std::string_view stage, double fraction) {
    if (options.progress) options.progress(stage, fraction);
  };
  GraphSet<T> graphs;
  report("interaction graph", 0.0);
  graphs.interaction = SparseOperator<T>::symmetric(
      cast<T>(interaction_graph(plan.by_user, plan.by_item, degree_epsilon(config.variant))));
  double done = 1;
  for (const HomographSettings* s : {&plan.user, &plan.item}) {
    if (s->enabled) {
      report(s->name + " homograph", done / 3);
      std::optional<Csr<T>> graph;
      ContentHash::Digest key = {};
      if (!options.cache_dir.empty()) {
        key = homograph_key<T>(*s, data, plan.by_user, config, options.gram_bytes, arithmetic);
        graph = cache.load<T>(s->name, key);
      }
      if (!graph) {
        graph = cast<T>(homograph(data, config, *s, co_occurrence, neighbours));
        cache.store(s->name, key, *graph);
      }
      (s == &plan.user ? graphs.user_homograph : graphs.item_homograph) = SparseOperator<T>::general(std::move(*graph));
    }
    ++done;
  }
  report("graphs", 1.0);
  return graphs;
}

}  // namespace detail
}  // namespace rearm
