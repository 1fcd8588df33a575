// Whole runs of the programs: their files, resuming, interruption, determinism, recommendations.
#include "process.hpp"

#include <tests/support/scalars.hpp>
#include <tests/support/shared.hpp>

#include <rearm/eval/metrics.hpp>
#include <rearm/models/rearm/config.hpp>
#include <rearm/run/settings.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <set>
#include <sstream>
#include <thread>

namespace programs_runs_test {

using namespace rearm;
using nlohmann::json;
using rearm::test::Folder;

namespace {

/// A data set, a folder for runs, and `rearm train` with small settings.
struct Bench {
  Folder data, folder;
  Dataset dataset = test::write_data(data);

  std::vector<std::string> arguments(const std::string& out, const std::vector<std::string>& more) const {
    std::vector<std::string> all = test::with_small_rearm(
        {data.path().string(), "--out", (folder / out).string(), "--batch-size", "64", "--learning-rate", "3e-3"});
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  test::Finished train(const std::string& out, const std::vector<std::string>& more) const {
    const test::Finished r = test::run(folder, "rearm train", arguments(out, more));
    INFO("stderr: " << r.err);
    REQUIRE(r.status == 0);
    return r;
  }
  std::string bytes(const std::string& out, const char* file) const { return test::read_file(folder / out / file); }
  json result(const std::string& out) const { return json::parse(bytes(out, "result.json")); }
};

std::vector<json> lines(const std::string& text) {
  std::vector<json> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.push_back(json::parse(line));
  return out;
}

/// What follows the header of a safetensors file: weights and moments, without the seconds that steps took.
std::string tensors(const std::string& bytes) {
  std::uint64_t header = 0;
  REQUIRE(bytes.size() > sizeof(header));
  std::memcpy(&header, bytes.data(), sizeof(header));
  REQUIRE(bytes.size() > sizeof(header) + header);
  return bytes.substr(sizeof(header) + header);
}

}  // namespace

TEST_CASE("a run writes its files with all their keys") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const test::Finished r = bench.train(
      "out", {"--epochs", "2", "--seed", "3", "--threads", "1", "--use-meta", "true", "--use-orthogonal", "true"});
  CHECK(test::has(r.out, "Tiny (made up): 60 users, 200 items"));
  CHECK(test::has(r.err, "epoch 1: loss "));

  const json result = bench.result("out");
  for (const char* key : {"dataset", "features_are", "model", "negatives", "backend", "seed", "threads", "epochs",
                          "best_epoch", "valid", "test", "step_seconds_median", "peak_rss_bytes", "settings"}) {
    INFO("key: " << key);
    CHECK(result.contains(key));
  }
  CHECK(result["dataset"] == "Tiny (made up)");
  CHECK(result["features_are"] == "made up");
  CHECK(result["model"] == "rearm");
  CHECK(result["settings"]["model"]["variant"] == "reference");
  CHECK(result["negatives"] == "exclude_train");
  CHECK(result["backend"] == "cpu");
  CHECK(result["seed"] == 3);
  CHECK(result["threads"] == 1);
  CHECK(result["epochs"] == 2);
  CHECK(result["interrupted"] == false);
  CHECK(result["test"].size() == 12);
  for (const char* metric : {"recall@10", "recall@20", "ndcg@10", "ndcg@20"}) {
    CHECK(result["test"][metric] > 0);
    CHECK(result["valid"][metric] > 0);
  }
  CHECK(result["step_seconds_median"] > 0);
  CHECK(result["peak_rss_bytes"] > 1 << 20);

  const std::vector<json> metrics = lines(bench.bytes("out", "metrics.jsonl"));
  REQUIRE(metrics.size() == 2);
  for (std::size_t epoch = 0; epoch < 2; ++epoch) {
    const json& line = metrics[epoch];
    CHECK(line["epoch"] == epoch);
    const json& losses = line["losses"];
    CHECK(losses["total"].get<double>() ==
          doctest::Approx(losses["bpr"].get<double>() + losses["contrast"].get<double>() +
                          losses["orthogonal"].get<double>()));
    CHECK(line["valid"].contains("recall@20"));
    CHECK(line["seconds"] > 0);
  }
  CHECK(metrics[result["best_epoch"].get<std::size_t>()]["valid"] == result["valid"]);

