#include <rearm/core/matrix.hpp>
#include <rearm/eval/significance.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace eval_significance_test {

using rearm::Index;
using rearm::RandomKey;

namespace {

rearm::Matrix<double> column(const std::vector<double>& values) {
  rearm::Matrix<double> out(static_cast<Index>(values.size()), 1);
  std::ranges::copy(values, out.data());
  return out;
}

/// P(|W - mean| >= |w - mean|) over all 2^n signs.
double by_enumeration(const std::vector<double>& differences) {
  std::vector<double> sizes;
  for (const double d : differences)
    if (d != 0) sizes.push_back(std::abs(d));
  std::vector<double> ranks;
  for (const double x : sizes) {
    double below = 0, equal = 0;
    for (const double y : sizes) {
      below += y < x ? 1 : 0;
      equal += y == x ? 1 : 0;
    }
    ranks.push_back(below + (equal + 1) / 2);
  }
  double observed = 0, all = 0;
  std::size_t i = 0;
  for (const double d : differences)
    if (d != 0) {
      observed += d > 0 ? ranks[i] : 0;
      all += ranks[i++];
    }
  int as_far = 0;
  for (std::uint32_t signs = 0; signs < 1U << ranks.size(); ++signs) {
    double w = 0;
    for (std::size_t r = 0; r < ranks.size(); ++r) w += (signs >> r & 1U) != 0 ? ranks[r] : 0;
    as_far += std::abs(w - all / 2) >= std::abs(observed - all / 2) ? 1 : 0;
  }
  return static_cast<double>(as_far) / static_cast<double>(1U << ranks.size());
}

}  // namespace

TEST_CASE("mean and deviation of a few values") {
  const std::vector<double> values = {2, 4, 4, 4, 5, 5, 7, 9};
  const rearm::Spread s = rearm::spread(values);
  CHECK(s.n == 8);
  CHECK(s.mean == 5);
  CHECK(s.deviation == doctest::Approx(std::sqrt(32.0 / 7)));
  CHECK(rearm::spread({values.data(), 1}).deviation == 0);
  CHECK(rearm::spread({}).n == 0);
}

TEST_CASE("Wilcoxon's test gives the p-values of scipy.stats.wilcoxon") {
  // Darwin's heights of plants, cross-fertilized minus self-fertilized: the example of scipy's documentation.
  const std::vector<double> darwin = {6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75};
  const rearm::SignedRank r = rearm::signed_rank_test(darwin);
  CHECK(r.exact);
  CHECK(r.n == 15);
  CHECK(r.negative_sum == 24);
  CHECK(r.positive_sum == 96);
  CHECK(r.p == doctest::Approx(0.041259765625).epsilon(1e-12));
  // scipy 1.17.1, ties and a zero: the normal distribution.
  const std::vector<double> tied = {1, 2, 2, -1, 3, 0, 4, 4, -2, 5, 5, 5, -3, 6, 7};
  const rearm::SignedRank t = rearm::signed_rank_test(tied);
  CHECK_FALSE(t.exact);
  CHECK(t.n == 14);
  CHECK(t.negative_sum == 12);
  CHECK(t.p == doctest::Approx(0.010791957881997143).epsilon(1e-12));
  // The same, sixty different values; and the first twenty, exactly.
  std::vector<double> sixty;
  for (int i = 1; i <= 60; ++i) sixty.push_back(i * 37 % 61 - 24 + 0.001 * i * i);
  const rearm::SignedRank s = rearm::signed_rank_test(sixty);
  CHECK_FALSE(s.exact);
  CHECK(std::min(s.negative_sum, s.positive_sum) == 511);
  CHECK(s.p == doctest::Approx(0.0029386115747507403).epsilon(1e-12));
  const rearm::SignedRank twenty = rearm::signed_rank_test({sixty.data(), 20});
  CHECK(std::min(twenty.negative_sum, twenty.positive_sum) == 78);
  CHECK(twenty.p == doctest::Approx(0.3299827575683594).epsilon(1e-12));
}

