// `rearm sweep`: every way to search, its tables, and that kills, failures and other files do no harm.
#include "process.hpp"

#include <tests/support/shared.hpp>

#include <rearm/eval/significance.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace programs_sweep_test {

using namespace rearm;
using nlohmann::json;
using rearm::test::check_refused;
using rearm::test::Folder;
using rearm::test::has;
namespace fs = std::filesystem;

namespace {

struct Bench {
  Folder data, folder;
  Bench() { test::write_data(data); }

  std::vector<std::string> arguments(const std::string& out, const std::string& text,
                                     const std::vector<std::string>& more = {}) const {
    folder.write("sweep.toml", text);
    std::vector<std::string> all = {(folder / "sweep.toml").string(), data.path().string(), "--out",
                                    (folder / out).string(),          "--threads",          "1"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  test::Finished sweep(const std::string& out, const std::string& text,
                       const std::vector<std::string>& more = {}) const {
    const test::Finished r = test::run(folder, "rearm sweep", arguments(out, text, more));
    INFO("stderr: " << r.err);
    REQUIRE(r.status == 0);
    return r;
  }
  std::string bytes(const std::string& name) const { return test::read_file(folder / name); }
  json result(const std::string& out, const std::string& run) const {
    return json::parse(bytes(out + "/runs/" + run + "/result.json"));
  }
};

const std::string small = R"(
[train]
batch_size = 64
epochs = 2
)";

}  // namespace

TEST_CASE("a grid over models and settings: its table, its best settings, and nothing done twice") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const std::string text = R"(
[sweep]
seeds = [1, 2]
metric = "ndcg@10"
[model]
name = ["light_gcn", "bpr_mf"]
embedding_dim = 8
[model.light_gcn]
n_layers = [1, 2]
)" + small + "learning_rate = [0.003, 0.001]\n";
  const test::Finished planned = bench.sweep("out", text, {"--dry-run"});
  CHECK(std::ranges::count(planned.out, '\n') == 7);
  CHECK_FALSE(fs::exists(bench.folder / "out"));

  // A preset is for the models that have it.
  const test::Finished preset =
      bench.sweep("out", "[sweep]\npreset = 'baby'\n[model]\nname = ['rearm', 'light_gcn']\n", {"--dry-run"});
  CHECK(std::ranges::count(preset.out, '\n') == 3);

  const test::Finished r = bench.sweep("out", text, {"--jobs", "2"});
  CHECK(has(r.err, "[12/12] "));
  const auto table = test::csv_rows(bench.folder / "out/table.csv");
  REQUIRE(table.size() == 7);
  CHECK(table[0] == std::vector<std::string>{"place", "trial", "model", "n_layers", "learning_rate", "ndcg@10 (valid)",
                                             "seeds", "best epochs", "epochs"});
  // Ranks follow the means over the seeds, as the runs' own results have them.
  std::set<std::string> trials;
  double before = 2;
  for (std::size_t i = 1; i < table.size(); ++i) {
    const std::string& trial = table[i][1];
    trials.insert(trial);
    std::vector<double> values;
    for (const char* seed : {"-s1", "-s2"})
      values.push_back(bench.result("out", trial + seed).at("valid").at("ndcg@10").get<double>());
    const Spread s = spread(values);
    CHECK(s.mean <= before);
    before = s.mean;
    char expected[64];
    std::snprintf(expected, sizeof expected, "%.4f ± %.4f", s.mean, s.deviation);
    CHECK(table[i][5] == expected);
    CHECK(table[i][6] == "2/2");
    CHECK((table[i][3] == "-") == (table[i][2] == "bpr_mf"));
    const json settings = bench.result("out", trial + "-s1").at("settings");
    CHECK(settings.at("train").at("learning_rate").get<double>() == std::stod(table[i][4]));
    CHECK(settings.at("train").at("watch") == "ndcg@10");
    CHECK(settings.at("model").at("embedding_dim") == 8);
  }
  CHECK(trials.size() == 6);
  // Of the test split only the winner's metrics are told.
  const std::string winner = table[1][1];
  CHECK(has(r.out, "best: " + winner));
  CHECK(std::ranges::count(r.out, '\n') == 7 + 1 + 3);
  CHECK(r.out == bench.bytes("out/table.txt"));
  CHECK(has(bench.bytes("out/table.md"), "| place | trial |"));
  CHECK(has(r.out, "made up"));  // what the features are

  // The best settings are a settings file, and give the winner's run once more.
  const test::Finished again =
      test::run(bench.folder, "rearm train",
                {bench.data.path().string(), "--config", (bench.folder / "out/best.toml").string(), "--out",
                 (bench.folder / "again").string()});
  INFO("stderr: " << again.err);
  REQUIRE(again.status == 0);
  const json ours = json::parse(bench.bytes("again/result.json")), theirs = bench.result("out", winner + "-s1");
  CHECK(ours["settings"] == theirs["settings"]);
  CHECK(ours["valid"] == theirs["valid"]);

  const auto written = fs::last_write_time(bench.folder / ("out/runs/" + winner + "-s2/result.json"));
  const test::Finished second = bench.sweep("out", text, {"--jobs", "1"});
  CHECK(second.out == r.out);
  CHECK(second.err.empty());
  CHECK(fs::last_write_time(bench.folder / ("out/runs/" + winner + "-s2/result.json")) == written);

  // Another file, or other data, is another sweep.
  std::string other = text;
  other.replace(other.find("0.001"), 5, "0.002");
  check_refused(bench.folder, "rearm sweep", bench.arguments("out", other), {"train.learning_rate", "0.002", "--out"});
  const Folder data;
  test::write_data(data);
  data.write_pairs("test.npy", {0, 1}, {5, 6});
  std::vector<std::string> elsewhere = bench.arguments("out", text);
  elsewhere[1] = data.path().string();
  check_refused(bench.folder, "rearm sweep", elsewhere, {"what differs", "test"});
}

