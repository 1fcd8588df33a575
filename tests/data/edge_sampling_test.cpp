/// @file edge_sampling_test.cpp
/// Pairs drawn by degree: how many, which, how often.

#include "tests/graph/random_data.hpp"

#include <rearm/data/edge_sampling.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

namespace data_edge_sampling_test {

using namespace rearm;
using namespace rearm::test;

namespace {

EdgeSampler sampler_of(const Interactions& pairs, Index n_users, Index n_items, double epsilon = 1e-7) {
  return {items_by_user(pairs, n_users), users_by_item(pairs, n_items), epsilon};
}
std::set<std::pair<Id, Id>> set_of(const Interactions& pairs) {
  std::set<std::pair<Id, Id>> out;
  for (std::size_t e = 0; e < pairs.users.size(); ++e) out.emplace(pairs.users[e], pairs.items[e]);
  return out;
}

}  // namespace

TEST_CASE("drawn pairs are distinct, in order, as many as asked for, and a function of the key") {
  const Interactions pairs = random_pairs(300, 40, 700, 11);
  const EdgeSampler sampler = sampler_of(pairs, 300, 40);
  const std::set<std::pair<Id, Id>> all = set_of(pairs);
  const auto n_all = static_cast<Index>(all.size());
  CHECK(sampler.pairs().size() == n_all);
  const RandomKey key{5, edge_sampling_stream, 2};
  for (const Index n : {Index{0}, Index{1}, Index{59}, n_all}) {
    const Interactions drawn = sampler.draw(n, key);
    CHECK(drawn.size() == n);
    const std::set<std::pair<Id, Id>> distinct = set_of(drawn);
    CHECK(static_cast<Index>(distinct.size()) == n);
    std::size_t e = 0;
    for (const auto& pair : distinct) {  // ascending
      CHECK(all.contains(pair));
      CHECK(pair == std::pair(drawn.users[e], drawn.items[e]));
      ++e;
    }
  }
  const auto drawn = set_of(sampler.draw(59, key));
  CHECK(drawn == set_of(sampler.draw(59, key)));
  CHECK(drawn != set_of(sampler.draw(59, key.at_step(3))));
  CHECK(drawn != set_of(sampler.draw(59, {6, edge_sampling_stream, 2})));
}

TEST_CASE("the weight of a pair is 1 / (sqrt(deg_u + epsilon) sqrt(deg_i + epsilon))") {
  const Interactions pairs{{0, 0, 1, 0}, {0, 1, 1, 0}};  // (0, 0) twice
  const EdgeSampler sampler = sampler_of(pairs, 3, 3, 0.5);
  REQUIRE(sampler.pairs().size() == 3);
  CHECK(sampler.weights()[0] == doctest::Approx(1 / std::sqrt(2.5 * 1.5)).epsilon(1e-14));
  CHECK(sampler.weights()[1] == doctest::Approx(1 / std::sqrt(2.5 * 2.5)).epsilon(1e-14));
  CHECK(sampler.weights()[2] == doctest::Approx(1 / std::sqrt(1.5 * 2.5)).epsilon(1e-14));
}

TEST_CASE("uniform draws give every pair the same weight") {
  const Interactions pairs = random_pairs(30, 20, 100, 3);
  const EdgeSampler sampler(items_by_user(pairs, 30), users_by_item(pairs, 20), 0.5, EdgeSampling::uniform);
  REQUIRE(sampler.pairs().size() > 50);
  for (const double w : sampler.weights()) CHECK(w == 1.0);
}

TEST_CASE("two pairs are drawn as often as one after the other by weight among those left") {
  const Interactions pairs{{0, 0, 0, 0, 1, 2}, {0, 1, 2, 3, 3, 4}};
  const EdgeSampler sampler = sampler_of(pairs, 3, 5);
  const std::size_t n = sampler.weights().size();
  double sum = 0;
  for (const double w : sampler.weights()) sum += w;
  std::vector<double> p;
  for (const double w : sampler.weights()) p.push_back(w / sum);
  constexpr int draws = 40000;
  Matrix<double> seen(static_cast<Index>(n), static_cast<Index>(n));
  const auto number = [&](Id user, Id item) {
    for (std::size_t e = 0; e < n; ++e)
      if (sampler.pairs().users[e] == user && sampler.pairs().items[e] == item) return static_cast<Index>(e);
    return Index{-1};
  };
  for (int d = 0; d < draws; ++d) {
    const Interactions two = sampler.draw(2, {1, edge_sampling_stream, static_cast<std::uint32_t>(d)});
    seen(number(two.users[0], two.items[0]), number(two.users[1], two.items[1])) += 1;
  }
  for (std::size_t a = 0; a < n; ++a)
    for (std::size_t b = a + 1; b < n; ++b) {
      const double want = p[a] * p[b] / (1 - p[a]) + p[b] * p[a] / (1 - p[b]);
      const double deviation = std::sqrt(want * (1 - want) / draws);
      CHECK(std::abs(seen(static_cast<Index>(a), static_cast<Index>(b)) / draws - want) < 4 * deviation);
    }
}

TEST_CASE("more pairs than there are, and pairs that are not each other's transpose, are refused") {
  const Interactions pairs{{0, 1}, {0, 1}};
  const EdgeSampler sampler = sampler_of(pairs, 2, 2);
  for (const Index n : {-1, 3}) CHECK_THROWS_AS(sampler.draw(n, {}), ConfigError);
  CHECK_THROWS_AS(EdgeSampler(items_by_user(pairs, 2), Adjacency{}, 0), ShapeError);
}

}  // namespace data_edge_sampling_test
