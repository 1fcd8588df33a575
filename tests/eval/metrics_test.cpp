#include <rearm/core/matrix.hpp>
#include <rearm/core/random.hpp>
#include <rearm/eval/metrics.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <set>
#include <vector>

namespace eval_metrics_test {

namespace {

using rearm::Id;
using rearm::Index;
using rearm::Metric;

/// The definitions once more, written the slow way.
double naive(Metric metric, const std::vector<Id>& ranked, const std::set<Id>& truth, int k) {
  const auto hit = [&](int r) {
    return r < static_cast<int>(ranked.size()) && truth.count(ranked[std::size_t(r)]) > 0;
  };
  const auto precision = [&](int cut) {
    int hits = 0;
    for (int r = 0; r < cut; ++r) hits += hit(r) ? 1 : 0;
    return static_cast<double>(hits) / cut;
  };
  const int m = std::min<int>(k, static_cast<int>(truth.size()));
  double value = 0, ideal = 0;
  switch (metric) {
    case Metric::recall:
      return precision(k) * k / static_cast<double>(truth.size());
    case Metric::precision:
      return precision(k);
    case Metric::hit_rate:
      return precision(k) > 0 ? 1 : 0;
    case Metric::mrr:
      for (int r = 0; r < k; ++r)
        if (hit(r)) return 1.0 / (r + 1);
      return 0;
    case Metric::map:
      for (int r = 0; r < k; ++r)
        if (hit(r)) value += precision(r + 1);
      return value / m;
    case Metric::ndcg:
      for (int r = 0; r < k; ++r) value += hit(r) ? std::log(2.0) / std::log(r + 2.0) : 0;
      for (int r = 0; r < m; ++r) ideal += std::log(2.0) / std::log(r + 2.0);
      return value / ideal;
  }
  return -1;
}

}  // namespace

TEST_CASE("metrics of a hand-computed list") {
  const std::vector<Id> ranked = {7, 3, 9, 1, 5};
  const std::vector<Id> relevant = {1, 3, 8};  // hits at ranks 2 and 4
  const auto at = [&](Metric m, Index k) { return rearm::metric_at_k(m, ranked, relevant, k); };
  CHECK(at(Metric::recall, 1) == 0);
  CHECK(at(Metric::recall, 2) == doctest::Approx(1.0 / 3));
  CHECK(at(Metric::recall, 5) == doctest::Approx(2.0 / 3));
  CHECK(at(Metric::precision, 5) == doctest::Approx(0.4));
  CHECK(at(Metric::precision, 10) == doctest::Approx(0.2));
  CHECK(at(Metric::hit_rate, 1) == 0);
  CHECK(at(Metric::hit_rate, 2) == 1);
  CHECK(at(Metric::mrr, 1) == 0);
  CHECK(at(Metric::mrr, 5) == doctest::Approx(0.5));
  CHECK(at(Metric::map, 2) == doctest::Approx(0.5 / 2));
  CHECK(at(Metric::map, 5) == doctest::Approx((0.5 + 0.5) / 3));
  CHECK(at(Metric::ndcg, 5) ==
        doctest::Approx((1 / std::log2(3.0) + 1 / std::log2(5.0)) / (1 + 1 / std::log2(3.0) + 0.5)));
}

TEST_CASE("metrics equal their naive definitions on random lists") {
  const rearm::RandomKey key{11, 2, 0};
  std::uint64_t draw = 0;
  for (int round = 0; round < 200; ++round) {
    std::vector<Id> pool(30);
    for (Id i = 0; i < 30; ++i) pool[std::size_t(i)] = i;
    for (std::uint32_t i = 29; i > 0; --i) std::swap(pool[i], pool[key.below(draw++, i + 1)]);
    std::vector<Id> ranked(pool.begin(), pool.begin() + 1 + key.below(draw++, 25));
    if (round % 3 == 0) ranked.push_back(-1);
    std::set<Id> truth;
    for (std::uint32_t n = 1 + key.below(draw++, 12); truth.size() < n;)
      truth.insert(static_cast<Id>(key.below(draw++, 30)));
    const std::vector<Id> relevant(truth.begin(), truth.end());
    for (const Metric metric : rearm::all_metrics)
      for (const int k : {1, 3, 10, 20, 40})
        CHECK(rearm::metric_at_k(metric, ranked, relevant, k) ==
              doctest::Approx(naive(metric, ranked, truth, k)).epsilon(1e-12));
  }
}

TEST_CASE("metric names and their parsing") {
  CHECK(rearm::metric_name(Metric::recall, 20) == "recall@20");
  CHECK(rearm::metric_name(Metric::hit_rate, 5) == "hit_rate@5");
  for (const Metric m : rearm::all_metrics) {
    Metric parsed{};
    rearm::parse(rearm::to_string(m), parsed);
    CHECK(parsed == m);
  }
  Metric out{};
  CHECK_THROWS_AS(rearm::parse("Recall", out), rearm::ConfigError);
}

TEST_CASE("mean_metrics leaves out users without relevant items and refuses what is undefined") {
  rearm::Matrix<Id> ranked(3, 2);
  ranked(0, 0) = 4;
  ranked(0, 1) = 2;
  ranked(1, 0) = 0;
  ranked(1, 1) = 1;
  ranked(2, 0) = 3;
  ranked(2, 1) = -1;
  const std::vector<Id> users = {2, 0, 1};
  const rearm::Adjacency relevant{{0, 0, 1, 3}, {3, 2, 4}};  // user 0: none, user 1: {3}, user 2: {2, 4}
  const std::vector<Index> ks = {1, 2};
  const std::vector<Metric> metrics = {Metric::recall, Metric::precision};
  const auto values = rearm::mean_metrics(ranked.view(), users, relevant, ks, metrics);
  CHECK(values.size() == 4);
  CHECK(values.at("recall@1") == doctest::Approx((0.5 + 1) / 2));
  CHECK(values.at("recall@2") == doctest::Approx(1));
  CHECK(values.at("precision@2") == doctest::Approx((1 + 0.5) / 2));

  const rearm::Adjacency nobody{{0, 0, 0, 0}, {}};
  CHECK_THROWS_AS(rearm::mean_metrics(ranked.view(), users, nobody, ks, metrics), rearm::DataError);
  const std::vector<Id> outside = {2, 0, 3};
  CHECK_THROWS_AS(rearm::mean_metrics(ranked.view(), outside, relevant, ks, metrics), rearm::DataError);
  const std::vector<Id> two = {0, 1};
  CHECK_THROWS_AS(rearm::mean_metrics(ranked.view(), two, relevant, ks, metrics), rearm::ShapeError);
  for (const Index k : {Index{0}, Index{3}}) {
    const std::vector<Index> bad = {k};
    CHECK_THROWS_AS(rearm::mean_metrics(ranked.view(), users, relevant, bad, metrics), rearm::ConfigError);
  }
  const std::vector<Id> none;
  CHECK_THROWS_AS(rearm::metric_at_k(Metric::recall, users, none, 1), rearm::DataError);
  CHECK_THROWS_AS(rearm::metric_at_k(Metric::recall, users, users, 0), rearm::ConfigError);
}

}  // namespace eval_metrics_test
