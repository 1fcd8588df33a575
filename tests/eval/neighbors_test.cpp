// AUC of neighbors against a naive count, and on graphs whose answer is known.
#include <rearm/core/random.hpp>
#include <rearm/eval/neighbors.hpp>

#include <tests/data/folder.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <utility>
#include <vector>

namespace eval_neighbors_test {

namespace {

using namespace rearm;

constexpr Index n_users = 12, n_items = 9;

Csr<double> random_graph(Index n, std::uint32_t stream) {
  const RandomKey key{5, stream, 0};
  std::vector<Id> ids;
  std::vector<double> values;
  Csr<double> graph{n, n, Buffer<Index>(n + 1), {}, {}};
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j)
      if (const auto at = static_cast<std::uint64_t>(i * n + j); key.below(at, 3) == 0) {
        ids.push_back(static_cast<Id>(j));
        values.push_back(0.25 * (1 + key.below(at + 1000, 4)));  // exact sums, some equal
      }
    graph.offsets[i + 1] = static_cast<Index>(ids.size());
  }
  graph.indices = Buffer<Id>(ids);
  graph.values = Buffer<double>(values);
  return graph;
}
double at(const Csr<double>& graph, Index i, Index j) {
  for (Index e = graph.offsets[i]; e < graph.offsets[i + 1]; ++e)
    if (graph.indices[e] == j) return graph.values[e];
  return 0;
}
/// A user has an item of `train` at (u + i) % 4 == 0, one held out at 1.
std::pair<Adjacency, Interactions> splits() {
  Interactions train, held_out;
  for (Id u = 0; u < n_users; ++u)
    for (Id i = 0; i < n_items; ++i)
      if (const Id rest = (u + i) % 4; rest < 2) {
        Interactions& to = rest == 0 ? train : held_out;
        to.users.push_back(u);
        to.items.push_back(i);
      }
  return {items_by_user(train, n_users), held_out};
}

/// Every pair against every other one.
template <class Score>
double naive_auc(const Adjacency& seen, const Interactions& held_out, const Score& score) {
  const Adjacency relevant = items_by_user(held_out, n_users);
  double won = 0, n = 0;
  for (std::size_t e = 0; e < held_out.users.size(); ++e)
    for (const Id other : held_out.items) {
      const Id u = held_out.users[e];
      if (seen.contains(u, other) || relevant.contains(u, other)) continue;
      const double a = score(u, held_out.items[e]), b = score(u, other);
      won += a > b ? 1.0 : a < b ? 0.0 : 0.5;
      n += 1;
    }
  return won / n;
}

}  // namespace

TEST_CASE("AUC of neighbors is that of all comparisons, up to the draws'") {
  const auto [seen, held_out] = splits();
  const Csr<double> items = random_graph(n_items, 1), users = random_graph(n_users, 2);
  const Adjacency& of = seen;
  const double by_items = naive_auc(seen, held_out, [&](Id u, Id i) {
    double sum = 0;
    for (const Id j : of.row(u)) sum += at(items, i, j);
    return sum;
  });
  const double by_users = naive_auc(seen, held_out, [&](Id u, Id i) {
    double sum = 0;
    for (Id v = 0; v < n_users; ++v) sum += of.contains(v, i) ? at(users, u, v) : 0;
    return sum;
  });
  CHECK(std::abs(by_items - 0.5) > 0.02);  // or the next lines could not fail
  CHECK(std::abs(by_users - 0.5) > 0.02);
  double item_sum = 0, user_sum = 0;
  constexpr int n_seeds = 40;
  for (int seed = 0; seed < n_seeds; ++seed) {
    item_sum += item_neighbor_auc(items, n_items, seen, held_out, static_cast<std::uint64_t>(seed));
    user_sum += user_neighbor_auc(users, n_items, seen, held_out, static_cast<std::uint64_t>(seed));
  }
  CHECK(item_sum / n_seeds == doctest::Approx(by_items).epsilon(0.02));
  CHECK(user_sum / n_seeds == doctest::Approx(by_users).epsilon(0.02));
  CHECK(item_neighbor_auc(items, n_items, seen, held_out, 3) == item_neighbor_auc(items, n_items, seen, held_out, 3));
}

TEST_CASE("a graph that knows, one that knows nothing, and nothing to compare") {
  // Users 0 and 1 have items 0 and 1, and held out their neighbors 2 and 3.
  const Interactions train{{0, 1}, {0, 1}}, held_out{{0, 1}, {2, 3}};
  const Adjacency seen = items_by_user(train, 2);
  Csr<float> graph{4, 4, Buffer<Index>(std::vector<Index>{0, 0, 0, 1, 2}), Buffer<Id>(std::vector<Id>{0, 1}),
                   Buffer<float>(std::vector<float>{1, 1})};
  CHECK(item_neighbor_auc(graph, 4, seen, held_out, 1) == 1);
  std::swap(graph.indices[0], graph.indices[1]);
  CHECK(item_neighbor_auc(graph, 4, seen, held_out, 1) == 0);
  graph.values[0] = graph.values[1] = 0;
  CHECK(item_neighbor_auc(graph, 4, seen, held_out, 1) == 0.5);
  CHECK(item_neighbor_auc(graph, 4, seen, Interactions{}, 1) == 0.5);
  CHECK(item_neighbor_auc(graph, 4, seen, Interactions{{0}, {2}}, 1) == 0.5);
  CHECK(test::has(test::error_of<ShapeError>([&] { item_neighbor_auc(graph, 5, seen, held_out, 1); }), "5 items"));
  CHECK(test::has(test::error_of<ShapeError>([&] { user_neighbor_auc(graph, 4, seen, held_out, 1); }), "2 users"));
}

}  // namespace eval_neighbors_test
