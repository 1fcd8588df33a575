#include <rearm/backend/cpu/co_occurrence.hpp>
#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/backend/cpu/knn.hpp>
#include <rearm/data/synthetic.hpp>
#include <rearm/graph/bipartite.hpp>
#include <rearm/graph/fuse.hpp>
#include <rearm/graph/knn_graph.hpp>
#include <rearm/graph/normalize.hpp>
#include <rearm/graph/user_graph.hpp>

#include "random_data.hpp"

#include "tests/data/folder.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace graph_builders_test {

using namespace rearm;
using namespace rearm::test;

namespace {

constexpr Index n_users = 300, n_items = 40;

struct Case {
  Interactions pairs = random_pairs(n_users, n_items, 700, 11);
  Adjacency by_user = items_by_user(pairs, n_users);
  Adjacency by_item = users_by_item(pairs, n_items);
  Dense incidence = naive_incidence(pairs, n_users, n_items);
  Context<CpuBackend<double>> ctx{{.threads = 2}};
};

bool ascending(const Csr<double>& a) {
  for (Index i = 0; i < a.rows; ++i)
    for (Index e = a.offsets[i] + 1; e < a.offsets[i + 1]; ++e)
      if (a.indices[e] <= a.indices[e - 1]) return false;
  return true;
}

}  // namespace

TEST_CASE("interaction graph equals D^-1/2 A D^-1/2") {
  const Case c;
  for (const double epsilon : {0.0, 1e-7, 0.5}) {
    Dense expected(n_users + n_items, n_users + n_items);
    std::vector<double> degree(static_cast<std::size_t>(n_users + n_items));
    for (Index u = 0; u < n_users; ++u)
      for (Index i = 0; i < n_items; ++i) {
        degree[static_cast<std::size_t>(u)] += c.incidence(u, i);
        degree[static_cast<std::size_t>(n_users + i)] += c.incidence(u, i);
      }
    for (Index u = 0; u < n_users; ++u)
      for (Index i = 0; i < n_items; ++i)
        if (c.incidence(u, i) > 0)
          expected(u, n_users + i) = expected(n_users + i, u) =
              1 / std::sqrt((degree[static_cast<std::size_t>(u)] + epsilon) *
                            (degree[static_cast<std::size_t>(n_users + i)] + epsilon));
    const Csr<double> a = interaction_graph(c.by_user, c.by_item, epsilon);
    CHECK(ascending(a));
    CHECK(max_difference(to_dense(a), expected) < 1e-14);
  }
  CHECK(c.by_user.degree(n_users - 1) == 0);
}

TEST_CASE("the graph with self loops has rows of equal weights that add up to 1") {
  const Case c;
  const Csr<double> a = self_loop_graph(c.by_user, c.by_item, false);
  Dense expected(n_users + n_items, n_users + n_items);
  for (Index u = 0; u < n_users + n_items; ++u) expected(u, u) = 1;
  for (Index u = 0; u < n_users; ++u)
    for (Index i = 0; i < n_items; ++i)
      if (c.incidence(u, i) > 0) expected(u, n_users + i) = expected(n_users + i, u) = 1;
  for (Index u = 0; u < n_users + n_items; ++u) {
    double sum = 0;
    for (Index v = 0; v < n_users + n_items; ++v) sum += expected(u, v);
    for (Index v = 0; v < n_users + n_items; ++v) expected(u, v) /= sum;
  }
  CHECK(ascending(a));
  CHECK(max_difference(to_dense(a), expected) < 1e-14);
}

TEST_CASE("the interaction graph with loops equals D^-1/2 (A + I) D^-1/2") {
  const Case c;
  constexpr Index n = n_users + n_items;
  Dense expected(n, n);
  for (Index u = 0; u < n_users; ++u)
    for (Index i = 0; i < n_items; ++i)
      expected(u, n_users + i) = expected(n_users + i, u) = c.incidence(u, i) > 0 ? 1 : 0;
  std::vector<double> degree(n, 1);
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) degree[static_cast<std::size_t>(i)] += expected(i, j);
    expected(i, i) = 1;
  }
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j)
      expected(i, j) /= std::sqrt(degree[static_cast<std::size_t>(i)] * degree[static_cast<std::size_t>(j)]);
  const Csr<double> a = self_loop_graph(c.by_user, c.by_item, true);
  CHECK(ascending(a));
  CHECK(max_difference(to_dense(a), expected) < 1e-14);
  CHECK(expected(n_users - 1, n_users - 1) == 1);  // without pairs
}

