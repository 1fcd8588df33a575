/// @file folders_test.cpp
/// A run's folder: one process at a time, one data set, nothing lost to a kill or to --overwrite.

#include "process.hpp"

#include <tests/support/shared.hpp>

#include <rearm/run/folder.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace programs_folders_test {

using namespace rearm;
using nlohmann::json;
using rearm::test::check_refused;
using rearm::test::Folder;
namespace fs = std::filesystem;

namespace {

/// Hidden files of a folder, but a lock that somebody holds.
std::vector<std::string> hidden(const fs::path& dir) {
  std::vector<std::string> out;
  if (fs::exists(dir))
    for (const auto& entry : fs::directory_iterator(dir)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with('.')) out.push_back(name);
    }
  return out;
}

struct Runs {
  Folder data, folder;
  Dataset dataset = test::write_data(data);
  std::string dir = data.path().string();

  std::string out(const std::string& name) const { return (folder / name).string(); }
  std::vector<std::string> arguments(const std::string& name, const std::vector<std::string>& more) const {
    std::vector<std::string> all = {dir,   "--out",        out(name), "--model",   "bpr_mf", "--embedding-dim",
                                    "16",  "--batch-size", "16",      "--threads", "1",      "--learning-rate",
                                    "1e-2"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  test::Finished train(const std::string& name, const std::vector<std::string>& more) const {
    return test::run(folder, "rearm train", arguments(name, more));
  }
  std::string bytes(const std::string& name, const char* file) const { return test::read_file(folder / name / file); }
};

void wait_for(const fs::path& file) {
  for (int i = 0; i < 3000 && !fs::exists(file); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  REQUIRE(fs::exists(file));
}

}  // namespace

TEST_CASE("two runs in one folder: one works, the other is refused with who holds it") {
  REARM_NEEDS_PROGRAMS();
  const Runs runs;
  const Folder other;
  test::Process first(other, "rearm train", runs.arguments("out", {"--epochs", "1000000", "--patience", "1000000"}));
  wait_for(runs.folder / "out/model.safetensors");
  for (const char* how : {"--resume", "--overwrite"}) {
    const test::Finished r = runs.train("out", {how});
    INFO("stderr: " << r.err);
    CHECK(r.status == 2);
    CHECK(test::has(r.err, "is in use by process "));
  }
  first.send(SIGTERM);
  CHECK(first.wait().status == 128 + SIGTERM);
  CHECK(hidden(runs.folder / "out").empty());
  CHECK(runs.train("out", {"--resume", "--epochs", "1"}).status == 0);
}

TEST_CASE("a run goes on with its own data only") {
  REARM_NEEDS_PROGRAMS();
  const Runs runs;
  REQUIRE(runs.train("out", {"--epochs", "2"}).status == 0);
  const std::string before = runs.bytes("out", "checkpoint.safetensors");
  const Folder other;
  test::write_data(other);
  std::vector<std::int64_t> users(runs.dataset.train.users.begin(), runs.dataset.train.users.end());
  std::vector<std::int64_t> items(runs.dataset.train.items.begin(), runs.dataset.train.items.end());
  std::swap(items[0], items[1]);
  other.write_pairs("train.npy", users, items);
  const auto resumed = [&](const fs::path& dir) {
    std::vector<std::string> arguments = runs.arguments("out", {"--resume", "--epochs", "3"});
    arguments[0] = dir.string();
    return arguments;
  };
  check_refused(runs.folder, "rearm train", resumed(other.path()), {"other data", "train pairs differ"});
  const Folder features;
  test::write_data(features);
  const NpyArray<float> text = read_npy<float>(features / "text_feat.npy");
  std::vector<float> changed = text.values;
  changed.back() += 1;
  write_npy(features / "text_feat.npy", changed, text.shape);
  check_refused(runs.folder, "rearm train", resumed(features.path()), {"other data", "features of text differ"});
  CHECK(runs.bytes("out", "checkpoint.safetensors") == before);
  CHECK(!runs.bytes("out", "result.json").empty());
  CHECK(test::run(runs.folder, "rearm train", resumed(runs.data.path())).status == 0);
}

TEST_CASE("a missing, damaged or foreign model file is found before a run goes on, and nothing is touched") {
  REARM_NEEDS_PROGRAMS();
  const Runs runs;
  REQUIRE(runs.train("out", {"--epochs", "3"}).status == 0);
  REQUIRE(runs.train("other", {"--epochs", "1"}).status == 0);
  const fs::path model = runs.folder / "out/model.safetensors";
  const std::string good = test::read_file(model), result = runs.bytes("out", "result.json");
  const auto resume = runs.arguments("out", {"--resume", "--epochs", "6"});
  fs::remove(model);
  check_refused(runs.folder, "rearm train", resume, {"model.safetensors"});
  runs.folder.write("out/model.safetensors", good.substr(0, good.size() / 2));
  check_refused(runs.folder, "rearm train", resume, {"model.safetensors"});
  runs.folder.write("out/model.safetensors", runs.bytes("other", "model.safetensors"));
  check_refused(runs.folder, "rearm train", resume, {"model.safetensors", "epoch 0", "best epoch"});
  CHECK(runs.bytes("out", "result.json") == result);
  runs.folder.write("out/model.safetensors", good);
  CHECK(test::run(runs.folder, "rearm train", resume).status == 0);
}

TEST_CASE("files that cannot be read are refused, and nothing is touched") {
  REARM_NEEDS_PROGRAMS();
  const Runs runs;
  REQUIRE(runs.train("out", {"--epochs", "2"}).status == 0);
  // A folder opens and cannot be read, as a file on a failing disk; tests/reliability/files.sh tries all else.
  const std::string folder = (runs.folder / "folder").string();
  fs::create_directory(folder);
  check_refused(runs.folder, "rearm train", runs.arguments("new", {"--config", folder}), {folder});
  CHECK_FALSE(fs::exists(runs.folder / "new"));
  check_refused(runs.folder, "rearm recommend", {runs.out("out") + "/model.safetensors", "--users-file", folder},
                {folder});
  const std::string result = runs.bytes("out", "result.json"), model = runs.bytes("out", "model.safetensors");
  fs::rename(runs.folder / "out/metrics.jsonl", runs.folder / "metrics.jsonl");
  fs::create_directories(runs.folder / "out/metrics.jsonl/inner");
  check_refused(runs.folder, "rearm train", runs.arguments("out", {"--resume", "--epochs", "4"}), {"metrics.jsonl"});
  CHECK(runs.bytes("out", "result.json") == result);
  CHECK(runs.bytes("out", "model.safetensors") == model);
  CHECK(hidden(runs.folder / "out").empty());
  fs::remove_all(runs.folder / "out/metrics.jsonl");
  fs::rename(runs.folder / "metrics.jsonl", runs.folder / "out/metrics.jsonl");
  CHECK(runs.train("out", {"--resume", "--epochs", "4"}).status == 0);
  CHECK(std::ranges::count(runs.bytes("out", "metrics.jsonl"), '\n') == 4);
  CHECK(json::parse(runs.bytes("out", "result.json"))["epochs"] == 4);
}

TEST_CASE("--overwrite keeps the earlier run until the new one has a model") {
  REARM_NEEDS_PROGRAMS();
  const Runs runs;
  REQUIRE(runs.train("out", {"--epochs", "2"}).status == 0);
  const char* const files[] = {"model.safetensors", "checkpoint.safetensors", "result.json", "metrics.jsonl",
                               "config.toml"};
  std::vector<std::string> before;
  for (const char* file : files) before.push_back(runs.bytes("out", file));
  const auto check_kept = [&] {
    for (std::size_t i = 0; i < std::size(files); ++i) {
      CAPTURE(files[i]);
      CHECK(runs.bytes("out", files[i]) == before[i]);
    }
  };
  {  // validated never, so that there is no model before the end
    const Folder other;
    test::Process killed(other, "rearm train",
                         runs.arguments("out", {"--overwrite", "--eval-every", "1000000", "--epochs", "1000000"}));
    wait_for(runs.folder / "out/.next/checkpoint.safetensors");
    killed.send(SIGKILL);
    killed.wait();
  }
  check_kept();
  check_refused(runs.folder, "rearm train", runs.arguments("out", {"--overwrite", "--watch", "recall@7"}), {"watch"});
  check_kept();
  CHECK(runs.train("out", {"--overwrite", "--epochs", "1", "--seed", "5"}).status == 0);
  CHECK(json::parse(runs.bytes("out", "result.json"))["seed"] == 5);
  CHECK(std::ranges::count(runs.bytes("out", "metrics.jsonl"), '\n') == 1);
  CHECK(hidden(runs.folder / "out").empty());
}

TEST_CASE("a run that is killed again and again ends as one that is not") {
  REARM_NEEDS_PROGRAMS();
  const Runs runs;
  constexpr int epochs = 120;  // longer than a process takes to start
  const std::vector<std::string> length = {"--epochs", std::to_string(epochs), "--patience", "1000"};
  REQUIRE(runs.train("whole", length).status == 0);
  // After 0, 4, 8, ... milliseconds; each is continued by the next.
  int kills = 0;
  for (int i = 0; i < 40; ++i) {
    const Folder other;
    std::vector<std::string> more = length;
    if (holds_begun_run(runs.folder / "parts")) more.push_back("--resume");
    test::Process process(other, "rearm train", runs.arguments("parts", more));
    std::this_thread::sleep_for(std::chrono::milliseconds(4 * i));
    process.send(SIGKILL);
    const test::Finished r = process.wait();
    INFO("stderr: " << r.err);
    CHECK((r.status == 0 || r.status == 128 + SIGKILL));
    kills += r.status != 0 ? 1 : 0;
  }
  CHECK(kills > 5);
  std::vector<std::string> more = length;
  if (holds_begun_run(runs.folder / "parts")) more.push_back("--resume");
  REQUIRE(runs.train("parts", more).status == 0);
  CHECK(runs.bytes("parts", "model.safetensors") == runs.bytes("whole", "model.safetensors"));
  CHECK(json::parse(runs.bytes("parts", "result.json"))["test"] ==
        json::parse(runs.bytes("whole", "result.json"))["test"]);
  std::istringstream metrics(runs.bytes("parts", "metrics.jsonl"));
  int epoch = 0;
  for (std::string line; std::getline(metrics, line); ++epoch) CHECK(json::parse(line)["epoch"] == epoch);
  CHECK(epoch == epochs);
  CHECK(hidden(runs.folder / "parts").empty());
}

}  // namespace programs_folders_test
