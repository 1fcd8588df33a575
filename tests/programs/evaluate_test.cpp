// `rearm evaluate`: how sure the metrics are, whose they are, and two models beside each other.
#include "process.hpp"

#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/backend/cpu/ranking.hpp>
#include <rearm/eval/significance.hpp>
#include <rearm/eval/slices.hpp>
#include <rearm/run/model_file.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace programs_evaluate_test {

using namespace rearm;
using nlohmann::json;
using rearm::test::check_refused;
using rearm::test::Folder;
using rearm::test::has;

namespace {

/// A data set whose first three users have nothing in train, and two models of it.
struct Bench {
  Folder data, folder;
  Dataset dataset = test::write_data(data);
  std::string first, second;

  Bench() {
    std::vector<std::int64_t> users, items;
    for (std::size_t e = 0; e < dataset.train.users.size(); ++e) {
      if (dataset.train.users[e] < 3) continue;
      users.push_back(dataset.train.users[e]);
      items.push_back(dataset.train.items[e]);
    }
    data.write_pairs("train.npy", users, items);
    dataset.train.users.assign(users.begin(), users.end());
    dataset.train.items.assign(items.begin(), items.end());
    first = train("light_gcn", {"--epochs", "3"});
    second = train("bpr_mf", {"--epochs", "1", "--count-cold-users", "false"});
  }
  std::string train(const std::string& model, std::vector<std::string> more) const {
    more.insert(more.end(), {data.path().string(), "--model", model, "--batch-size", "64", "--embedding-dim", "8",
                             "--out", (folder / model).string()});
    const test::Finished r = test::run(folder, "rearm train", more);
    INFO("stderr: " << r.err);
    REQUIRE(r.status == 0);
    return (folder / model / "model.safetensors").string();
  }
  json evaluate(const std::string& model, std::vector<std::string> more) const {
    more.insert(more.begin(), {model, data.path().string(), "--format", "json"});
    const test::Finished r = test::run(folder, "rearm evaluate", more);
    INFO("stderr: " << r.err);
    REQUIRE(r.status == 0);
    return json::parse(r.out);
  }
  /// A file of --per-user: a row of numbers a user.
  std::map<std::string, std::vector<double>> per_user(const std::string& name) const {
    std::map<std::string, std::vector<double>> out;
    std::istringstream in(test::read_file(folder / name));
    std::string line;
    std::getline(in, line);
    while (std::getline(in, line)) {
      std::istringstream fields(line);
      std::string user;
      std::getline(fields, user, '\t');
      for (double value = 0; fields >> value;) out[user].push_back(value);
    }
    return out;
  }
};

}  // namespace

TEST_CASE("evaluate's metrics are the run's own, and their intervals those of its users") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const json result = json::parse(test::read_file(bench.folder / "light_gcn/result.json"));
  const json plain = bench.evaluate(bench.first, {});
  for (const auto& [name, value] : result["test"].items())
    CHECK(plain["metrics"][name].get<double>() == doctest::Approx(value.get<double>()).epsilon(1e-12));
  CHECK_FALSE(plain.contains("intervals"));

  const json sure = bench.evaluate(
      bench.first, {"--confidence", "0.9", "--draws", "500", "--draws-seed", "4", "--metrics", "recall,ndcg",
                    "--cutoffs", "5", "--per-user", (bench.folder / "users.tsv").string()});
  const auto users = bench.per_user("users.tsv");
  CHECK(users.size() == sure["users"]);
  Matrix<double> values(static_cast<Index>(users.size()), 2);
  Index row = 0;
  // The order of the file is that of the users, which the draws go by.
  std::vector<std::pair<int, std::vector<double>>> in_order;
  for (const auto& [user, of] : users) in_order.emplace_back(std::stoi(user), of);
  std::ranges::sort(in_order);
  for (const auto& [user, of] : in_order) std::ranges::copy(of, values.row(row++));
  const auto means = bootstrap_means(values.view(), {.confidence = 0.9, .draws = 500, .seed = 4});
  for (const auto& [name, column] : {std::pair{"recall@5", 0}, std::pair{"ndcg@5", 1}}) {
    const auto c = static_cast<std::size_t>(column);
    CHECK(sure["metrics"][name].get<double>() == doctest::Approx(means[c].mean));
    CHECK(sure["intervals"][name][0].get<double>() == doctest::Approx(means[c].low));
    CHECK(sure["intervals"][name][1].get<double>() == doctest::Approx(means[c].high));
    CHECK(means[c].low < means[c].high);
  }
  const test::Finished text = test::run(
      bench.folder, "rearm evaluate",
      {bench.first, bench.data.path().string(), "--metrics", "recall", "--cutoffs", "5", "--confidence", "0.9"});
  CHECK(std::ranges::count(text.out, '\t') == 3);
}

