#pragma once
/// @file neighbors.hpp
/// What a graph of neighbors tells about held-out items by itself, before any model is trained on it.

#include <rearm/core/csr.hpp>
#include <rearm/core/random.hpp>
#include <rearm/data/interactions.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace rearm::REARM_ABI {

namespace detail {

inline constexpr std::uint32_t neighbor_auc_stream = 0x41554301;

/// score(user, add) calls add(item, value) for each addend of the user's scores; all others are 0.
template <class Score>
double auc_of_scores(Index n_items, const Adjacency& seen, const Interactions& held_out, std::uint64_t seed,
                     const Score& score) {
  constexpr int n_draws = 20;
  const Adjacency relevant = items_by_user(held_out, seen.rows());
  const RandomKey key{seed, neighbor_auc_stream, 0};
  std::vector<double> sums(static_cast<std::size_t>(n_items), 0.0);
  std::vector<Id> touched;
  std::uint64_t draw = 0;
  double won = 0;
  Index n = 0;
  for (Index u = 0; u < relevant.rows(); ++u) {
    const Id user = static_cast<Id>(u);
    if (relevant.degree(u) == 0) continue;
    score(user, [&](Id item, double value) {
      sums[static_cast<std::size_t>(item)] += value;
      touched.push_back(item);
    });
    for (const Id item : relevant.row(u))
      for (int i = 0; i < n_draws; ++i) {
        const Id other = held_out.items[key.below(draw++, static_cast<std::uint32_t>(held_out.items.size()))];
        if (seen.contains(u, other) || relevant.contains(u, other)) continue;
        const double a = sums[static_cast<std::size_t>(item)], b = sums[static_cast<std::size_t>(other)];
        won += a > b ? 1.0 : a < b ? 0.0 : 0.5;
        ++n;
      }
    for (const Id item : touched) sums[static_cast<std::size_t>(item)] = 0;
    touched.clear();
  }
  return n > 0 ? won / static_cast<double>(n) : 0.5;
}

inline void require_graph_size(Index rows, Index cols, Index n, const char* what) {
  if (rows != n || cols != n)
    throw ShapeError(
        message("AUC of neighbors: the graph is ", shape_string(rows, cols), " but there are ", n, " ", what));
}

}  // namespace detail

/// How well the items' neighbors alone tell a user's held-out items from those of others. With S the graph of the items
/// and I_u the user's items in `seen`, the score of item i is the sum of S_ij over j in I_u (Deshpande & Karypis, TOIS
/// 2004). Returns the probability that the item of a pair in `held_out` has a higher score than the item of another
/// pair, equal scores counting half: 0.5 tells nothing, and neither does popularity, by which those others are drawn.
/// 20 draws a pair, a function of `seed`; items that the user has are no others. 0.5 where nothing can be compared.
/// Throws ShapeError for a graph that does not fit. Ids must be in range. Cost: pairs x neighbors.
template <class T>
double item_neighbor_auc(const Csr<T>& graph, Index n_items, const Adjacency& seen, const Interactions& held_out,
                         std::uint64_t seed) {
  detail::require_graph_size(graph.rows, graph.cols, n_items, "items");
  const Csr<T> of_neighbor = transpose(graph);
  return detail::auc_of_scores(n_items, seen, held_out, seed, [&](Id user, const auto& add) {
    for (const Id j : seen.row(user))
      for (Index e = of_neighbor.offsets[j]; e < of_neighbor.offsets[j + 1]; ++e)
        add(of_neighbor.indices[e], static_cast<double>(of_neighbor.values[e]));
  });
}

/// The same of the users' neighbors: with S the graph of the users, the score of an item is the sum of S_uv over the
/// users v that have it in `seen`.
template <class T>
double user_neighbor_auc(const Csr<T>& graph, Index n_items, const Adjacency& seen, const Interactions& held_out,
                         std::uint64_t seed) {
  detail::require_graph_size(graph.rows, graph.cols, seen.rows(), "users");
  return detail::auc_of_scores(n_items, seen, held_out, seed, [&](Id user, const auto& add) {
    for (Index e = graph.offsets[user]; e < graph.offsets[user + 1]; ++e)
      for (const Id item : seen.row(graph.indices[e])) add(item, static_cast<double>(graph.values[e]));
  });
}

}  // namespace rearm::REARM_ABI