TEST_CASE("a sweep that is killed again and again ends with the table of one that is not") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const std::string text = R"(
[sweep]
method = "halving"
trials = 6
seed = 3
seeds = [1, 2]
min_epochs = 4
factor = 2
[model]
name = "light_gcn"
embedding_dim = { low = 4, high = 12 }
[train]
batch_size = 64
epochs = 16
patience = 100
learning_rate = { low = 1e-4, high = 1e-1, log = true }
)";
  const test::Finished whole = bench.sweep("whole", text, {"--jobs", "2"});
  CHECK(has(whole.err, "round 3: 1 settings up to epoch 16"));
  int kills = 0;
  for (int i = 0; i < 12; ++i) {
    const Folder other;
    test::Process process(other, "rearm sweep", bench.arguments("parts", text, {"--jobs", "2"}));
    std::this_thread::sleep_for(std::chrono::milliseconds(37 * (i + 1)));
    process.send(SIGKILL);
    const test::Finished r = process.wait();
    INFO("stderr: " << r.err);
    CHECK((r.status == 0 || r.status == 128 + SIGKILL));
    kills += r.status != 0 ? 1 : 0;
  }
  CHECK(kills > 3);
  bench.sweep("parts", text, {"--jobs", "1"});
  for (const char* file : {"table.csv", "best.toml"}) {
    INFO("file: " << file);
    CHECK(bench.bytes(std::string("parts/") + file) == bench.bytes(std::string("whole/") + file));
  }
  // Its rounds: 6, 3 and 1 settings; those that were left after a round rank below those that went on.
  const auto table = test::csv_rows(bench.folder / "whole/table.csv");
  REQUIRE(table.size() == 7);
  std::vector<std::string> epochs;
  for (std::size_t i = 1; i < table.size(); ++i) epochs.push_back(table[i].back());
  CHECK(epochs == std::vector<std::string>{"16 16", "8 8", "8 8", "4 4", "4 4", "4 4"});
}