TEST_CASE("users without train pairs are counted, or left out as MMRec does") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const json counted = bench.evaluate(bench.first, {"--slices"});
  const json left_out = bench.evaluate(bench.first, {"--cold-users", "leave-out"});
  CHECK(counted["users"].get<int>() - left_out["users"].get<int>() == counted["slices"]["users"]["cold"]["users"]);
  CHECK(counted["slices"]["users"]["cold"]["users"] == 3);
  // As the run did that made the model.
  CHECK(bench.evaluate(bench.first, {})["users"] == counted["users"]);
  CHECK(bench.evaluate(bench.second, {})["users"] == left_out["users"]);
  CHECK(bench.evaluate(bench.second, {"--cold-users", "count"})["users"] == counted["users"]);
  // Slices of users part them: their means, weighted, are the mean of all.
  double sum = 0;
  int n = 0;
  for (const auto& [name, slice] : counted["slices"]["users"].items()) {
    n += slice["users"].get<int>();
    if (slice["users"] > 0) sum += slice["users"].get<double>() * slice["metrics"]["ndcg@20"].get<double>();
  }
  CHECK(n == counted["users"]);
  CHECK(sum / n == doctest::Approx(counted["metrics"]["ndcg@20"].get<double>()));
  CHECK(counted["slices"]["items"]["tail"]["items_in_slice"] > counted["slices"]["items"]["head"]["items_in_slice"]);
}

TEST_CASE("coverage, Gini index and novelty of the lists, counted once more") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const json lists = bench.evaluate(bench.first, {"--lists", "--cutoffs", "7"})["lists"];
  const auto model = load_model<CpuBackend<float>>(bench.first);
  Context<CpuBackend<float>> ctx({.threads = 1});
  const Adjacency relevant = items_by_user(bench.dataset.test, 60), train = items_by_user(bench.dataset.train, 60);
  std::map<Id, int> times;
  std::map<Id, int> popularity;
  for (const Id item : train.ids) ++popularity[item];
  double novelty = 0, popular = 0;
  int n = 0;
  for (Id u = 0; u < 60; ++u) {
    if (relevant.degree(u) == 0) continue;
    const std::vector<Id> user = {u};
    const auto top = model.recommend(ctx, user, 7);
    for (Index r = 0; r < 7; ++r, ++n) {
      ++times[top.ids(0, r)];
      popular += popularity[top.ids(0, r)];
      novelty += std::log2(60.0 / std::max(1, popularity[top.ids(0, r)]));
    }
  }
  double differences = 0;  // Gini by its other definition: mean absolute difference over twice the mean
  for (Id a = 0; a < 200; ++a)
    for (Id b = 0; b < 200; ++b) differences += std::abs(times[a] - times[b]);
  const double gini = differences / (2 * 200.0 * n);
  const auto n_seen = std::ranges::count_if(times, [](const auto& entry) { return entry.second > 0; });
  CHECK(lists["coverage@7"].get<double>() == doctest::Approx(static_cast<double>(n_seen) / 200));
  CHECK(lists["gini@7"].get<double>() == doctest::Approx(gini));
  CHECK(lists["novelty@7"].get<double>() == doctest::Approx(novelty / n));
  CHECK(lists["popularity@7"].get<double>() == doctest::Approx(popular / n));
}

