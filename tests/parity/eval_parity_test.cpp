#include "tests/support/backend.hpp"

#include <rearm/data/npy.hpp>
#include <rearm/eval/evaluator.hpp>
#include <tests/support/shared.hpp>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <cctype>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

namespace parity_eval_parity_test {

namespace {

using rearm::Id;
using rearm::Index;
using rearm::Metric;

rearm::Adjacency lists(const std::filesystem::path& path, Index n_users) {
  const rearm::Interactions pairs = rearm::detail::read_pairs_npy(path).pairs;
  return rearm::group(pairs.users, pairs.items, n_users);
}

}  // namespace

TEST_CASE("parity: top-20 lists from given scores are exact and metrics agree to 1e-9") {
  const auto folders = rearm::test::case_folders("REARM_PARITY_DIR", "parity");
  REARM_SKIP_UNLESS(!folders.empty(), "parity of the evaluator: no parity folder");
  for (const auto& folder : folders) {
    CAPTURE(folder.string());
    nlohmann::json manifest;
    std::ifstream(folder / "manifest.json") >> manifest;
    const auto n_users = manifest.at("n_users").get<Index>();
    const auto n_items = manifest.at("n_items").get<Index>();
    const auto scores = rearm::read_npy<double>(folder / "scores_after.npy");
    const auto users = rearm::read_npy<std::int64_t>(folder / "top20_users.npy");
    const auto items = rearm::read_npy<std::int64_t>(folder / "top20_items.npy");
    REQUIRE(scores.shape == std::vector<Index>{n_users, n_items});
    const rearm::Adjacency train = lists(folder / "train.npy", n_users);
    const rearm::Adjacency test = lists(folder / "test.npy", n_users);
    const Index n_lists = users.shape[0], length = items.shape[1];
    const std::vector<Id> who(users.values.begin(), users.values.end());

    // Scores times the identity are the scores, bit by bit.
    rearm::Matrix<double> scores_here(n_users, n_items), identity(n_items, n_items);
    std::ranges::copy(scores.values, scores_here.data());
    for (Index i = 0; i < n_items; ++i) identity(i, i) = 1;
    const auto user_rows = rearm::test::upload(scores_here), item_rows = rearm::test::upload(identity);
    rearm::Context<rearm::test::TestBackend<double>> ctx(rearm::test::test_options());
    const auto best = rearm::recommend(ctx, user_rows.view(), who, item_rows.view(), &train, length);
    Index wrong = 0;
    for (Index i = 0; i < n_lists; ++i)
      for (Index r = 0; r < length; ++r) {
        wrong += best.ids(i, r) != items.values[static_cast<std::size_t>(i * length + r)];
        const Id id = best.ids(i, r);
        if (id >= 0)
          wrong += best.scores(i, r) !=
                   scores.values[static_cast<std::size_t>(who[static_cast<std::size_t>(i)] * n_items + id)];
      }
    CHECK(wrong == 0);

    std::vector<Index> ks;
    std::vector<Metric> metrics;
    std::map<std::string, double> expected;
    for (const auto& [name, value] : manifest.at("metrics").items()) {
      const auto at = name.find('@');
      std::string lower = name.substr(0, at);
      for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      Metric metric{};
      rearm::parse(lower, metric);
      const Index k = std::stoll(name.substr(at + 1));
      if (std::ranges::find(ks, k) == ks.end()) ks.push_back(k);
      if (std::ranges::find(metrics, metric) == metrics.end()) metrics.push_back(metric);
      expected[rearm::metric_name(metric, k)] = value.get<double>();
    }
    REQUIRE(expected.size() >= 12);
    const auto values = rearm::evaluate(ctx, user_rows.view(), item_rows.view(), &train, test, ks, metrics);
    for (const auto& entry : expected) {
      CAPTURE(entry.first);
      CHECK(std::abs(values.at(entry.first) - entry.second) < 1e-9);
    }
  }
}

}  // namespace parity_eval_parity_test