  // config.toml names every field and is a settings file.
  std::set<std::string> named;
  std::string table;
  std::istringstream toml(bench.bytes("out", "config.toml"));
  for (std::string line; std::getline(toml, line);)
    if (line.starts_with('['))
      table = line.substr(1, line.find(']') - 1) + '.';
    else if (!line.empty() && !line.starts_with('#'))
      named.insert(table + line.substr(0, line.find(' ')));
  const RearmSettings defaults;
  visit_fields(defaults.train, [&](const std::string& path, auto&&...) { CHECK(named.count("train." + path) == 1); });
  visit_fields(defaults.model, [&](const std::string& path, auto&&...) { CHECK(named.count("model." + path) == 1); });
  CHECK(named.count("model.name") == 1);
  const std::string settings = (bench.folder / "out" / "config.toml").string();
  const test::Finished again =
      test::run(bench.folder, "rearm train",
                {bench.data.path().string(), "--out", (bench.folder / "again").string(), "--config", settings});
  REQUIRE(again.status == 0);
  CHECK(bench.bytes("again", "config.toml") == bench.bytes("out", "config.toml"));
  CHECK(bench.bytes("again", "model.safetensors") == bench.bytes("out", "model.safetensors"));
}

TEST_CASE("metrics and cutoffs are settings") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const std::vector<std::string> settings = {"--epochs",  "1",    "--metrics", "hit_rate,mrr",
                                             "--cutoffs", "3,50", "--watch",   "mrr@3"};
  const test::Finished r = bench.train("out", settings);
  CHECK(test::has(r.out, "test mrr@3 0."));
  const json result = bench.result("out");
  CHECK(result["test"].size() == 4);
  for (const char* name : {"hit_rate@3", "hit_rate@50", "mrr@3", "mrr@50"}) CHECK(result["valid"].contains(name));
  CHECK(test::has(bench.bytes("out", "config.toml"), "cutoffs = [3,50]"));
  for (const auto& [flag, value] : {std::pair("--metrics", "luck"), std::pair("--cutoffs", "0"),
                                    std::pair("--cutoffs", "10"), std::pair("--metrics", "")})
    CHECK(test::run(bench.folder, "rearm train", bench.arguments("other", {"--epochs", "1", flag, value})).status == 2);
}

TEST_CASE("a run is shown beside popularity, and says so if training was of no use") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const test::Finished good = bench.train("out", {"--epochs", "1"});
  CHECK(test::has(good.out, "\npopularity: test recall@20 0."));
  const test::Finished idle = test::run(bench.folder, "rearm train",
                                        {bench.data.path().string(), "--model", "bpr_mf", "--learning-rate", "1e-9",
                                         "--epochs", "2", "--out", (bench.folder / "idle").string()});
  CHECK(idle.status == 0);
  CHECK(test::has(idle.out, "warning: the first epoch was the best"));
  CHECK(test::has(idle.out, "--learning-rate (now 1e-09), --model light_gcn, and rearm check "));
}

TEST_CASE("the same seed gives the same file with one and two threads, another seed another") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  bench.train("one", {"--epochs", "1", "--threads", "1"});
  bench.train("two", {"--epochs", "1", "--threads", "2"});
  bench.train("other", {"--epochs", "1", "--threads", "1", "--seed", "9"});
  const std::string one = bench.bytes("one", "model.safetensors");
  CHECK(one.size() > 1000);
  CHECK(one == bench.bytes("two", "model.safetensors"));
  CHECK(one != bench.bytes("other", "model.safetensors"));
}

TEST_CASE("a run goes on from its own settings, whatever characters they hold") {
  REARM_NEEDS_PROGRAMS();
  const Folder folder, data;
  test::write_data(data);
  const std::string name = "im\x7f\"\\ge";
  std::filesystem::rename(data / "image_feat.npy", data / (name + "_feat.npy"));
  folder.write("settings.toml", "modalities = [\"im\\u007f\\\"\\\\ge\"]\nembedding_dim = 8\nmodel.name = \"vbpr\"\n");
  std::vector<std::string> arguments = {
      data.path().string(), "--config", (folder / "settings.toml").string(), "--out", (folder / "out").string(),
      "--epochs",           "1"};
  CHECK(test::run(folder, "rearm train", arguments).status == 0);
  arguments = {data.path().string(),      "--model",  "vbpr", "--out",
               (folder / "out").string(), "--epochs", "2",    "--resume"};
  const test::Finished again = test::run(folder, "rearm train", arguments);
  INFO("stderr: " << again.err);
  CHECK(again.status == 0);
}