TEST_CASE("two models are compared user by user") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const auto compare = [&](const std::string& a, const std::string& b) {
    return bench.evaluate(a, {"--compare", b, "--metrics", "recall,ndcg", "--cutoffs", "10,20", "--cold-users", "count",
                              "--per-user", (bench.folder / "users.tsv").string()})["comparison"];
  };
  const json ours = compare(bench.first, bench.second);
  const auto of_first = bench.per_user("users.tsv");
  const json theirs = compare(bench.second, bench.first);
  const auto of_second = bench.per_user("users.tsv");
  REQUIRE(ours["metrics"].size() == 4);
  for (const auto& [name, of] : ours["metrics"].items()) {
    const std::string metric = name;
    INFO("metric: " << metric);
    const json& turned = theirs["metrics"][name];
    CHECK(of["difference"].get<double>() == doctest::Approx(-turned["difference"].get<double>()));
    CHECK(of["p_wilcoxon"].get<double>() == doctest::Approx(turned["p_wilcoxon"].get<double>()));
    CHECK(of["ours"].get<double>() - of["theirs"].get<double>() ==
          doctest::Approx(of["difference"].get<double>()).epsilon(1e-9));
    CHECK(of["low"] <= of["difference"]);
    CHECK(of["difference"] <= of["high"]);
    CHECK(of["p_bootstrap_holm"] >= of["p_bootstrap"]);
    CHECK(of["p_wilcoxon_holm"] >= of["p_wilcoxon"]);
    // ordered by name here, by metric and cutoff in the file
    const std::map<std::string, std::size_t> columns = {
        {"recall@10", 0}, {"recall@20", 1}, {"ndcg@10", 2}, {"ndcg@20", 3}};
    const std::size_t column = columns.at(name);
    std::vector<double> differences;
    for (const auto& [user, values] : of_first) differences.push_back(values[column] - of_second.at(user)[column]);
    CHECK(static_cast<int>(differences.size()) == ours["users"]);
    CHECK(of["p_wilcoxon"].get<double>() == doctest::Approx(signed_rank_test(differences).p).epsilon(1e-6));
  }
  const json same = compare(bench.first, bench.first);
  for (const auto& [name, of] : same["metrics"].items()) {
    CHECK(of["difference"] == 0);
    CHECK(of["p_wilcoxon"] == 1);
    CHECK(of["p_bootstrap"] == 1);
  }
  const test::Finished text =
      test::run(bench.folder, "rearm evaluate", {bench.first, bench.data.path().string(), "--compare", bench.second});
  CHECK(text.status == 0);
  CHECK(has(text.out, "metric\tours\ttheirs\tdifference\tlow\thigh\tp_bootstrap\tp_wilcoxon\t"));
}

TEST_CASE("odd uses of evaluate are refused") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const auto refused = [&](std::vector<std::string> more, const std::vector<std::string>& parts) {
    more.insert(more.begin(), {bench.first, bench.data.path().string()});
    check_refused(bench.folder, "rearm evaluate", more, parts);
  };
  refused({"--confidence", "1"}, {"--confidence 1"});
  refused({"--confidence", "-0.5"}, {"--confidence -0.5"});
  refused({"--confidence", "0.9", "--draws", "0"}, {"--draws 0"});
  refused({"--compare", (bench.folder / "none.safetensors").string()}, {"none.safetensors"});
  refused({"--of", "new-users", "--slices"}, {"--slices"});
  refused({"--of", "new-items", "--compare", bench.second}, {"--compare"});
  refused({"--cold-users", "some"}, {"--cold-users"});
  refused({"--cutoffs", "0"}, {"K = 0"});
}

}  // namespace programs_evaluate_test