TEST_CASE("a sweep that a signal ends has ended its runs, and goes on") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const std::string text = R"(
[model]
name = "light_gcn"
embedding_dim = [8, 9]
[train]
batch_size = 64
epochs = 1000000
patience = 1000000
)";
  test::Process process(bench.folder, "rearm sweep", bench.arguments("out", text, {"--jobs", "2"}));
  const auto begun = [&](const char* run) {
    const fs::path log = bench.folder / "out/runs" / run / "metrics.jsonl";
    std::error_code ignored;
    return fs::exists(log, ignored) && fs::file_size(log, ignored) > 0;
  };
  for (int i = 0; i < 6000 && !(begun("t001-s2025") && begun("t002-s2025")); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  process.send(SIGTERM);
  const test::Finished r = process.wait();
  INFO("stderr: " << r.err);
  CHECK(r.status == 128 + SIGTERM);
  // As it was typed, whatever it was.
  CHECK(has(r.out, "Continue with:\n  "));
  CHECK(has(r.out, " sweep " + (bench.folder / "sweep.toml").string()));
  CHECK(has(r.out, " --jobs 2\n"));
  for (const char* run : {"t001-s2025", "t002-s2025"}) {
    CHECK(bench.result("out", run).at("interrupted") == true);
    CHECK_FALSE(fs::exists(bench.folder / "out/runs" / run / ".lock"));
    CHECK_FALSE(fs::exists(bench.folder / "out/runs" / (std::string(run) + ".failed")));
  }
  CHECK_FALSE(fs::exists(bench.folder / "out/table.csv"));
}

TEST_CASE("trials that fail are told of, ranked last, and run again if asked to") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  // A rank that is not below the embedding's width is refused by the run; a learning rate like that makes no numbers.
  const std::string text = R"(
[model]
use_meta = true
embedding_dim = 8
rank = [9, 2]
users = { k = 5 }
items = { k = 4 }
)" + small + "learning_rate = [1e30, 1e-3]\n";
  const test::Finished r = bench.sweep("out", text);
  const auto table = test::csv_rows(bench.folder / "out/table.csv");
  REQUIRE(table.size() == 5);
  CHECK(table[1][0] == "1");
  CHECK(table[1][1] == "t004");
  for (std::size_t i = 2; i < 5; ++i) CHECK(table[i][0] == "-");
  CHECK(has(r.out, "t001 failed: rank = 9"));
  CHECK(has(r.out, "t003 failed: "));
  CHECK(has(r.out, "not finite"));
  CHECK(bench.sweep("out", text).out == r.out);
  const test::Finished retried = bench.sweep("out", text, {"--retry"});
  CHECK(retried.out == r.out);
  CHECK(has(retried.err, "t001-s2025 failed"));

  // None that ends well is a failure of the sweep.
  const test::Finished none =
      test::run(bench.folder, "rearm sweep",
                bench.arguments("none", "[model]\nuse_meta = true\nembedding_dim = 8\nrank = [8, 9]\n" + small));
  CHECK(none.status == 1);
  CHECK(has(none.err, "rank = 8"));
}

TEST_CASE("a limit of memory keeps runs apart, and refuses what does not fit at all") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const std::string text = "[sweep]\nseeds = [1, 2]\n[model]\nname = 'light_gcn'\nembedding_dim = [8, 1024]\n" + small;
  const test::Finished free = bench.sweep("free", text, {"--jobs", "3"});
  // A little less than a small and a large run take together: one of them may have to end and go on.
  const auto bytes = [&](const char* run) { return bench.result("free", run).at("peak_rss_bytes").get<double>(); };
  const std::string limit = std::to_string(0.95e-9 * (bytes("t001-s1") + bytes("t002-s1")));
  bench.sweep("tight", text, {"--jobs", "3", "--memory", limit});
  CHECK(bench.bytes("tight/table.csv") == bench.bytes("free/table.csv"));
  CHECK(has(free.out, "best: "));
  const test::Finished none =
      test::run(bench.folder, "rearm sweep", bench.arguments("none", text, {"--memory", "0.001"}));
  CHECK((none.status == 1 || none.status == 0));  // a run may end before it is looked at
  if (none.status == 1) CHECK(has(none.err, "needed more than the 0.0 GB of --memory"));
}