TEST_CASE("without a preset weights are chosen on validation, said once, kept, and left alone where they are given") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const char* said = "modality weights chosen by what each graph alone tells of validation: ";
  const test::Finished first = bench.train("out", {"--epochs", "1", "--users-modality-weights", "0.15,0.85"});
  CHECK(test::has(first.out, std::string(said) + "items "));
  CHECK(test::has(first.out, "attention is "));
  const json model = bench.result("out")["settings"]["model"];
  CHECK(model["users"]["modality_weights"] == json({0.15, 0.85}));
  CHECK(model["items"]["modality_weights"].size() == 2);
  const test::Finished resumed = bench.train("out", {"--epochs", "2", "--resume"});
  CHECK_FALSE(test::has(resumed.out, said));
  CHECK_FALSE(test::has(resumed.out, "attention is "));
  CHECK(bench.result("out")["settings"]["model"] == model);
  CHECK_FALSE(test::has(bench.train("preset", {"--epochs", "1", "--preset", "baby"}).out, said));
  CHECK_FALSE(test::has(bench.train("other", {"--epochs", "1", "--use-sim", "false"}).out, said));
}

TEST_CASE("a resumed run ends with the bits of one that was not cut off") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  bench.train("whole", {"--epochs", "4"});
  bench.train("cut", {"--epochs", "2"});
  // The line of an epoch that the checkpoint does not know, and half a line.
  std::ofstream(bench.folder / "cut" / "metrics.jsonl", std::ios::app) << "{\"epoch\": 2}\n{\"epo";
  const test::Finished r = bench.train("cut", {"--epochs", "4", "--resume"});
  CHECK(test::has(r.out, "continuing after epoch 1"));
  REQUIRE(bench.result("whole")["best_epoch"] >= 2);  // else the comparison would say nothing
  CHECK(bench.bytes("cut", "model.safetensors") == bench.bytes("whole", "model.safetensors"));
  CHECK(tensors(bench.bytes("cut", "checkpoint.safetensors")) ==
        tensors(bench.bytes("whole", "checkpoint.safetensors")));
  CHECK(bench.bytes("cut", "config.toml") == bench.bytes("whole", "config.toml"));
  CHECK(bench.result("cut")["test"] == bench.result("whole")["test"]);
  const auto cut = lines(bench.bytes("cut", "metrics.jsonl"));
  const auto whole = lines(bench.bytes("whole", "metrics.jsonl"));
  REQUIRE(cut.size() == 4);
  for (std::size_t epoch = 0; epoch < 4; ++epoch) {
    CHECK(cut[epoch]["losses"] == whole[epoch]["losses"]);
    CHECK(cut[epoch]["valid"] == whole[epoch]["valid"]);
  }
}

TEST_CASE("a signal ends a run cleanly, and it can be continued") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  test::Process process(bench.folder, "rearm train",
                        bench.arguments("out", {"--epochs", "1000000", "--patience", "1000000"}));
  const auto log = bench.folder / "out" / "metrics.jsonl";
  for (int i = 0; i < 6000 && (!std::filesystem::exists(log) || std::filesystem::is_empty(log)); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  process.send(SIGINT);
  const test::Finished r = process.wait();
  INFO("stderr: " << r.err);
  REQUIRE(r.status == 128 + SIGINT);
  CHECK(test::has(r.err, "saving after this step; Ctrl-C again stops at once\n"));
  CHECK(r.err.find_first_of("\r\x1b") == std::string::npos);  // for terminals alone
  CHECK(test::has(r.out, "--resume"));
  CHECK(std::filesystem::exists(bench.folder / "out" / "model.safetensors"));
  const json result = bench.result("out");
  CHECK(result["interrupted"] == true);
  const int epochs = result["epochs"];
  CHECK(epochs >= 1);

  // Without repeating the settings: they are the run's own.
  const test::Finished more = test::run(bench.folder, "rearm train",
                                        {bench.data.path().string(), "--out", (bench.folder / "out").string(),
                                         "--resume", "--epochs", std::to_string(epochs + 1)});
  REQUIRE(more.status == 0);
  CHECK(bench.result("out")["epochs"] == epochs + 1);
  CHECK(lines(bench.bytes("out", "metrics.jsonl")).size() == static_cast<std::size_t>(epochs) + 1);
}

