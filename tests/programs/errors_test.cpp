// Bad usage and bad input: exit status 2 and one line on stderr that says what is wrong; nothing is lost.
#include "process.hpp"

#include <tests/support/shared.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>

namespace programs_errors_test {

using namespace rearm;
using nlohmann::json;
using rearm::test::check_refused;
using rearm::test::Folder;

namespace {

const std::vector<std::string> small = test::with_small_rearm({"--batch-size", "64", "--epochs", "1"});

std::vector<std::string> with(std::vector<std::string> arguments, const std::vector<std::string>& more = {}) {
  arguments.insert(arguments.end(), small.begin(), small.end());
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

}  // namespace

TEST_CASE("wrong usage of `rearm train` is refused") {
  REARM_NEEDS_PROGRAMS();
  const Folder folder, data;
  test::write_data(data);
  const std::string dir = data.path().string(), out = (folder / "out").string();
  const auto refused = [&](const std::vector<std::string>& arguments, const std::vector<std::string>& parts) {
    check_refused(folder, "rearm train", arguments, parts);
    CHECK_FALSE(std::filesystem::exists(folder / "out" / "model.safetensors"));
  };
  refused({}, {"--synthetic", "--help"});
  refused({dir, "--synthetic", "--out", out}, {"--synthetic"});
  refused({"/nowhere/at/all", "--out", out}, {"/nowhere/at/all"});
  refused({dir, "--no-such-flag", "--out", out}, {"--no-such-flag"});
  refused({dir, "--out", out, "--preset", "books"}, {"books", "clothing"});
  refused({dir, "--out", out, "--backend", "cuda"}, {"cuda", "--backend cpu"});
  refused({dir, "--out", out, "--backend", "tpu"}, {"tpu"});
  refused({dir, "--out", out, "--threads", "-3"}, {"threads = -3"});
  refused({dir, "--out", out, "--rank", "0"}, {"rank = 0"});
  refused({dir, "--out", out, "--rank", "2.5"}, {"rank = '2.5'", "whole"});
  refused({dir, "--out", out, "--epochs", "99999999999"}, {"epochs"});
  refused({dir, "--out", out, "--learning-rate", "fast"}, {"learning_rate = 'fast'"});
  refused({dir, "--out", out, "--learning-rate", "nan"}, {"learning_rate"});
  refused({dir, "--out", out, "--use-uu", "maybe"}, {"users.use = 'maybe'", "true or false"});
  refused({dir, "--out", out, "--resume", "--overwrite"}, {"--overwrite", "--resume"});
  for (const char* number : {"0x10", "", "1.5", " 5", "1_000"})
    refused({dir, "--out", out, "--batch-size", number}, {"batch_size"});
  refused({dir, "--out", out, "--model", "matrix"}, {"matrix", "light_gcn", "rearm"});
  refused({dir, "--out", out, "--model", "bpr_mf", "--rank", "3"}, {"--rank"});
  refused({dir, "--out", out, "--model", "bpr_mf", "--preset", "baby"}, {"bpr_mf", "preset"});
  refused({dir, "--out", out, "--watch", "recall@7"}, {"watch = 'recall@7'", "recall@20"});
  refused({dir, "--out", out, "--epochs", ""}, {"epochs"});
  refused({dir, "--out", out, "--epochs", "0x10"}, {"epochs = '0x10'"});
  refused({dir, "--out", out, "--features", "magic"}, {"features = 'magic'"});
  refused({dir, "--out", out, "--modalities", "smell"}, {"smell", "image, text"});
  refused({dir, "--out", out, "--user-modality-weights", "0.5,0.1"}, {"users.modality_weights"});
  refused({dir, "--out", out, "--user-modality-weights", "0.5,0.2,0.3"}, {"users.modality_weights", "3", "2"});
  refused({dir, "--out", out, "--user-knn-k", "60", "--item-knn-k", "4"}, {"users.k = 60", "(60)"});
}

TEST_CASE("wrong settings files are refused") {
  REARM_NEEDS_PROGRAMS();
  const Folder folder, data;
  test::write_data(data);
  const auto refused = [&](const std::string& toml, const std::vector<std::string>& parts) {
    folder.write("settings.toml", toml);
    check_refused(
        folder, "rearm train",
        {data.path().string(), "--out", (folder / "out").string(), "--config", (folder / "settings.toml").string()},
        parts);
  };
  refused("learning_rate = 1e-3\nlerning_rate = 2e-3\n", {"lerning_rate", "settings.toml:2:1"});
  refused("[model]\nrank = 3\nranks = 4\n", {"model.ranks", "settings.toml:3:1"});
  refused("[modle]\nrank = 3\n", {"modle.rank", "settings.toml:2:1"});
  refused("rank = \"three\"\n", {"rank = \"three\"", "whole number", "settings.toml:1:8"});
  refused("rank = [1, 2]\n", {"rank", "whole number"});
  refused("epochs = 1.5\n", {"epochs = 1.5", "whole number"});
  refused("dropout_self = inf\n", {"dropout_self"});
  refused("seed = -1\n", {"seed = -1"});
  refused("use_meta = 1\n", {"use_meta = 1", "true or false"});
  refused("rank = 3\nrank = 4\n", {"settings.toml:2:"});
  refused("rank = 3\nno_such_thing\n", {"settings.toml:"});
  refused("learning_rate = 0,001\n", {"settings.toml:1:"});
  refused("seed = 1979-05-27\n", {"settings.toml:1:8"});
  refused("rank = 3\n[\n", {"settings.toml:2:"});
  refused("\xC3\xA9 = 3\n", {"settings.toml:1:1"});
  std::string dotted = "rank = 3\n";
  for (int i = 0; i < 200'000; ++i) dotted += "a.";
  refused(dotted + "b = 1\n", {"settings.toml:2:", "200 dots"});
  refused("rank = " + std::string(200'000, '['), {"settings.toml:1:"});
  refused("[model]\nname = \"matrix\"\n", {"matrix"});
  check_refused(folder, "rearm train", {data.path().string(), "--config", (folder / "none.toml").string()},
                {"none.toml"});
}

TEST_CASE("bad data is refused before a folder is made") {
  REARM_NEEDS_PROGRAMS();
  const Folder folder, data;
  test::write_data(data);
  const std::vector<std::string> arguments = with({data.path().string(), "--out", (folder / "out").string()});
  SUBCASE("NaN features") {
    std::vector<float> values(200 * 6, 1.0F);
    values[13] = std::numeric_limits<float>::quiet_NaN();
    write_npy(data / "text_feat.npy", values, {200, 6});
    check_refused(folder, "rearm train", arguments, {"text_feat.npy", "nan"});
  }
  SUBCASE("truncated file") {
    std::filesystem::resize_file(data / "train.npy", std::filesystem::file_size(data / "train.npy") - 8);
    check_refused(folder, "rearm train", arguments, {"train.npy"});
  }
  SUBCASE("feature rows that are not the items") {
    write_npy(data / "text_feat.npy", std::vector<float>(199 * 6, 1.0F), {199, 6});
    check_refused(folder, "rearm train", arguments, {"text_feat.npy", "199", "200"});
  }
  SUBCASE("negative id") {
    data.write_pairs("valid.npy", {0, 1}, {3, -1});
    check_refused(folder, "rearm train", arguments, {"valid.npy", "-1"});
  }
  SUBCASE("no features at all") {
    std::filesystem::remove(data / "text_feat.npy");
    std::filesystem::remove(data / "image_feat.npy");
    check_refused(folder, "rearm train", arguments, {"modalit"});
  }
  CHECK_FALSE(std::filesystem::exists(folder / "out"));
}

TEST_CASE("an output folder that cannot be written is refused before training") {
  REARM_NEEDS_PROGRAMS();
  const Folder folder, data;
  test::write_data(data);
  folder.write("file", "mine");
  check_refused(folder, "rearm train", {data.path().string(), "--out", (folder / "file").string() + "/out"},
                {"file/out"});
  check_refused(folder, "rearm train", {data.path().string(), "--out", (folder / "file").string()}, {"file"});
  CHECK(test::read_file(folder / "file") == "mine");
}

TEST_CASE("a folder that holds a run is neither overwritten nor mixed with another") {
  REARM_NEEDS_PROGRAMS();
  const Folder folder, data;
  test::write_data(data);
  const std::vector<std::string> arguments = with({data.path().string(), "--out", (folder / "out").string()});
  REQUIRE(test::run(folder, "rearm train", arguments).status == 0);
  const auto files = [&] {
    std::string all;
    for (const char* name :
         {"config.toml", "metrics.jsonl", "result.json", "model.safetensors", "checkpoint.safetensors"}) {
      REQUIRE(std::filesystem::exists(folder / "out" / name));
      all += test::read_file(folder / "out" / name);
    }
    return all;
  };
  const std::string before = files();
  check_refused(folder, "rearm train", arguments, {"--resume", "--out", "--overwrite"});
  const auto resume = [](std::vector<std::string> base, const std::vector<std::string>& more) {
    base.emplace_back("--resume");
    base.insert(base.end(), more.begin(), more.end());
    return base;
  };
  const std::vector<std::string> plain = {data.path().string(), "--out", (folder / "out").string()};
  check_refused(folder, "rearm train", resume(plain, {"--rank", "3"}), {"rank", "checkpoint.safetensors"});
  check_refused(folder, "rearm train", resume(plain, {"--preset", "sports"}), {"checkpoint.safetensors"});
  check_refused(folder, "rearm train", resume(plain, {"--seed", "1"}), {"seed"});
  check_refused(folder, "rearm train", resume(plain, {"--model", "light_gcn"}), {"light_gcn"});
  CHECK(files() == before);
  std::filesystem::resize_file(folder / "out" / "checkpoint.safetensors", 1000);
  check_refused(folder, "rearm train", resume(plain, {}), {"checkpoint.safetensors"});
  std::filesystem::remove(folder / "out" / "checkpoint.safetensors");
  check_refused(folder, "rearm train", resume(plain, {}), {"checkpoint.safetensors", "--overwrite"});
  auto overwrite = arguments;
  overwrite.insert(overwrite.end(), {"--overwrite", "--seed", "1"});
  CHECK(test::run(folder, "rearm train", overwrite).status == 0);
  CHECK(files() != before);
}

TEST_CASE("wrong usage of the other commands is refused") {
  REARM_NEEDS_PROGRAMS();
  const Folder folder;
  folder.write("model.safetensors", "nothing of the kind");
  const std::string model = (folder / "model.safetensors").string();
  check_refused(folder, "rearm recommend", {}, {"MODEL"});
  check_refused(folder, "rearm recommend", {model}, {"--users"});
  check_refused(folder, "rearm recommend", {model, "--users", "0", "--all-users"}, {"--all-users"});
  check_refused(folder, "rearm recommend", {model, "--users", "0"}, {"model.safetensors"});
  check_refused(folder, "rearm recommend", {(folder / "none").string(), "--users", "0"}, {"none"});
  check_refused(folder, "rearm recommend", {model, "--users", "0", "--format", "xml"}, {"xml"});
  for (const char* number : {"010", "0x1", "", "1e2", " 5", "5 ", "five"}) {
    check_refused(folder, "rearm recommend", {model, "--users", "0", "-k", number}, {"-k"});
    check_refused(folder, "rearm similar", {model, "--items", "0", "-k", number}, {"-k"});
    check_refused(folder, "rearm recommend", {model, "--users", "0", "--threads", number}, {"--threads"});
    check_refused(folder, "rearm evaluate", {model, "/", "--cutoffs", number}, {"--cutoffs"});
  }
  check_refused(folder, "rearm recommend", {model, "--users", "0", "--ids", "both"}, {"both"});
  check_refused(folder, "rearm recommend", {model, "--users", "0", "--format", "npy"}, {"--out"});
  check_refused(folder, "rearm similar", {model}, {"--items"});
  check_refused(folder, "rearm similar", {model, "--items", "0", "--all-users"}, {"--all-users"});
  check_refused(folder, "rearm similar", {model, "--items", "0", "--by", "taste"}, {"taste"});
  check_refused(folder, "rearm evaluate", {model, "/", "--metrics", "recall,luck"}, {"luck", "hit_rate"});
  check_refused(folder, "rearm evaluate", {model}, {"DIR"});
  check_refused(folder, "rearm evaluate", {model, "/nowhere"}, {"model.safetensors"});
  check_refused(folder, "rearm models", {"matrix"}, {"matrix", "rearm"});
  check_refused(folder, "rearm", {}, {"--help"});
}

TEST_CASE("standard output that cannot be written is exit 1, and a closed one is no file's") {
  REARM_NEEDS_PROGRAMS();
  const Folder data, folder;
  test::write_data(data);
  const std::string program = "'" + (test::bin_dir() / "rearm").string() + "' ";
  const auto status = [&](const std::string& command, const std::string& to) {
    const int s = std::system((program + command + " " + to + " 2>'" + (folder / "err").string() + "'").c_str());
    return WIFEXITED(s) ? WEXITSTATUS(s) : -1;
  };
  const std::string out = "'" + (folder / "out").string() + "'";
  const std::string train = "train '" + data.path().string() + "' --model bpr_mf --epochs 1 --out " + out;
  CHECK(status(train, ">/dev/null") == 0);
  const std::string model = "'" + (folder / "out/model.safetensors").string() + "'";
  for (const std::string to : {">/dev/full", ">&-"}) {
    CAPTURE(to);
    CHECK(status("models", to) == 1);
    CHECK(status("--help", to) == 1);
    CHECK(status("train --help", to) == 1);
    CHECK(status("recommend " + model + " --all-users", to) == 1);
    CHECK(status("recommend --users 1,2 " + model, to) == 1);
    CHECK(status("evaluate --cutoffs 5 " + model + " '" + data.path().string() + "'", to) == 1);
    CHECK(status(train + " --overwrite", to) == 1);
    CHECK(test::has(test::read_file(folder / "err"), "standard output cannot be written"));
  }
  // Nothing that was printed is in a file of the run.
  const json result = json::parse(test::read_file(folder / "out/result.json"));
  CHECK(result["epochs"] == 1);
  CHECK(status("evaluate --cutoffs 5 " + model + " '" + data.path().string() + "'", "<&- >/dev/null") == 0);
  CHECK(status("recommend " + model + " --users 1", ">/dev/null") == 0);
  // One of OpenMP's lists of threads.
  ::setenv("OMP_NUM_THREADS", "2,1", 1);
  CHECK(status("recommend " + model + " --users 1", ">/dev/null") == 0);
  ::unsetenv("OMP_NUM_THREADS");
}

}  // namespace programs_errors_test