TEST_CASE("odd sweep files are refused with the place") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const auto refused = [&](const std::string& text, const std::vector<std::string>& parts) {
    INFO("text: " << text);
    check_refused(bench.folder, "rearm sweep", bench.arguments("out", text), parts);
    CHECK_FALSE(fs::exists(bench.folder / "out"));
  };
  refused("[train]\nlearning_rate = [1e-3, 'x']\n", {"sweep.toml:2:17", "learning_rate", "number"});
  refused("[train]\nlearning_rat = 1\n", {"sweep.toml:2", "learning_rat"});
  refused("[model]\nname = ['light_gcn', 'nothing']\n", {"sweep.toml:2", "nothing"});
  refused("[model]\nname = ['light_gcn', 'bpr_mf']\n[model.bpr_mf]\nn_layers = 2\n", {"sweep.toml:4", "bpr_mf"});
  refused("[train]\nseed = [1, 2]\n", {"sweep.seeds"});
  refused("[train]\nwatch = 'recall@10'\n", {"sweep.metric"});
  refused("[sweep]\nmetric = 'recall@7'\n", {"recall@7"});
  refused("[sweep]\nmethod = 'best'\n", {"sweep.toml:2", "grid, random, halving"});
  refused("[sweep]\nmethod = 'random'\n", {"sweep.trials"});
  refused("[sweep]\nmethod = 'halving'\n", {"sweep.min_epochs"});
  refused("[sweep]\nmethod = 'halving'\nmin_epochs = 9\n[train]\nepochs = 8\n", {"min_epochs = 9"});
  refused("[sweep]\nmethod = 'halving'\nmin_epochs = 1\n[train]\nepochs = [4, 8]\n", {"train.epochs"});
  refused("[sweep]\nseeds = []\n", {"seed"});
  refused("[sweep]\npreset = 'nothing'\n", {"nothing"});
  refused("[train]\nlearning_rate = { low = 1e-3, high = 1e-2 }\n", {"steps"});
  refused("[train]\nlearning_rate = { low = 1e-2, high = 1e-3, steps = 3 }\n", {"below high"});
  refused("[train]\nlearning_rate = { low = 0, high = 1e-3, steps = 3, log = true }\n", {"above 0"});
  refused("[train]\nbatch_size = { low = 1.5, high = 4, steps = 3 }\n", {"whole"});
  refused("[train]\nweight_decay = { low = -1, high = 4, steps = 3 }\n", {"weight_decay = -1"});
  refused("[train]\nepochs = { low = 1, high = 1e12, steps = 3 }\n", {"sweep.toml:2", "epochs", "fits"});
  refused("[train]\nnegatives = { low = 1, high = 4, steps = 3 }\n", {"no number"});
  refused("[train]\nlearning_rate = [1e-3, 1e-3]\n", {"twice"});
  refused("[other]\nx = 1\n", {"sweep.toml:2", "other.x"});
  refused("learning_rate = 1\n", {"learning_rate"});
  refused("[train\n", {"sweep.toml:1"});
  check_refused(bench.folder, "rearm sweep", bench.arguments("out", "[model]\nname = 'bpr_mf'\n", {"--jobs", "-1"}),
                {"--jobs", "at least 0"});
  check_refused(bench.folder, "rearm sweep", {(bench.folder / "none.toml").string(), bench.data.path().string()},
                {"none.toml"});
}

}  // namespace programs_sweep_test
