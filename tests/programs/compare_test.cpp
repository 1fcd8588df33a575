// `rearm compare`: its numbers are those of the runs and of `rearm evaluate`, and what cannot be compared is refused.
#include "process.hpp"

#include <tests/support/shared.hpp>

#include <rearm/eval/significance.hpp>

#include <nlohmann/json.hpp>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

namespace programs_compare_test {

using namespace rearm;
using nlohmann::json;
using rearm::test::check_refused;
using rearm::test::Folder;
using rearm::test::has;

TEST_CASE("models are compared over their seeds, a sweep's and single runs alike") {
  REARM_NEEDS_PROGRAMS();
  const Folder data, other, folder;
  test::write_data(data);
  folder.write("sweep.toml", R"(
[sweep]
seeds = [1, 2]
[train]
batch_size = 64
epochs = 2
[model]
name = ["light_gcn", "bpr_mf"]
embedding_dim = 8
[model.light_gcn]
n_layers = [1, 2]
)");
  const std::string dir = data.path().string(), sweep = (folder / "sweep").string(), out = (folder / "out").string();
  const auto run = [&](const std::string& name, const std::vector<std::string>& arguments) {
    const test::Finished r = test::run(folder, name, arguments);
    INFO("stderr: " << r.err);
    REQUIRE(r.status == 0);
    return r;
  };
  const test::Finished swept = run("rearm sweep", {(folder / "sweep.toml").string(), dir, "--out", sweep});
  CHECK(has(swept.err, " compare " + dir + ' ' + sweep));

  const test::Finished r = run("rearm compare", {dir, sweep, "--out", out, "--threads", "1"});
  CHECK(r.out == test::read_file(folder / "out/compare.txt"));
  CHECK(has(r.out, "features: made up"));
  CHECK(has(test::read_file(folder / "out/compare.md"), "| light_gcn | 2 |"));
  const auto table = test::csv_rows(folder / "out/compare.csv"), tests = test::csv_rows(folder / "out/tests.csv");
  REQUIRE(table.size() == 3);
  CHECK(table[0] == std::vector<std::string>{"model", "seeds", "valid recall@20", "test recall@10", "test recall@20",
                                             "test ndcg@10", "test ndcg@20"});
  // Means and deviations are those of the runs' own results, of each model's best settings on validation.
  const json best = json::parse(test::read_file(folder / "sweep/best.json"));
  const auto result = [&](const std::string& name) {
    return json::parse(test::read_file(folder / ("sweep/" + name + "/result.json")));
  };
  std::string first_rows[2];
  for (std::size_t row = 1; row < table.size(); ++row) {
    const json& runs = best.at("models").at(table[row][0]);
    REQUIRE(runs.size() == 2);
    first_rows[row - 1] = sweep + '/' + runs[0].get<std::string>();
    for (std::size_t c = 2; c < table[row].size(); ++c) {
      const std::size_t blank = table[0][c].find(' ');
      std::vector<double> values;
      for (const json& name : runs)
        values.push_back(
            result(name.get<std::string>()).at(table[0][c].substr(0, blank)).at(table[0][c].substr(blank + 1)));
      const Spread s = spread(values);
      char expected[64];
      std::snprintf(expected, sizeof expected, "%.4f ± %.4f", s.mean, s.deviation);
      CHECK(table[row][c] == expected);
    }
  }
  CHECK(table[1][2] >= table[2][2]);
  REQUIRE(tests.size() == 5);
  CHECK(tests[0][0] == table[1][0] + " against");
  CHECK(tests[1][0] == table[2][0]);

  // Of one seed each the tests are those of `rearm evaluate --compare`.
  const test::Finished one =
      run("rearm compare", {dir, first_rows[0], first_rows[1] + "/model.safetensors", "--out", out, "--metrics",
                            "recall", "--cutoffs", "5", "--against", table[1][0]});
  CHECK(has(one.out, "one seed says nothing of others"));
  const auto of_one = test::csv_rows(folder / "out/tests.csv");
  const json pair = json::parse(run("rearm evaluate", {first_rows[0], dir, "--compare", first_rows[1], "--metrics",
                                                       "recall", "--cutoffs", "5", "--format", "json"})
                                    .out)
                        .at("comparison")
                        .at("metrics")
                        .at("recall@5");
  REQUIRE(of_one.size() == 2);
  const auto text = [](const char* format, double x) {
    char value[64];
    std::snprintf(value, sizeof value, format, x);
    return std::string(value);
  };
  CHECK(of_one[1][2] == text("%+.4f", pair.at("difference")));
  CHECK(of_one[1][4] == text("%.3g", pair.at("p_bootstrap")));
  CHECK(of_one[1][6] == text("%.3g", pair.at("p_wilcoxon")));

  // Rows of one model are told apart by what differs.
  const std::string shallow = sweep + "/runs/t001-s1", deep = sweep + "/runs/t002-s1";
  CHECK(has(run("rearm compare", {dir, shallow, deep}).out, "light_gcn n_layers=1"));

  // Weights of modalities are chosen by each run; they tell rows apart only where a seed has several.
  const auto weighted = [&](const std::string& name, const std::string& weights, const std::string& seed) {
    const std::string at = (folder / name).string();
    run("rearm train", test::with_small_rearm(
                           {dir, "--out", at, "--users-modality-weights", weights, "--seed", seed, "--epochs", "1"}));
    return at;
  };
  const std::string a = weighted("a", "1,0", "1"), b = weighted("b", "0,1", "2"), c = weighted("c", "0,1", "1");
  const std::string one_row = run("rearm compare", {dir, a, b, shallow}).out;
  CHECK(has(one_row, "the runs of rearm have weights of modalities of their own"));
  CHECK(has(one_row, " ± "));
  const std::string rows = run("rearm compare", {dir, a, b, c}).out;
  CHECK(has(rows, "users.modality_weights=[0.0,1.0]"));
  CHECK(has(rows, "users.modality_weights=[1.0,0.0]"));

  check_refused(folder, "rearm compare", {dir, shallow}, {"at least two models or settings"});
  CHECK(has(run("rearm compare", {dir, shallow, shallow, deep}).out, "is left out: " + shallow));
  check_refused(folder, "rearm compare", {dir, shallow, deep, "--against", "rearm"},
                {"--against 'rearm'", "light_gcn n_layers=2"});
  check_refused(folder, "rearm compare", {dir, shallow, deep, "--by", "recall"}, {"--by 'recall'", "recall@20"});
  check_refused(folder, "rearm compare", {dir, shallow, folder.path().string()}, {"without model.safetensors"});
  test::write_data(other);
  other.write_pairs("test.npy", {0, 1}, {2, 3});
  check_refused(folder, "rearm compare", {other.path().string(), shallow, deep}, {"other data", "test pairs"});
  std::filesystem::remove(folder / "sweep/best.json");
  check_refused(folder, "rearm compare", {dir, sweep}, {"has not ended"});
}

}  // namespace programs_compare_test
