#include "tests/support/scalars.hpp"

#include <rearm/core/random.hpp>
#include <rearm/eval/top_k.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <vector>

namespace eval_top_k_test {

namespace {

template <class T>
std::vector<rearm::Scored<T>> sorted_candidates(const std::vector<T>& scores) {
  std::vector<rearm::Scored<T>> all;
  for (std::size_t i = 0; i < scores.size(); ++i)
    if (scores[i] > -std::numeric_limits<T>::infinity()) all.push_back({static_cast<rearm::Id>(i), scores[i]});
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.score > b.score; });
  return all;
}

}  // namespace

TEST_CASE_TEMPLATE("top_k equals a full stable sort, ties included", T, REARM_TEST_SCALARS) {
  const rearm::RandomKey key{7, 1, 0};
  std::uint64_t draw = 0;
  for (const int n : {1, 2, 5, 40, 300})
    for (const std::uint32_t levels : {1U, 3U, 1000U})  // few levels: many ties
      for (const int k : {1, 2, 7, 40, 500}) {
        std::vector<T> scores;
        for (int i = 0; i < n; ++i) {
          const std::uint32_t level = key.below(draw++, levels + 1);
          scores.push_back(level == levels ? -std::numeric_limits<T>::infinity() : static_cast<T>(level) - T{1});
        }
        auto expected = sorted_candidates(scores);
        if (expected.size() > static_cast<std::size_t>(k)) expected.resize(static_cast<std::size_t>(k));
        CHECK(rearm::top_k<T>(scores, k) == expected);

        rearm::TopKSelector<T> in_pieces(k);
        in_pieces.offer(scores, 0);  // clear() must forget this
        in_pieces.clear();
        for (int begin = 0; begin < n; begin += 3)
          in_pieces.offer(std::span<const T>(scores).subspan(static_cast<std::size_t>(begin),
                                                             static_cast<std::size_t>(std::min(3, n - begin))),
                          begin);
        CHECK(std::ranges::equal(in_pieces.sorted(), expected));
      }
}

TEST_CASE("top_k refuses NaN wherever it stands, and k below 1") {
  for (std::size_t place = 0; place < 6; ++place) {
    std::vector<float> scores = {5, 4, 3, 2, 1, 0};
    scores[place] = std::numeric_limits<float>::quiet_NaN();
    CHECK_THROWS_AS(rearm::top_k<float>(scores, 2), rearm::NumericError);
  }
  const std::vector<float> scores = {1};
  CHECK_THROWS_AS(rearm::top_k<float>(scores, 0), rearm::ConfigError);
  CHECK_THROWS_AS(rearm::top_k<float>(scores, -1), rearm::ConfigError);
}

}  // namespace eval_top_k_test