TEST_CASE("recommend ranks as the run's own evaluation did") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  bench.train("out", {"--epochs", "2"});
  const std::string model = (bench.folder / "out" / "model.safetensors").string();
  const test::Finished r = test::run(bench.folder, "rearm recommend", {model, "--all-users", "-k", "20"});
  REQUIRE(r.status == 0);
  std::istringstream in(r.out);
  std::string header;
  std::getline(in, header);
  CHECK(header == "user\trank\titem\tscore");
  Matrix<Id> ranked(bench.dataset.n_users, 20);
  std::fill_n(ranked.data(), ranked.size(), Id{-1});
  double last_score = 0;
  const Adjacency seen = items_by_user(bench.dataset.train, bench.dataset.n_users);
  Id user = 0, rank = 0, item = 0;
  double score = 0;
  Index rows = 0;
  for (; in >> user >> rank >> item >> score; ++rows) {
    REQUIRE(rank >= 1);
    REQUIRE(rank <= 20);
    if (rank > 1) CHECK(score <= last_score);
    last_score = score;
    CHECK_FALSE(seen.contains(user, item));
    ranked(user, rank - 1) = item;
  }
  CHECK(rows == 60 * 20);
  std::vector<Id> users(60);
  for (std::size_t u = 0; u < users.size(); ++u) users[u] = static_cast<Id>(u);
  const Index cutoffs[] = {10, 20};
  const MetricValues metrics =
      mean_metrics(ranked.view(), users, items_by_user(bench.dataset.test, 60), cutoffs, all_metrics);
  const json result = bench.result("out");
  REQUIRE(result["test"].size() == 12);
  for (const auto& [name, value] : result["test"].items())
    CHECK(value.get<double>() == doctest::Approx(metrics.at(name)).epsilon(1e-9));

  // The same from a file of ids and as JSON.
  bench.folder.write("users.txt", "5, 7\n5\n");
  const test::Finished as_json =
      test::run(bench.folder, "rearm recommend",
                {model, "--users-file", (bench.folder / "users.txt").string(), "-k", "20", "--format", "json"});
  REQUIRE(as_json.status == 0);
  const auto objects = lines(as_json.out);
  REQUIRE(objects.size() == 3);
  CHECK(objects[0]["user"] == 5);
  CHECK(objects[1]["user"] == 7);
  CHECK(objects[0] == objects[2]);
  for (Index i = 0; i < 20; ++i) CHECK(objects[1]["items"][static_cast<std::size_t>(i)] == ranked(7, i));

  // With seen items every item is a candidate; k beyond them ends the list.
  const test::Finished all =
      test::run(bench.folder, "rearm recommend", {model, "--users", "0,1", "-k", "1000", "--with-seen"});
  REQUIRE(all.status == 0);
  CHECK(std::ranges::count(all.out, '\n') == 1 + 2 * 200);

  const test::Finished outside = test::run(bench.folder, "rearm recommend", {model, "--users", "0,60"});
  CHECK(outside.status == 2);
  CHECK(test::has(outside.err, "user 60"));
  CHECK(outside.out.empty());
  CHECK(test::run(bench.folder, "rearm recommend", {model, "--users", "0", "-k", "0"}).status == 2);
}

TEST_CASE("a settings file and flags of version 0.1 go on working") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  bench.folder.write("old.toml",
                     "# mine\nlearning-rate = 3e-3\nmodalities = ['text']\nuse_uu = false\nuser_knn_k = 5\n"
                     "item_modality_weights = [1.0]\nuu_co_weight = 0.25\nepochs = 1\n");
  bench.train("old", {"--config", (bench.folder / "old.toml").string()});
  bench.train("new", {"--modalities", "text", "--users-use", "false", "--items-modality-weights", "1",
                      "--users-co-weight", "0.25", "--epochs", "1"});
  CHECK(bench.bytes("old", "config.toml") == bench.bytes("new", "config.toml"));
  CHECK(bench.bytes("old", "model.safetensors") == bench.bytes("new", "model.safetensors"));
}

TEST_CASE("all of TOML is read") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const std::string toml =
      "\xEF\xBB\xBF[train]\r\nepochs = 1\r\nlearning_rate = +3e-3 # plus\nbatch_size = 1_024\nseed = 0x10\n"
      "[model]\nmodalities = [\n  'image', # first\n  \"text\",\n]\nusers.k = 5\n[model.items]\nk = 4\n"
      "modality_weights = [0.25,\n 0.75]\n";
  bench.folder.write("all.toml", toml);
  const test::Finished r =
      test::run(bench.folder, "rearm train",
                {bench.data.path().string(), "--out", (bench.folder / "out").string(), "--embedding-dim", "8", "--rank",
                 "2", "--config", (bench.folder / "all.toml").string()});
  INFO("stderr: " << r.err);
  REQUIRE(r.status == 0);
  const json settings = bench.result("out")["settings"];
  CHECK(settings["train"]["learning_rate"] == 3e-3);
  CHECK(settings["train"]["batch_size"] == 1024);
  CHECK(settings["train"]["seed"] == 16);
  CHECK(settings["model"]["modalities"] == json({"image", "text"}));
  CHECK(settings["model"]["users"]["k"] == 5);
  CHECK(settings["model"]["items"]["k"] == 4);
  CHECK(settings["model"]["items"]["modality_weights"] == json({0.25, 0.75}));
}

