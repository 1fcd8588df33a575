/// @file examples_test.cpp
/// The example programs, run as a user would.

#include <tests/programs/process.hpp>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace examples_test {

using namespace rearm;
using rearm::test::check_refused;
using rearm::test::Folder;

TEST_CASE("the examples run, and refuse wrong usage") {
  REARM_NEEDS_PROGRAMS();
  const Folder data, folder;
  test::write_data(data);
  const std::string out = (folder / "out").string();
  const test::Finished trained =
      test::run(folder, "rearm train", {data.path().string(), "--out", out, "--model", "bpr_mf", "--epochs", "1"});
  INFO("stderr: " << trained.err);
  REQUIRE(trained.status == 0);
  const std::string model = out + "/model.safetensors";
  const test::Finished top = test::run(folder, "recommend", {model, "3", "4"});
  CHECK(top.status == 0);
  CHECK(std::ranges::count(top.out, '\n') == 21);
  for (const char* name : {"custom_model", "quickstart"}) {
    CAPTURE(name);
    const test::Finished r = test::run(folder, name, {});
    CHECK(r.status == 0);
    CHECK(test::has(r.out, "recall@20"));
  }
  // With arguments custom_model is `rearm` with a model more.
  CHECK(test::has(test::run(folder, "custom_model models", {}).out, "rearm\nmy_model\n"));
  folder.write("sweep.toml", R"(
[sweep]
seeds = [1, 2]
[train]
epochs = 1
batch_size = 64
[model]
name = ["my_model", "bpr_mf"]
embedding_dim = 8
[model.my_model]
radius = [0.5, 2.0]
)");
  const std::string swept = (folder / "swept").string();
  for (const auto& [command, arguments] : {
           std::pair<std::string, std::vector<std::string>>{
               "sweep", {(folder / "sweep.toml").string(), data.path().string(), "--out", swept}},
           {"compare", {data.path().string(), swept}},
           {"report", {swept + "/runs/t001-s1"}},
           {"recommend", {swept + "/runs/t001-s1", "--users", "0"}},
       }) {
    CAPTURE(command);
    const test::Finished r = test::run(folder, "custom_model " + command, arguments);
    INFO("stderr: " << r.err);
    CHECK(r.status == 0);
    if (command != "recommend" && command != "report") CHECK(test::has(r.out, "my_model"));
  }
  const auto refusal = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {data.path().string(), "--model", "my_model", "--out",
                                          (folder / "refused").string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const test::Finished r = test::run(folder, "custom_model train", arguments);
    CHECK(r.status == 2);
    return r.err;
  };
  CHECK(test::has(refusal({"--radius", "0"}), "radius = 0"));
  CHECK(test::has(refusal({"--backend", "cuda"}), "my_model is a model of your own"));
  check_refused(folder, "rearm report", {swept + "/runs/t001-s1"}, {"model = 'my_model'", "model of your own"});
  check_refused(folder, "train_amazon", {}, {"DIR"});
  check_refused(folder, "train_amazon", {"--preset", "baby"}, {"--preset", "rearm train"});
  check_refused(folder, "train_amazon", {"/nowhere/at/all"}, {"/nowhere/at/all"});
  folder.write("other", "nothing of the kind");
  check_refused(folder, "recommend", {model}, {"rearm recommend"});
  check_refused(folder, "recommend", {(folder / "other").string(), "3"}, {"other"});
  check_refused(folder, "recommend", {model, "--all-users"}, {"--all-users", "rearm recommend"});
}

}  // namespace examples_test