TEST_CASE("the users' block of the interaction graph has the items as columns") {
  const Case c;
  const Csr<double> a = interaction_graph(c.by_user, c.by_item, 0);
  const Csr<double> block = users_block(a, n_users);
  const Dense whole = to_dense(a);
  Dense expected(n_users, n_items);
  for (Index u = 0; u < n_users; ++u)
    for (Index i = 0; i < n_items; ++i) expected(u, i) = whole(u, n_users + i);
  CHECK(ascending(block));
  CHECK(max_difference(to_dense(block), expected) == 0);
}

TEST_CASE("row sums normalize both sides; a sum that is not above 0 leaves 0") {
  // Sums 4, 9, 0 and -1.
  const Dense s = [] {
    Dense m(4, 4);
    m(0, 0) = 1, m(0, 1) = 3, m(1, 0) = 5, m(1, 2) = 4, m(2, 0) = 2, m(2, 3) = -2, m(3, 3) = -1;
    return m;
  }();
  detail::CsrBuilder builder(4, 16);
  for (Index i = 0; i < 4; ++i) {
    std::vector<std::pair<Id, double>> row;
    for (Index j = 0; j < 4; ++j)
      if (s(i, j) != 0) row.emplace_back(static_cast<Id>(j), s(i, j));
    builder.add_row(row);
  }
  Csr<double> graph = std::move(builder).finish(4);
  normalize_by_row_sums(graph);
  Dense expected(4, 4);
  expected(0, 0) = 1.0 / 4, expected(0, 1) = 3.0 / 6, expected(1, 0) = 5.0 / 6;
  CHECK(max_difference(to_dense(graph), expected) < 1e-15);
  const auto copy = [](const auto& of) { return std::remove_cvref_t<decltype(of)>(of.span()); };
  Csr<double> wide{4, 5, copy(graph.offsets), copy(graph.indices), copy(graph.values)};
  CHECK_THROWS_AS(normalize_by_row_sums(wide), ShapeError);
}

TEST_CASE("co-occurrence counts equal the dense product") {
  Case c;
  CHECK(max_difference(to_dense(co_occurrence_counts(c.ctx, c.by_user, c.by_item)), naive_counts(c.incidence)) == 0);
  CHECK(max_difference(to_dense(co_occurrence_counts(c.ctx, c.by_item, c.by_user)),
                       naive_counts(naive_transpose(c.incidence))) == 0);
}

TEST_CASE("co-occurrence top-k: higher count first, then lower id; only what is there") {
  Case c;
  const Dense counts = naive_counts(c.incidence);
  for (const Index k : {1, 7, 299}) {
    const NeighborTable table = co_occurrence_top_k(c.ctx, c.by_user, c.by_item, k);
    for (Index i = 0; i < n_users; ++i) {
      const auto order = naive_order(counts, i);
      Index expected = 0;
      while (expected < k && counts(i, order[static_cast<std::size_t>(expected)]) > 0) ++expected;
      REQUIRE(table.counts[i] == expected);
      for (Index j = 0; j < expected; ++j) {
        CHECK(table.ids(i, j) == order[static_cast<std::size_t>(j)]);
        CHECK(table.values(i, j) == counts(i, table.ids(i, j)));
      }
    }
  }
  CHECK_THROWS_AS(co_occurrence_top_k(c.ctx, c.by_user, c.by_item, 0), ConfigError);
}

TEST_CASE("co-occurrence graph without padding: softmax over what is there, empty rows stay empty") {
  Case c;
  const Index k = 9;
  const Dense counts = naive_counts(c.incidence);
  Dense expected(n_users, n_users);
  for (Index i = 0; i < n_users; ++i) {
    const auto order = naive_order(counts, i);
    double sum = 0;
    for (Index j = 0; j < k; ++j)
      if (const Id id = order[static_cast<std::size_t>(j)]; counts(i, id) > 0) sum += std::exp(counts(i, id));
    for (Index j = 0; j < k; ++j)
      if (const Id id = order[static_cast<std::size_t>(j)]; counts(i, id) > 0)
        expected(i, id) = std::exp(counts(i, id)) / sum;
  }
  const auto graph = co_occurrence_graph(c.ctx, c.by_user, c.by_item, k, Padding::none, {1, 2, 3});
  CHECK(ascending(graph));
  CHECK(max_difference(to_dense(graph), expected) < 1e-14);
}

