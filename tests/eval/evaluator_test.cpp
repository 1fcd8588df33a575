#include "tests/support/backend.hpp"
#include "tests/support/scalars.hpp"

#include <rearm/core/random.hpp>
#include <rearm/eval/evaluator.hpp>
#include <rearm/eval/popularity.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

namespace eval_evaluator_test {

namespace {

using rearm::Adjacency;
using rearm::Id;
using rearm::Index;
using rearm::Metric;

/// Small integers: every product is exact, and ties abound.
template <class T>
rearm::Matrix<T> small_integers(Index rows, Index cols, std::uint32_t stream) {
  const rearm::RandomKey key{3, stream, 0};
  rearm::Matrix<T> m(rows, cols);
  for (Index i = 0; i < m.size(); ++i) m.data()[i] = static_cast<T>(key.below(std::uint64_t(i), 7)) - T{3};
  return m;
}

Adjacency random_lists(Index rows, Index n_ids, std::uint32_t most, std::uint32_t stream) {
  const rearm::RandomKey key{4, stream, 0};
  std::vector<Id> keys, values;
  std::uint64_t draw = 0;
  for (Index u = 0; u < rows; ++u)
    for (std::uint32_t n = key.below(draw++, most + 1); n > 0; --n) {
      keys.push_back(static_cast<Id>(u));
      values.push_back(static_cast<Id>(key.below(draw++, static_cast<std::uint32_t>(n_ids))));
    }
  return rearm::group(keys, values, rows);
}

template <class T>
std::vector<rearm::Scored<T>> naive_list(const rearm::Matrix<T>& users, Id user, const rearm::Matrix<T>& items,
                                         const Adjacency* masked) {
  std::vector<rearm::Scored<T>> list;
  for (Index i = 0; i < items.rows(); ++i) {
    if (masked != nullptr && masked->contains(user, static_cast<Id>(i))) continue;
    T score{};
    for (Index j = 0; j < items.cols(); ++j) score += users(user, j) * items(i, j);
    list.push_back({static_cast<Id>(i), score});
  }
  std::stable_sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.score > b.score; });
  return list;
}

template <class T>
using TestContext = rearm::Context<rearm::test::TestBackend<T>>;
using rearm::test::test_options;
using rearm::test::upload;

}  // namespace