TEST_CASE("the exact distribution is that of all signs") {
  std::uint64_t draw = 0;
  for (std::uint32_t n = 1; n <= 12; ++n) {
    const RandomKey key{5, 1, n};
    std::vector<double> differences;
    for (std::uint32_t i = 0; i < n; ++i) differences.push_back(key.normal(draw++) + 0.4);
    const rearm::SignedRank r = rearm::signed_rank_test(differences);
    CHECK(r.exact);
    CHECK(r.p == doctest::Approx(by_enumeration(differences)).epsilon(1e-12));
    CHECK(r.positive_sum + r.negative_sum == doctest::Approx(n * (n + 1) / 2.0));
  }
}

TEST_CASE("the normal distribution is near the exact one, with ties and zeros, and has no preferred sign") {
  std::vector<double> differences;
  const RandomKey key{6, 1, 0};
  for (std::uint64_t i = 0; i < 18; ++i) differences.push_back(std::round(3 * key.normal(i) + 1));
  const rearm::SignedRank r = rearm::signed_rank_test(differences);
  CHECK_FALSE(r.exact);
  CHECK(r.p == doctest::Approx(by_enumeration(differences)).epsilon(0.15));
  std::vector<double> turned = differences;
  for (double& d : turned) d = -d;
  CHECK(rearm::signed_rank_test(turned).p == r.p);
  CHECK(rearm::signed_rank_test(turned).positive_sum == r.negative_sum);
  std::ranges::reverse(turned);
  CHECK(rearm::signed_rank_test(turned).p == r.p);
  // Two sides of the step between the two distributions.
  std::vector<double> fifty, more;
  for (std::uint64_t i = 0; i < 51; ++i) more.push_back(key.normal(100 + i) + 0.3);
  fifty.assign(more.begin(), more.begin() + 50);
  CHECK(rearm::signed_rank_test(fifty).exact);
  CHECK_FALSE(rearm::signed_rank_test(more).exact);
  CHECK(rearm::signed_rank_test(more).p == doctest::Approx(rearm::signed_rank_test(fifty).p).epsilon(0.5));
  const std::vector<double> zeros(7, 0.0);
  CHECK(rearm::signed_rank_test(zeros).p == 1);
  CHECK(rearm::signed_rank_test({}).p == 1);
  const std::vector<double> nan = {1, std::numeric_limits<double>::quiet_NaN()};
  CHECK_THROWS_AS(rearm::signed_rank_test(nan), rearm::NumericError);
}

TEST_CASE("Holm's correction of a hand-computed family") {
  const std::vector<double> p = {0.01, 0.04, 0.03, 0.005};
  const std::vector<double> expected = {0.03, 0.06, 0.06, 0.02};
  const std::vector<double> corrected = rearm::holm(p);
  for (std::size_t i = 0; i < p.size(); ++i) CHECK(corrected[i] == doctest::Approx(expected[i]));
  CHECK(rearm::holm(std::vector<double>{0.7}) == std::vector<double>{0.7});
  CHECK(rearm::holm(std::vector<double>{0.7, 0.9}) == std::vector<double>{1, 1});
  CHECK(rearm::holm({}).empty());
}

TEST_CASE("paired tests are those of each column, corrected for all of them") {
  const RandomKey key{13, 4, 0};
  rearm::Matrix<double> differences(40, 3);
  for (Index i = 0; i < 40; ++i)
    for (Index c = 0; c < 3; ++c)
      differences(i, c) = key.normal(static_cast<std::uint64_t>(3 * i + c)) + 0.25 * static_cast<double>(c);
  const auto tests = rearm::paired_tests(differences.view(), {.draws = 500, .seed = 3});
  const auto means = rearm::bootstrap_means(differences.view(), {.draws = 500, .seed = 3});
  REQUIRE(tests.size() == 3);
  std::vector<double> of_bootstrap, of_ranks;
  for (Index c = 0; c < 3; ++c) {
    std::vector<double> one;
    for (Index i = 0; i < 40; ++i) one.push_back(differences(i, c));
    CHECK(tests[static_cast<std::size_t>(c)].bootstrap.low == means[static_cast<std::size_t>(c)].low);
    of_bootstrap.push_back(means[static_cast<std::size_t>(c)].p);
    of_ranks.push_back(rearm::signed_rank_test(one).p);
    CHECK(tests[static_cast<std::size_t>(c)].ranks.p == of_ranks.back());
  }
  CHECK(of_ranks[0] != of_ranks[2]);
  for (std::size_t c = 0; c < 3; ++c) {
    CHECK(tests[c].bootstrap_holm == rearm::holm(of_bootstrap)[c]);
    CHECK(tests[c].ranks_holm == rearm::holm(of_ranks)[c]);
  }
}

