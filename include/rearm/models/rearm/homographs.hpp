#pragma once
/// @file homographs.hpp
/// The three graphs REARM propagates over, built once from the train split and the raw features (paper, section 4.2).

#include <rearm/core/random.hpp>
#include <rearm/data/dataset.hpp>
#include <rearm/graph/bipartite.hpp>
#include <rearm/graph/cache.hpp>
#include <rearm/graph/co_occurrence.hpp>
#include <rearm/graph/fuse.hpp>
#include <rearm/graph/item_neighbors.hpp>
#include <rearm/graph/knn_graph.hpp>
#include <rearm/graph/neighbors.hpp>
#include <rearm/graph/options.hpp>
#include <rearm/models/rearm/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// What REARM propagates over; a homograph is empty() when it is ablated.
template <class T, class Memory = HostMemory>
struct GraphSet {
  using Operator = SparseOperator<T, Memory>;
  Operator interaction;     ///< (N+M) x (N+M), symmetric, users first
  Operator user_homograph;  ///< N x N, directed
  Operator item_homograph;  ///< M x M, directed
};

template <Backend B>
using Graphs = GraphSet<Real<B>, typename B::Memory>;

/// Graphs on the host, copied to another backend's memory.
template <Backend To>
Graphs<To> copy_graphs(const GraphSet<typename To::Scalar>& graphs) {
  using Operator = typename Graphs<To>::Operator;
  return {Operator::from_host(graphs.interaction), Operator::from_host(graphs.user_homograph),
          Operator::from_host(graphs.item_homograph)};
}

/// What a cosine is multiplied by: every row of a kNN graph has degree k, so D^-1/2 S D^-1/2 is cos / k (paper, eq. 2).
/// The authors' program adds 1e-7 to the degree.
inline double similarity_scale(Variant variant, Index k) {
  return 1.0 / (static_cast<double>(k) + (variant == Variant::reference ? 1e-7 : 0.0));
}
/// What is added to a degree of the interaction graph.
inline double degree_epsilon(Variant variant) { return variant == Variant::reference ? 1e-7 : 0.0; }

namespace detail {

enum class Side { users, items };

/// Streams of the padding's random numbers.
inline constexpr std::uint32_t user_padding_stream = 0x47520001;
inline constexpr std::uint32_t item_padding_stream = 0x47520002;

/// One homograph's share of the settings.
struct HomographSettings {
  Side side;
  std::string name;  ///< "user" or "item": of stages and cache files
  bool enabled;
  Index n;
  Index k;
  double co_weight;                      ///< 0 without co-occurrence, 1 without similarity
  std::vector<double> modality_weights;  ///< one a modality
  RandomKey key;

  HomographSettings(const RearmConfig& config, const Dataset& data, Side of, std::uint64_t seed) : side(of) {
    const bool user = side == Side::users;
    const HomographConfig& own = user ? config.users : config.items;
    name = user ? "user" : "item";
    enabled = own.use;
    n = user ? data.n_users : data.n_items;
    k = own.k;
    co_weight = !config.use_co ? 0.0 : !config.use_sim ? 1.0 : own.co_weight;
    key = {seed, user ? user_padding_stream : item_padding_stream, 0};
    modality_weights = own.modality_weights;
    const std::size_t n_modalities = data.modalities.size();
    require_weights(modality_weights, static_cast<int>(n_modalities), name + "s.modality_weights");
    if (modality_weights.empty()) modality_weights.assign(n_modalities, 1.0 / static_cast<double>(n_modalities));
    if (!enabled) return;
    require_knn_k(k, n, name + "s.k", name + "s");
    if (co_weight != 1 && n_modalities == 0)
      throw ConfigError(message("use_sim = true but data set '", data.name,
                                "' has no features; add <modality>_feat.npy or set use_sim = false"));
  }
};

/// The stored neighbors that stand in for the items' kNN, or null.
inline const KnnTable* usable_knn(const Modality& m, const RearmConfig& config, Side side) {
  const bool usable =
      side == Side::items && config.use_precomputed_knn && m.knn && m.knn->indices.cols() >= config.items.k;
  return usable ? &*m.knn : nullptr;
}

inline NeighborTable first_neighbors(const KnnTable& knn, Index k) {
  NeighborTable table(knn.indices.rows(), k);
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
                                  const RearmConfig& config, std::size_t gram_bytes, std::string_view arithmetic = {}) {
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
    if (const KnnTable* knn = usable_knn(data.modalities[m], config, s.side)) {
      const NeighborTable table = first_neighbors(*knn, s.k);
      hash.add(std::span<const Id>(table.ids.data(), static_cast<std::size_t>(table.ids.size())));
      hash.add(std::span<const double>(table.values.data(), static_cast<std::size_t>(table.values.size())));
      continue;
    }
    if (!arithmetic.empty()) hash.add(arithmetic);
    add_features(hash, data.modalities[m].features);
  }
  return hash.digest();
}

}  // namespace detail