TEST_CASE("padded co-occurrence graph: short rows are padded from themselves, empty rows by popularity") {
  Case c;
  const Index k = 30;
  const Dense counts = naive_counts(c.incidence);
  const auto graph = co_occurrence_graph(c.ctx, c.by_user, c.by_item, k, Padding::fill, {1, 2, 3});
  const Dense dense = to_dense(graph);
  Dense degrees(1, n_users);
  for (Index u = 0; u < n_users; ++u) degrees(0, u) = static_cast<double>(c.by_user.degree(u));
  Index full = 0, shorter = 0, empty = 0;
  for (Index i = 0; i < n_users; ++i) {
    const auto order = naive_order(counts, i);
    Index r = 0;
    while (r < n_users && counts(i, order[static_cast<std::size_t>(r)]) > 0) ++r;
    double sum = 0;
    for (Index j = 0; j < n_users; ++j) sum += dense(i, j);
    CHECK(sum == doctest::Approx(1).epsilon(1e-13));
    if (r >= k) {
      ++full;
      double total = 0;
      for (Index j = 0; j < k; ++j) total += std::exp(counts(i, order[static_cast<std::size_t>(j)]));
      for (Index j = 0; j < k; ++j) {
        const Id id = order[static_cast<std::size_t>(j)];
        CHECK(dense(i, id) == doctest::Approx(std::exp(counts(i, id)) / total).epsilon(1e-13));
      }
    } else if (r > 0) {
      ++shorter;
      // Undoing the softmax, every neighbor is there a whole number of times, at least once, k times in all.
      const Id first = order[0];
      CHECK(graph.offsets[i + 1] - graph.offsets[i] == r);
      double copies_of_first = 0;
      for (Index j = 0; j < r; ++j) {
        const Id id = order[static_cast<std::size_t>(j)];
        copies_of_first += dense(i, id) / dense(i, first) * std::exp(counts(i, first) - counts(i, id));
      }
      copies_of_first = static_cast<double>(k) / copies_of_first;
      for (Index j = 0; j < r; ++j) {
        const Id id = order[static_cast<std::size_t>(j)];
        const double copies =
            copies_of_first * dense(i, id) / dense(i, first) * std::exp(counts(i, first) - counts(i, id));
        CHECK(std::abs(copies - std::round(copies)) < 1e-6);
        CHECK(copies > 0.5);
      }
    } else {
      ++empty;
      const auto popular = naive_order(degrees, 0);
      double all = 0, total = 0;
      for (Index j = 0; j < k; ++j) all += degrees(0, popular[static_cast<std::size_t>(j)]);
      for (Index j = 0; j < k; ++j) total += std::exp(degrees(0, popular[static_cast<std::size_t>(j)]) / all);
      for (Index j = 0; j < k; ++j) {
        const Id id = popular[static_cast<std::size_t>(j)];
        CHECK(dense(i, id) == doctest::Approx(std::exp(degrees(0, id) / all) / total).epsilon(1e-13));
      }
    }
  }
  CHECK(full > 0);
  CHECK(shorter > 0);
  CHECK(empty > 0);
}

TEST_CASE("padding draws each neighbor equally often and depends on the key alone") {
  // Users 0 to 3 share one item, so each has the three others as neighbors.
  const Interactions pairs{{0, 1, 2, 3}, {0, 0, 0, 0}};
  const Index n = 2000, k = 1203;
  const Adjacency by_user = items_by_user(pairs, n), by_item = users_by_item(pairs, 1);
  Context<CpuBackend<double>> one({.threads = 1}), two({.threads = 2});
  NeighborTable table = co_occurrence_top_k(one, by_user, by_item, k);
  pad_neighbors(table, by_user, {7, 1, 0});
  std::map<Id, Index> drawn;
  for (Index i = 0; i < 4; ++i) {
    drawn.clear();
    for (Index j = 3; j < k; ++j) ++drawn[table.ids(i, j)];
    CHECK(drawn.size() == 3);
    CHECK(drawn.count(static_cast<Id>(i)) == 0);
    for (const auto& [id, count] : drawn) CHECK(std::abs(count - 400) < 90);  // five standard deviations
  }
  const auto graph = [&](auto& ctx, RandomKey key) {
    return to_dense(co_occurrence_graph(ctx, by_user, by_item, k, Padding::fill, key));
  };
  CHECK(max_difference(graph(one, {7, 1, 0}), graph(two, {7, 1, 0})) == 0);
  CHECK(max_difference(graph(one, {7, 1, 0}), graph(one, {8, 1, 0})) > 0);
}

