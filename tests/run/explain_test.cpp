/// @file explain_test.cpp
/// Scores in parts: they add up, and a user who is made of items is made of them.

#include <rearm/core/random.hpp>
#include <rearm/run/explain.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

namespace run_explain_test {

using namespace rearm;

TEST_CASE("parts of a score add up, and a user that is a sum of its items is explained by them") {
  const RandomKey key{7, 1, 0};
  const Index d = 6;
  Matrix<double> items(9, d), user(1, d);
  for (Index i = 0; i < items.size(); ++i) items.data()[i] = key.normal(static_cast<std::uint64_t>(i));
  const std::vector<Id> seen = {1, 4, 8};
  const double weights[] = {0.5, 2, -1};
  for (std::size_t j = 0; j < 3; ++j)
    for (Index c = 0; c < d; ++c) user(0, c) += weights[j] * items(seen[j], c);
  const auto dot = [&](Index a, Index b) {
    double sum = 0;
    for (Index c = 0; c < d; ++c) sum += items(a, c) * items(b, c);
    return sum;
  };
  const ScoreExplainer<double> exact(user.view(), items.view(), seen, 3, 1e-10);
  for (std::size_t j = 0; j < 3; ++j) CHECK(exact.weights()[j] == doctest::Approx(weights[j]).epsilon(1e-6));
  const ScoreParts parts = exact.explain(2);
  double score = 0, columns = 0;
  for (Index c = 0; c < d; ++c) score += user(0, c) * items(2, c);
  CHECK(parts.score == doctest::Approx(score));
  REQUIRE(parts.columns.size() == 3);
  CHECK(parts.columns[1] == doctest::Approx(user(0, 2) * items(2, 2) + user(0, 3) * items(2, 3)));
  for (const double part : parts.columns) columns += part;
  CHECK(columns == doctest::Approx(score));
  for (std::size_t j = 0; j < 3; ++j)
    CHECK(parts.items[j] == doctest::Approx(weights[j] * dot(seen[j], 2)).epsilon(1e-6));
  CHECK(parts.rest == doctest::Approx(0).epsilon(1e-6));

  // What the items do not reach is the rest, whatever the ridge.
  for (Index c = 0; c < d; ++c) user(0, c) += static_cast<double>(c);
  const ScoreExplainer<double> other(user.view(), items.view(), seen);
  const ScoreParts again = other.explain(0);
  double sum = again.rest;
  for (const double part : again.items) sum += part;
  CHECK(sum == doctest::Approx(again.score));
  CHECK(again.rest != doctest::Approx(0).epsilon(1e-3));

  const ScoreExplainer<double> nothing(user.view(), items.view(), std::vector<Id>());
  CHECK(nothing.explain(3).rest == nothing.explain(3).score);
  CHECK_THROWS_AS(exact.explain(9), DataError);
  CHECK_THROWS_AS(ScoreExplainer<double>(user.view(), items.view(), std::vector<Id>{-1}), DataError);
  CHECK_THROWS_AS(ScoreExplainer<double>(user.view(), items.view(), seen, 4), ShapeError);
}

}  // namespace run_explain_test
