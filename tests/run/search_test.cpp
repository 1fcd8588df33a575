#include <tests/data/folder.hpp>

#include <rearm/run/search.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace run_search_test {

using namespace rearm;
using nlohmann::json;
using rearm::test::error_of;
using rearm::test::has;

namespace {

SearchDimension list(const std::string& path, std::vector<json> values) {
  SearchDimension d;
  d.path = path;
  d.values = std::move(values);
  return d;
}
SearchDimension range(const std::string& path, double low, double high, bool log, bool whole, int steps = 0) {
  return {path, {}, low, high, log, whole, steps};
}

}  // namespace

TEST_CASE("a grid has every combination once") {
  const std::vector<SearchDimension> dimensions = {list("a", {"x", "y"}), range("b", 1, 9, false, true, 3),
                                                   range("c", 1e-4, 1e-2, true, false, 3)};
  const auto points = grid_points(dimensions);
  REQUIRE(points.size() == 18);
  CHECK(points[0] == SearchPoint{"x", 1, 1e-4});
  CHECK(points[1] == SearchPoint{"x", 1, 1e-3});
  CHECK(points[2] == SearchPoint{"x", 1, 1e-2});
  CHECK(points[3] == SearchPoint{"x", 5, 1e-4});
  CHECK(points[17] == SearchPoint{"y", 9, 1e-2});
  CHECK(std::set<SearchPoint>(points.begin(), points.end()).size() == 18);
  // Whole steps that fall together are one.
  const std::vector<SearchDimension> few = {range("b", 1, 3, false, true, 9)};
  CHECK(grid_points(few) == std::vector<SearchPoint>{{1}, {2}, {3}});
  CHECK(grid_points({}) == std::vector<SearchPoint>{{}});
}

TEST_CASE("random points are functions of seed and number, lie in their ranges and fill them evenly") {
  const std::vector<SearchDimension> dimensions = {list("a", {1, 2, 3, 4}), range("b", 2, 5, false, true),
                                                   range("c", 1e-4, 1e-1, true, false), range("d", 1, 8, true, true)};
  const auto points = random_points(dimensions, 7, 3000);
  REQUIRE(points.size() == 3000);
  CHECK(std::set<SearchPoint>(points.begin(), points.end()).size() == 3000);
  const auto fewer = random_points(dimensions, 7, 10);
  CHECK(std::equal(fewer.begin(), fewer.end(), points.begin()));
  CHECK(random_points(dimensions, 8, 10) != fewer);
  std::map<std::int64_t, int> of_b, of_d;
  int low_decade = 0;
  for (const SearchPoint& point : points) {
    ++of_b[point[1].get<std::int64_t>()];
    ++of_d[point[3].get<std::int64_t>()];
    const double c = point[2].get<double>();
    CHECK(c >= 1e-4);
    CHECK(c <= 1e-1);
    low_decade += c < 1e-3 ? 1 : 0;
  }
  CHECK(of_b.size() == 4);
  for (const auto& [value, n] : of_b) CHECK(std::abs(n - 750) < 120);  // five deviations
  CHECK(std::abs(low_decade - 1000) < 130);
  // x of a logarithmic range comes with probability log((x + 1) / x) / log 9
  CHECK(of_d.size() == 8);
  for (const auto& [value, n] : of_d)
    CHECK(std::abs(n - 3000 * std::log1p(1.0 / static_cast<double>(value)) / std::log(9.0)) < 130);
}

TEST_CASE("a search that has fewer points gives them all") {
  const std::vector<SearchDimension> dimensions = {list("a", {1, 2, 3}), range("b", 0, 1, false, true)};
  const auto points = random_points(dimensions, 1, 100);
  CHECK(std::set<SearchPoint>(points.begin(), points.end()).size() == 6);
  CHECK(points.size() == 6);
  // As numbers compare, not as they are written; text is never a number.
  const std::vector<SearchDimension> same = {list("a", {1, 1.0, 2.5, "1"})};
  CHECK(random_points(same, 1, 100).size() == 3);
}

TEST_CASE("halving has rounds of fewer settings and more epochs") {
  using Rounds = std::vector<HalvingRound>;
  CHECK(halving_rounds(27, 1, 27, 3) == Rounds{{27, 1}, {9, 3}, {3, 9}, {1, 27}});
  CHECK(halving_rounds(10, 4, 30, 2) == Rounds{{10, 4}, {5, 8}, {2, 16}, {1, 30}});
  CHECK(halving_rounds(2, 1, 100, 10) == Rounds{{2, 1}, {1, 10}, {1, 100}});
  CHECK(halving_rounds(5, 7, 7, 3) == Rounds{{5, 7}});
  CHECK(halving_rounds(3, 1 << 30, 2147483647, 1000).back() == HalvingRound{1, 2147483647});
  CHECK_THROWS_AS(halving_rounds(0, 1, 2, 2), ConfigError);
  CHECK_THROWS_AS(halving_rounds(1, 3, 2, 2), ConfigError);
  CHECK_THROWS_AS(halving_rounds(1, 1, 2, 1), ConfigError);
}

TEST_CASE("searches that cannot be made are refused by name") {
  const auto error = [](const SearchDimension& d) {
    return error_of<ConfigError>([&] { grid_points(std::vector<SearchDimension>{d}); });
  };
  CHECK(has(error(range("x", 2, 1, false, false, 2)), "x: the range"));
  CHECK(has(error(range("x", 1, 1, false, false, 2)), "empty"));
  CHECK(has(error(range("x", 0, 1, true, false, 2)), "above 0"));
  CHECK(has(error(range("x", 0, INFINITY, false, false, 2)), "finite"));
  CHECK(has(error(range("x", 0, NAN, false, false, 2)), "finite"));
  CHECK(has(error(range("x", 0.5, 3, false, true, 2)), "whole"));
  CHECK(has(error(range("x", 0, 3, false, true)), "steps"));
  CHECK(has(error(range("x", 0, 3, false, true, 1)), "steps"));
  const std::vector<SearchDimension> large = {range("x", 0, 1, false, false, 1000),
                                              range("y", 0, 1, false, false, 1000)};
  CHECK(has(error_of<ConfigError>([&] { grid_points(large); }), "more than"));
  CHECK_THROWS_AS(random_points(large, 1, 0), ConfigError);
  CHECK_THROWS_AS(random_points(large, 1, 1'000'000), ConfigError);
}

}  // namespace run_search_test
