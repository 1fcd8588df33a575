#include <rearm/core/matrix.hpp>
#include <rearm/core/random.hpp>
#include <rearm/eval/metrics.hpp>
#include <rearm/eval/slices.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <string>
#include <vector>

namespace eval_slices_test {

using rearm::Adjacency;
using rearm::Id;
using rearm::Index;

namespace {

const rearm::Slice& named(const std::vector<rearm::Slice>& slices, const std::string& name) {
  return *std::ranges::find(slices, name, &rearm::Slice::name);
}

}  // namespace

TEST_CASE("items by popularity, counted by hand") {
  // Items 0 to 9 have 0, 1, 1, 2, 2, 4, 0, 10, 10, 20 train users.
  const std::vector<Index> counts = {0, 1, 1, 2, 2, 4, 0, 10, 10, 20};
  const auto slices = rearm::item_slices(counts);
  CHECK(named(slices, "cold").ids == std::vector<Id>{0, 6});
  CHECK(named(slices, "tail").ids == std::vector<Id>{1, 2, 3, 4, 5, 7});  // 6 of 8
  CHECK(named(slices, "head").ids == std::vector<Id>{8, 9});
  // Fifths of 50 pairs: 1 + 1 + 2 + 2 + 4 = 10, then 10, then 10, then 20 for two fifths.
  CHECK(named(slices, "popularity-1").ids == std::vector<Id>{1, 2, 3, 4, 5});
  CHECK(named(slices, "popularity-2").ids == std::vector<Id>{7});
  CHECK(named(slices, "popularity-3").ids == std::vector<Id>{8});
  CHECK(named(slices, "popularity-4").ids == std::vector<Id>{9});
  CHECK(named(slices, "popularity-5").ids.empty());
}

TEST_CASE("slices part the users and items, whatever the counts") {
  const rearm::RandomKey key{3, 4, 0};
  std::uint64_t draw = 0;
  for (int round = 0; round < 50; ++round) {
    std::vector<Index> counts;
    Adjacency train;
    for (std::uint32_t n = key.below(draw++, 40), i = 0; i < n; ++i) {
      counts.push_back(key.below(draw++, 6));
      for (Id item = 0; item < static_cast<Id>(counts.back()); ++item) train.ids.push_back(item);
      train.offsets.push_back(static_cast<Index>(train.ids.size()));
    }
    const auto parts = [&](const std::vector<rearm::Slice>& slices, const std::vector<std::string>& names) {
      std::vector<Id> all;
      for (const std::string& name : names) {
        const auto& ids = named(slices, name).ids;
        CHECK(std::ranges::is_sorted(ids));
        all.insert(all.end(), ids.begin(), ids.end());
      }
      std::ranges::sort(all);
      std::vector<Id> expected(counts.size());
      std::iota(expected.begin(), expected.end(), Id{0});
      CHECK(all == expected);
    };
    const auto items = rearm::item_slices(counts);
    parts(items, {"cold", "tail", "head"});
    parts(items, {"cold", "popularity-1", "popularity-2", "popularity-3", "popularity-4", "popularity-5"});
    parts(rearm::user_slices(train), {"cold", "activity-1", "activity-2", "activity-3", "activity-4"});
  }
}

TEST_CASE("lists of some users, or some items") {
  const Adjacency lists{{0, 2, 3, 6}, {1, 4, 2, 0, 1, 5}};
  const std::vector<Id> items = {1, 2, 5}, users = {0, 2};
  CHECK(rearm::keep_items(lists, items).ids == std::vector<Id>{1, 2, 1, 5});
  CHECK(rearm::keep_items(lists, items).offsets == std::vector<Index>{0, 1, 2, 4});
  CHECK(rearm::keep_users(lists, users).ids == std::vector<Id>{1, 4, 0, 1, 5});
  CHECK(rearm::keep_users(lists, users).offsets == std::vector<Index>{0, 2, 2, 5});
  CHECK(rearm::train_counts(lists, 6) == std::vector<Index>{1, 2, 1, 0, 1, 1});
  CHECK_THROWS_AS(rearm::train_counts(lists, 5), rearm::DataError);
}

TEST_CASE("coverage, Gini index, novelty and popularity of hand-made lists") {
  rearm::Matrix<Id> ranked(3, 2);
  const std::vector<Id> entries = {0, 1, 0, 2, 0, -1};
  std::ranges::copy(entries, ranked.data());
  const std::vector<Index> counts = {4, 2, 0, 1};  // of 8 users
  const auto s = rearm::list_statistics(ranked.view(), 2, counts, 8);
  CHECK(s.coverage == doctest::Approx(3.0 / 4));
  CHECK(s.popularity == doctest::Approx((3 * 4 + 2 + 0) / 5.0));
  CHECK(s.novelty == doctest::Approx((3 * 1 + 2 + 3) / 5.0));
  // Times 0, 1, 1, 3: sum of (2 i - 5) t_i = -1 + 1 + 9 = 9 of 4 * 5.
  CHECK(s.gini == doctest::Approx(9.0 / 20));
  const auto first = rearm::list_statistics(ranked.view(), 1, counts, 8);
  CHECK(first.coverage == doctest::Approx(1.0 / 4));
  CHECK(first.gini == doctest::Approx(3.0 / 4));  // one item alone: 1 - 1 / n
  rearm::Matrix<Id> even(1, 4);
  std::iota(even.data(), even.data() + 4, Id{0});
  CHECK(rearm::list_statistics(even.view(), 4, counts, 8).gini == doctest::Approx(0));
  CHECK_THROWS_AS(rearm::list_statistics(ranked.view(), 0, counts, 8), rearm::ConfigError);
  CHECK_THROWS_AS(rearm::list_statistics(ranked.view(), 2, std::vector<Index>{1}, 8), rearm::DataError);
  even(0, 0) = -1;
  CHECK_THROWS_AS(rearm::list_statistics(even.view(), 1, counts, 8), rearm::DataError);
}

TEST_CASE("metrics of users have the mean of all, and a slice's are the weighted mean of the parts") {
  const rearm::RandomKey key{8, 4, 0};
  std::uint64_t draw = 0;
  rearm::Matrix<Id> ranked(40, 10);
  Adjacency relevant;
  std::vector<Id> users(40);
  std::iota(users.begin(), users.end(), Id{0});
  for (Index u = 0; u < 40; ++u) {
    std::set<Id> truth;
    for (std::uint32_t n = key.below(draw++, 4); truth.size() < n;)
      truth.insert(static_cast<Id>(key.below(draw++, 30)));
    relevant.ids.insert(relevant.ids.end(), truth.begin(), truth.end());
    relevant.offsets.push_back(static_cast<Index>(relevant.ids.size()));
    std::set<Id> list;
    while (list.size() < 10) list.insert(static_cast<Id>(key.below(draw++, 30)));
    std::ranges::copy(list, ranked.row(u));
  }
  const std::vector<Index> ks = {3, 10};
  const auto of_users = rearm::user_metrics(ranked.view(), users, relevant, ks, rearm::all_metrics);
  const auto all = rearm::mean_metrics(ranked.view(), users, relevant, ks, rearm::all_metrics);
  CHECK(of_users.mean() == all);
  CHECK(of_users.names.size() == 12);
  CHECK(of_users.values.rows() == static_cast<Index>(of_users.users.size()));
  for (const Id u : of_users.users) CHECK(relevant.degree(u) > 0);
  std::vector<Id> even, odd;
  for (Id u = 0; u < 40; ++u) (u % 2 == 0 ? even : odd).push_back(u);
  const auto a = rearm::user_metrics(ranked.view(), users, rearm::keep_users(relevant, even), ks, rearm::all_metrics);
  const auto b = rearm::user_metrics(ranked.view(), users, rearm::keep_users(relevant, odd), ks, rearm::all_metrics);
  const double n_a = static_cast<double>(a.users.size()), n_b = static_cast<double>(b.users.size());
  for (const auto& [name, value] : all)
    CHECK((a.mean().at(name) * n_a + b.mean().at(name) * n_b) / (n_a + n_b) == doctest::Approx(value).epsilon(1e-12));
}

}  // namespace eval_slices_test