TEST_CASE("the bootstrap repeats, surrounds the mean and has the width of the normal interval") {
  std::vector<double> values;
  const RandomKey key{9, 2, 0};
  for (std::uint64_t i = 0; i < 2000; ++i) values.push_back(0.3 + key.normal(i));
  const auto m = column(values);
  const auto b = rearm::bootstrap_means(m.view())[0];
  const rearm::Spread s = rearm::spread(values);
  CHECK(b.mean == doctest::Approx(s.mean).epsilon(1e-12));
  const double half = 1.959964 * s.deviation / std::sqrt(2000.0);
  CHECK(b.low == doctest::Approx(s.mean - half).epsilon(0.03));
  CHECK(b.high == doctest::Approx(s.mean + half).epsilon(0.03));
  CHECK(b.p == doctest::Approx(1.0 / 2001));  // thirteen deviations from 0
  const auto again = rearm::bootstrap_means(m.view())[0];
  CHECK(again.low == b.low);
  CHECK(again.p == b.p);
  CHECK(rearm::bootstrap_means(m.view(), {.seed = 2})[0].low != b.low);
  const auto wide = rearm::bootstrap_means(m.view(), {.confidence = 0.99})[0];
  CHECK(wide.low < b.low);
  CHECK(wide.high > b.high);
  // Columns see the same draws: the interval of a sum of a column and a constant is that of the column, moved.
  rearm::Matrix<double> two(2000, 2);
  for (Index i = 0; i < 2000; ++i) {
    two(i, 0) = values[static_cast<std::size_t>(i)];
    two(i, 1) = values[static_cast<std::size_t>(i)] + 5;
  }
  const auto both = rearm::bootstrap_means(two.view());
  CHECK(both[0].low == b.low);
  CHECK(both[1].low == doctest::Approx(b.low + 5).epsilon(1e-12));
  // Values that are all alike have no spread, and a mean of 0 no evidence.
  const auto same = rearm::bootstrap_means(column(std::vector<double>(10, 0.25)).view())[0];
  CHECK(same.low == 0.25);
  CHECK(same.high == 0.25);
  CHECK(rearm::bootstrap_means(column(std::vector<double>(10, 0.0)).view())[0].p == 1);
}

TEST_CASE("intervals hold what they promise, and both tests err as often as they say") {
  int covered = 0, bootstrap = 0, ranks = 0;
  constexpr int rounds = 400;
  for (std::uint32_t round = 0; round < rounds; ++round) {
    std::vector<double> values;
    const RandomKey key{11, 3, round};
    for (std::uint64_t i = 0; i < 60; ++i) values.push_back(key.normal(i));  // mean 0
    const auto b = rearm::bootstrap_means(column(values).view(), {.draws = 300, .seed = round})[0];
    covered += b.low <= 0 && 0 <= b.high ? 1 : 0;
    bootstrap += b.p <= 0.05 ? 1 : 0;
    ranks += rearm::signed_rank_test(values).p <= 0.05 ? 1 : 0;
  }
  // Binomial deviations are 4.4 rounds; the bootstrap's intervals of 60 values are a little short.
  CHECK(covered >= 360);
  CHECK(covered <= 396);
  CHECK(bootstrap >= 6);
  CHECK(bootstrap <= 40);
  CHECK(ranks >= 6);
  CHECK(ranks <= 36);
}

TEST_CASE("bootstraps that cannot be made are refused") {
  const auto m = column({1, 2});
  CHECK_THROWS_AS(rearm::bootstrap_means(rearm::Matrix<double>(0, 1).view()), rearm::DataError);
  CHECK_THROWS_AS(rearm::bootstrap_means(m.view(), {.confidence = 1}), rearm::ConfigError);
  CHECK_THROWS_AS(rearm::bootstrap_means(m.view(), {.confidence = 0}), rearm::ConfigError);
  CHECK_THROWS_AS(rearm::bootstrap_means(m.view(), {.draws = 0}), rearm::ConfigError);
  const auto infinite = column({1, std::numeric_limits<double>::infinity()});
  CHECK_THROWS_AS(rearm::bootstrap_means(infinite.view()), rearm::NumericError);
}

}  // namespace eval_significance_test