TEST_CASE_TEMPLATE("recommend equals a naive ranking, across blocks of users and tiles of items", T,
                   REARM_TEST_SCALARS) {
  const Index n_users = 300, n_items = 2100, dim = 6;
  const auto users = small_integers<T>(n_users, dim, 1);
  const auto items = small_integers<T>(n_items, dim, 2);
  const auto users_there = upload(users), items_there = upload(items);
  const Adjacency masked = random_lists(n_users, n_items, 40, 5);
  std::vector<Id> who;
  for (Id u = 299; u >= 0; u -= 2) who.push_back(u);  // not in order, more than one block
  who.push_back(299);                                 // and one twice
  TestContext<T> one(test_options(1)), two(test_options(2));
  for (const Adjacency* mask : {static_cast<const Adjacency*>(nullptr), &masked}) {
    const auto best = rearm::recommend(one, users_there.view(), who, items_there.view(), mask, 25);
    const auto again = rearm::recommend(two, users_there.view(), who, items_there.view(), mask, 25);
    CHECK(std::ranges::equal(std::span(best.ids.data(), std::size_t(best.ids.size())),
                             std::span(again.ids.data(), std::size_t(again.ids.size()))));
    CHECK(std::ranges::equal(std::span(best.scores.data(), std::size_t(best.scores.size())),
                             std::span(again.scores.data(), std::size_t(again.scores.size()))));
    Index wrong = 0;
    for (std::size_t i = 0; i < who.size(); ++i) {
      const auto expected = naive_list(users, who[i], items, mask);
      for (Index r = 0; r < 25; ++r)
        wrong += best.ids(Index(i), r) != expected[std::size_t(r)].id ||
                 best.scores(Index(i), r) != expected[std::size_t(r)].score;
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("scores that are not exact are the same bits for any number of threads") {
  const rearm::RandomKey key{5, 6, 0};
  rearm::Matrix<float> users(700, 33), items(1500, 33);
  for (Index i = 0; i < users.size(); ++i) users.data()[i] = static_cast<float>(key.normal(std::uint64_t(i)));
  for (Index i = 0; i < items.size(); ++i) items.data()[i] = static_cast<float>(key.normal(std::uint64_t(i) + 1000000));
  std::vector<Id> who(700);
  std::iota(who.begin(), who.end(), 0);
  const auto users_there = upload(users), items_there = upload(items);
  TestContext<float> one(test_options(1)), two(test_options(2)), five(test_options(5));
  const auto a = rearm::recommend(one, users_there.view(), who, items_there.view(), nullptr, 10);
  for (auto* ctx : {&two, &five}) {
    if (rearm::test::watched && ctx == &five) continue;
    const auto b = rearm::recommend(*ctx, users_there.view(), who, items_there.view(), nullptr, 10);
    CHECK(std::equal(a.scores.data(), a.scores.data() + a.scores.size(), b.scores.data()));
    CHECK(std::equal(a.ids.data(), a.ids.data() + a.ids.size(), b.ids.data()));
  }
}

#if !defined(REARM_TEST_CUDA) && !defined(REARM_TEST_MINIMAL)  // theirs is a product's of as many users as there are
TEST_CASE("a user's list has the same bits wherever the user stands among others") {
  TestContext<float> ctx(test_options());
  const rearm::RandomKey key{5, 1, 0};
  rearm::Matrix<float> users(1, 20), items(200, 20);
  for (Index i = 0; i < users.size(); ++i) users.data()[i] = static_cast<float>(key.normal(std::uint64_t(i)));
  for (Index i = 0; i < items.size(); ++i) items.data()[i] = static_cast<float>(key.normal(std::uint64_t(100 + i)));
  const auto lists = [&](const std::vector<Id>& who) {
    return rearm::recommend<rearm::test::TestBackend<float>>(ctx, users.view(), who, items.view(), nullptr, 20);
  };
  const auto alone = lists({0});
  for (const std::size_t n : {2U, 11U, 12U, 13U, 15U, 16U, 17U, 48U, 49U, 384U, 385U, 500U}) {
    CAPTURE(n);
    const auto again = lists(std::vector<Id>(n, 0));
    Index different = 0;
    for (Index i = 0; i < again.scores.rows(); ++i)
      for (Index r = 0; r < 20; ++r)
        different += again.ids(i, r) != alone.ids(0, r) || again.scores(i, r) != alone.scores(0, r);
    CHECK(different == 0);
  }
}
#endif

TEST_CASE("recommend pads lists that run out of candidates") {
  TestContext<double> ctx(test_options(1));
  const auto users = upload(small_integers<double>(2, 3, 1));
  const auto items = upload(small_integers<double>(4, 3, 2));
  const Adjacency masked{{0, 4, 6}, {0, 1, 2, 3, 0, 2}};
  const std::vector<Id> who = {0, 1};
  const auto best = rearm::recommend(ctx, users.view(), who, items.view(), &masked, 6);
  for (Index r = 0; r < 6; ++r) {
    CHECK(best.ids(0, r) == -1);
    CHECK(best.scores(0, r) == -std::numeric_limits<double>::infinity());
    if (r >= 2) CHECK(best.ids(1, r) == -1);
  }
  CHECK(std::min(best.ids(1, 0), best.ids(1, 1)) == 1);
  CHECK(std::max(best.ids(1, 0), best.ids(1, 1)) == 3);
  const std::vector<Id> nobody;
  CHECK(rearm::recommend(ctx, users.view(), nobody, items.view(), &masked, 6).ids.rows() == 0);
}

TEST_CASE("recommend refuses what does not fit, by name") {
  TestContext<float> ctx(test_options(2));
  auto users = upload(small_integers<float>(5, 3, 1));
  auto items = upload(small_integers<float>(4, 3, 2));
  const auto narrow = upload(small_integers<float>(4, 2, 2));
  const std::vector<Id> who = {0, 4}, low = {-1}, high = {5};
  CHECK_THROWS_AS(rearm::recommend(ctx, users.view(), who, narrow.view(), nullptr, 2), rearm::ShapeError);
  CHECK_THROWS_AS(rearm::recommend(ctx, users.view(), who, items.view(), nullptr, 0), rearm::ConfigError);
  CHECK_THROWS_AS(rearm::recommend(ctx, users.view(), who, items.view(), nullptr, Index{1} << 40), rearm::ConfigError);
  CHECK_THROWS_AS(rearm::recommend(ctx, users.view(), low, items.view(), nullptr, 2), rearm::DataError);
  CHECK_THROWS_AS(rearm::recommend(ctx, users.view(), high, items.view(), nullptr, 2), rearm::DataError);
  const Adjacency short_mask{{0, 0}, {}}, wild_mask{{0, 0, 0, 0, 0, 1}, {4}};
  CHECK_THROWS_AS(rearm::recommend(ctx, users.view(), who, items.view(), &short_mask, 2), rearm::ShapeError);
  CHECK_THROWS_AS(rearm::recommend(ctx, users.view(), who, items.view(), &wild_mask, 2), rearm::DataError);
  rearm::test::put(users, 4 * 3 + 1, std::numeric_limits<float>::quiet_NaN());
  try {
    rearm::recommend(ctx, users.view(), who, items.view(), nullptr, 2);
    FAIL("NaN was ranked");
  } catch (const rearm::NumericError& e) {
    CHECK(std::string(e.what()).find("user 4") != std::string::npos);
  }
}

TEST_CASE("evaluate equals metrics of the naive lists, for any number of threads") {
  const Index n_users = 260, n_items = 90;
  const auto users = small_integers<float>(n_users, 4, 1);
  const auto items = small_integers<float>(n_items, 4, 2);
  const auto users_there = upload(users), items_there = upload(items);
  const Adjacency masked = random_lists(n_users, n_items, 8, 5);
  const Adjacency relevant = random_lists(n_users, n_items, 4, 6);
  const std::vector<Index> ks = {1, 10, 20};
  std::map<std::string, double> expected;
  double n = 0;
  for (Id u = 0; u < n_users; ++u) {
    if (relevant.degree(u) == 0) continue;
    ++n;
    std::vector<Id> ranked;
    for (const auto& entry : naive_list(users, u, items, &masked)) ranked.push_back(entry.id);
    for (const Metric m : rearm::all_metrics)
      for (const Index k : ks) expected[rearm::metric_name(m, k)] += rearm::metric_at_k(m, ranked, relevant.row(u), k);
  }
  CHECK(n < static_cast<double>(n_users));
  rearm::MetricValues first;
  for (const int threads : {1, 2, 3}) {
    TestContext<float> ctx(test_options(threads));
    const auto values =
        rearm::evaluate(ctx, users_there.view(), items_there.view(), &masked, relevant, ks, rearm::all_metrics);
    if (threads == 1) first = values;
    CHECK(values == first);
  }
  REQUIRE(first.size() == expected.size());
  for (const auto& [name, sum] : expected) CHECK(first.at(name) == doctest::Approx(sum / n).epsilon(1e-12));

  TestContext<float> ctx(test_options(1));
  const rearm::UserMetrics of_users =
      rearm::evaluate_users(ctx, users_there.view(), items_there.view(), &masked, relevant, ks, rearm::all_metrics);
  CHECK(of_users.mean() == first);
  CHECK(static_cast<double>(of_users.users.size()) == n);
  const Adjacency nothing{std::vector<Index>(n_users + 1, 0), {}};
  CHECK_THROWS_AS(
      rearm::evaluate(ctx, users_there.view(), items_there.view(), &masked, nothing, ks, rearm::all_metrics),
      rearm::DataError);
  Adjacency wild = relevant;
  wild.ids.back() = static_cast<Id>(n_items);
  CHECK_THROWS_AS(rearm::evaluate(ctx, users_there.view(), items_there.view(), &masked, wild, ks, rearm::all_metrics),
                  rearm::DataError);
}

TEST_CASE("popularity recommends the most taken items a user has not") {
  TestContext<float> ctx(test_options(1));
  const Adjacency train{{0, 2, 4, 5, 5}, {1, 2, 1, 3, 1}};  // item 1: three users, items 2 and 3: one, item 0: none
  const auto model = rearm::popularity<float>(train, 4);
  const std::vector<Id> who = {0, 3};
  const auto users = upload(model.user_rows), items = upload(model.item_rows);
  const auto best = rearm::recommend(ctx, users.view(), who, items.view(), &train, 4);
  const std::vector<Id> expected = {3, 0, -1, -1, 1, 2, 3, 0};
  CHECK(std::equal(expected.begin(), expected.end(), best.ids.data()));
  CHECK(best.scores(1, 0) == 3);
  CHECK_THROWS_AS(rearm::popularity<float>(train, 3), rearm::DataError);
}

}  // namespace eval_evaluator_test