TEST_CASE("short lists repeat what is in them, earlier repeats more often") {
  constexpr Index rows = 20000;
  NeighborTable table(rows, 4);
  for (Index i = 0; i < rows; ++i) {
    table.counts[i] = i % 10 == 9 ? 0 : i % 10 == 8 ? 4 : 2;
    for (Index j = 0; j < table.counts[i]; ++j) {
      table.ids(i, j) = static_cast<Id>(10 * j);
      table.values(i, j) = static_cast<double>(5 - j);
    }
  }
  NeighborTable again(rows, 4);
  for (Index i = 0; i < rows; ++i) {
    again.counts[i] = table.counts[i];
    std::copy_n(table.ids.row(i), 4, again.ids.row(i));
    std::copy_n(table.values.row(i), 4, again.values.row(i));
  }
  repeat_neighbors(table, {3, 1, 0});
  repeat_neighbors(again, {3, 1, 0});
  Index n = 0, first = 0, same = 0;
  for (Index i = 0; i < rows; ++i) {
    if (i % 10 == 9) {
      CHECK(table.counts[i] == 0);
      continue;
    }
    CHECK(table.counts[i] == 4);
    for (Index j = 0; j < 4; ++j) {
      CHECK(table.ids(i, j) == again.ids(i, j));
      CHECK(table.values(i, j) == 5 - table.ids(i, j) / 10);
    }
    if (i % 10 == 8) {
      CHECK(table.ids(i, 3) == 30);
      continue;
    }
    ++n;
    first += table.ids(i, 2) == 0 ? 1 : 0;
    same += table.ids(i, 2) == table.ids(i, 3) ? 1 : 0;
  }
  CHECK(static_cast<double>(first) / static_cast<double>(n) == doctest::Approx(1.0 / 2).epsilon(0.03));
  CHECK(static_cast<double>(same) / static_cast<double>(n) == doctest::Approx(2.0 / 3).epsilon(0.03));
  const double of_first = static_cast<double>(1 + (table.ids(0, 2) == 0 ? 1 : 0) + (table.ids(0, 3) == 0 ? 1 : 0));
  const Csr<double> graph = softmax_graph(std::move(table));
  CHECK(graph.offsets[10] - graph.offsets[9] == 0);
  const double a = std::exp(5.0), b = std::exp(4.0);
  CHECK(graph.values[0] == doctest::Approx(of_first * a / (of_first * a + (4 - of_first) * b)).epsilon(1e-12));
}

TEST_CASE("without any pair the padded rows are uniform, not NaN") {
  Context<CpuBackend<double>> ctx({.threads = 1});
  const Adjacency none = group({}, {}, 5);
  const auto dense = to_dense(co_occurrence_graph(ctx, none, none, 4, Padding::fill, {1, 1, 0}));
  for (Index i = 0; i < 5; ++i)
    for (Index j = 0; j < 5; ++j) CHECK(dense(i, j) == (j < 4 ? 0.25 : 0.0));
}

TEST_CASE("fuse sums parts, skips weight zero and refuses other shapes") {
  Case c;
  const auto a = co_occurrence_graph(c.ctx, c.by_user, c.by_item, 5, Padding::none, {});
  const auto b = co_occurrence_counts(c.ctx, c.by_user, c.by_item);
  Dense expected(n_users, n_users);
  const Dense da = to_dense(a), db = to_dense(b);
  for (Index e = 0; e < expected.size(); ++e) expected.data()[e] = 0.3 * da.data()[e] + 0.7 * db.data()[e];
  const WeightedGraph parts[] = {{0.3, &a}, {0.0, nullptr}, {0.7, &b}};
  const auto fused = fuse(n_users, parts);
  CHECK(ascending(fused));
  CHECK(max_difference(to_dense(fused), expected) < 1e-14);
  CHECK_THROWS_AS(fuse(n_users + 1, parts), ShapeError);
}

TEST_CASE("the graphs of alike items are built of the same neighbors, which are found once") {
  Context<CpuBackend<double>> ctx({.threads = 2});
  SyntheticSettings generated;
  generated.n_users = n_users;
  generated.n_items = n_items;
  generated.widths = {6, 5};
  Dataset data = make_synthetic(generated);
  const Folder folder;
  std::vector<std::string> stages;
  GraphOptions options;
  options.cache_dir = folder.path();
  options.progress = [&](std::string_view stage, double) { stages.emplace_back(stage); };
  const Modality& modality = data.modalities.front();
  const Csr<double> weighted = knn_graph(ctx, modality, 4, options);
  CHECK(stages == std::vector<std::string>{"neighbors by " + modality.name});
  const Csr<double> unweighted = unweighted_knn_graph(ctx, modality, 4, 1e-7, options);
  const Csr<double> again = knn_graph(ctx, modality, 4, options);
  CHECK(stages.size() == 1);
  REQUIRE(unweighted.nonzeros() == 4 * n_items);
  REQUIRE(weighted.nonzeros() == 4 * n_items);
  for (Index e = 0; e < 4 * n_items; ++e) {
    CHECK(unweighted.indices[e] == weighted.indices[e]);
    CHECK(unweighted.values[e] == 1 / (4 + 1e-7));
    CHECK(again.values[e] == weighted.values[e]);
  }
  unweighted_knn_graph(ctx, modality, 5, 1e-7, options);
  CHECK(stages.size() == 2);
  unweighted_knn_graph(ctx, data.modalities.back(), 4, 1e-7, options);
  CHECK(stages.size() == 3);
  CHECK_THROWS_AS(unweighted_knn_graph(ctx, modality, n_items, 1e-7, options), ConfigError);
}

}  // namespace graph_builders_test