/// All graphs of a data set under settings, in the backend's memory. Padding is drawn from the context's seed; the
/// result does not depend on the number of threads. With a cache folder, a homograph is read if it was
/// built before from the same pairs, features and settings, and written otherwise. Counting, cosines and the k nearest
/// are the backend's own (`co_occurrence_neighbors`, `user_knn`, `cosine_knn`); what costs O(pairs + n k) is done on
/// the host.
/// Throws, before anything is built: ConfigError for k >= nodes or weights that do not fit the modalities, DataError
/// for ids or feature rows that do not fit, IoError for a cache folder that cannot be written.
template <Backend B>
Graphs<B> build_graphs(Context<B>& ctx, const Dataset& data, const RearmConfig& config,
                       const GraphOptions& options = {}) {
  using T = Real<B>;
  using detail::HomographSettings, detail::Side;
  const HomographSettings sides[] = {{config, data, Side::users, ctx.seed()}, {config, data, Side::items, ctx.seed()}};
  const HomographSettings& of_items = sides[1];
  detail::require_consistent(data);
  const Adjacency by_user = items_by_user(data.train, data.n_users);
  const Adjacency by_item = users_by_item(data.train, data.n_items);
  const GraphCache cache(options.cache_dir);
  const auto report = [&](std::string_view stage, double fraction) {
    if (options.progress) options.progress(stage, fraction);
  };

  report("interaction graph", 0.0);
  GraphSet<T> graphs;
  graphs.interaction =
      SparseOperator<T>::symmetric(cast<T>(interaction_graph(by_user, by_item, degree_epsilon(config.variant))));

  // One a modality: filled by the users' graph where it can, used by the items'.
  std::vector<ItemNeighbors> item_neighbors(data.modalities.size());
  for (std::size_t m = 0; m < data.modalities.size(); ++m)
    if (of_items.enabled && of_items.co_weight != 1 && of_items.modality_weights[m] != 0 &&
        detail::usable_knn(data.modalities[m], config, Side::items) == nullptr)
      item_neighbors[m].k = of_items.k;
  const auto neighbors = [&](const HomographSettings& s, std::size_t m) -> NeighborTable {
    if (const KnnTable* knn = detail::usable_knn(data.modalities[m], config, s.side))
      return detail::first_neighbors(*knn, s.k);
    const FeatureMatrix& features = data.modalities[m].features;
    const std::shared_ptr<void> held = features.hold(options.gram_bytes);
    ItemNeighbors& items = item_neighbors[m];
    if (s.side == Side::users) return user_knn(ctx, by_user, features, s.k, options.gram_bytes, &items);
    return items.table ? std::move(*items.table) : cosine_knn(ctx, features, s.k);
  };
  // S = sum over modalities of weight times the modality's kNN graph (4.2.2); a modality of weight 0 is not read.
  const auto similarity = [&](const HomographSettings& s) {
    std::vector<Csr<double>> of_modality(data.modalities.size());
    std::vector<WeightedGraph> parts;
    for (std::size_t m = 0; m < of_modality.size(); ++m) {
      if (s.modality_weights[m] == 0) continue;
      of_modality[m] = to_csr(neighbors(s, m), similarity_scale(config.variant, s.k));
      parts.push_back({s.modality_weights[m], &of_modality[m]});
    }
    return fuse(s.n, parts);
  };
  // G = w C + (1 - w) S (4.2.3); a part of weight 0 is not built.
  const auto homograph = [&](const HomographSettings& s) {
    const bool user = s.side == Side::users;
    const Padding padding = config.variant == Variant::reference ? Padding::fill : Padding::none;
    Csr<double> co, similar;
    if (s.co_weight != 0)
      co = co_occurrence_graph(ctx, user ? by_user : by_item, user ? by_item : by_user, s.k, padding, s.key);
    if (s.co_weight != 1) similar = similarity(s);
    const WeightedGraph parts[] = {{s.co_weight, &co}, {1 - s.co_weight, &similar}};
    return cast<T>(fuse(s.n, parts));
  };
  double done = 1;
  for (const HomographSettings& s : sides) {
    if (s.enabled) {
      report(s.name + " homograph", done / 3);
      const auto key = [&] {
        return detail::homograph_key<T>(s, data, by_user, config, options.gram_bytes,
                                        detail::cosine_arithmetic<B>(options));
      };
      (s.side == Side::users ? graphs.user_homograph : graphs.item_homograph) =
          SparseOperator<T>::general(cache.keep<T>(s.name, key, [&] { return homograph(s); }));
    }
    ++done;
  }
  report("graphs", 1.0);
  return copy_graphs<B>(std::move(graphs));
}

}  // namespace rearm::REARM_ABI