TEST_CASE("every setting has a flag, and modalities can be chosen") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const test::Finished help = test::run(bench.folder, "rearm train", {"--help"});
  CHECK(help.status == 0);
  const auto check_flags = [&](const auto& fields) {
    visit_fields(fields, [&](std::string name, auto&&...) {
      for (char& c : name)
        if (c == '_' || c == '.') c = '-';
      INFO("flag: " << name);
      CHECK((test::has(help.out, "--" + name + " ") || test::has(help.out, "--" + name + ",")));
    });
  };
  const RearmSettings defaults;
  check_flags(defaults.train);
  check_flags(defaults.model);
  bench.train("text", {"--epochs", "1", "--preset", "baby", "--modalities", "text", "--use-uu", "false", "--features",
                       "residual", "--negatives", "exclude_train"});
  const std::string toml = bench.bytes("text", "config.toml");
  CHECK(test::has(toml, "modalities = [\"text\"]"));
  CHECK(test::has(toml, "\nmodality_weights = [1.0]"));
  CHECK(test::has(toml, "\nuse = false"));
  CHECK(test::has(toml, "features = \"residual\""));
  CHECK(test::has(toml, "dropout_cross = 0.6"));
}

TEST_CASE("without a folder REARM is shown beside popularity and LightGCN") {
  REARM_NEEDS_PROGRAMS();
  const Folder folder;
  const test::Finished r = test::run(folder, "rearm train",
                                     {"--synthetic", "--out", (folder / "out").string(), "--epochs", "1",
                                      "--embedding-dim", "8", "--batch-size", "4096"});
  INFO("stderr: " << r.err);
  REQUIRE(r.status == 0);
  CHECK(test::has(r.out, "2000 users, 1200 items"));
  const std::size_t table = r.out.find("\nsynthetic data ");
  REQUIRE(table != std::string::npos);
  for (const char* row : {"\npopularity ", "\nlight_gcn ", "\nrearm "})
    CHECK(r.out.find(row, table) != std::string::npos);
  CHECK(json::parse(test::read_file(folder / "out" / "result.json"))["features_are"] == "synthetic");
}

TEST_CASE("every model of the list trains by name, is continued, evaluated and recommends") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const test::Finished list = test::run(bench.folder, "rearm models", {});
  REQUIRE(list.status == 0);
  std::istringstream names(list.out);
  int n_models = 0;
  const int epochs = test::sanitized ? 1 : 2;  // then one more
  for (std::string name; std::getline(names, name); ++n_models) {
    CAPTURE(name);
    const std::string data = bench.data.path().string(), out = (bench.folder / name).string();
    const std::vector<std::string> base = {data, "--out", out, "--model", name, "--epochs"};
    const auto with = [](std::vector<std::string> all, const std::vector<std::string>& more) {
      all.insert(all.end(), more.begin(), more.end());
      return all;
    };
    const test::Finished r =
        test::run(bench.folder, "rearm train",
                  with(base, {std::to_string(epochs), "--batch-size", "64", "--embedding-dim", "8"}));
    INFO("stderr: " << r.err);
    REQUIRE(r.status == 0);
    CHECK(bench.result(name)["model"] == name);
    if (test::sanitized && n_models % 4 != 0) continue;  // files and lists are the same code for every model
    // The folder says which model it is of.
    REQUIRE(
        test::run(bench.folder, "rearm train", {data, "--out", out, "--resume", "--epochs", std::to_string(epochs + 1)})
            .status == 0);
    CHECK(lines(bench.bytes(name, "metrics.jsonl")).size() == static_cast<std::size_t>(epochs) + 1);
    const test::Finished evaluated =
        test::run(bench.folder, "rearm evaluate", {out + "/model.safetensors", data, "--format", "json"});
    REQUIRE(evaluated.status == 0);
    CHECK(json::parse(evaluated.out)["metrics"]["recall@20"].get<double>() ==
          doctest::Approx(bench.result(name)["test"]["recall@20"].get<double>()).epsilon(1e-6));
    const test::Finished top =
        test::run(bench.folder, "rearm recommend", {out + "/model.safetensors", "--users", "3", "-k", "5"});
    REQUIRE(top.status == 0);
    CHECK(std::ranges::count(top.out, '\n') == 6);
    const test::Finished settings = test::run(bench.folder, "rearm models", {name});
    CHECK(test::has(settings.out, "name = \"" + name + "\""));
  }
  CHECK(n_models >= 4);
}

}  // namespace programs_runs_test
