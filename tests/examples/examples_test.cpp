/// @file examples_test.cpp
/// The example programs, run as a user would.

#include <tests/programs/process.hpp>

#include <algorithm>
#include <string>

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
  check_refused(folder, "train_amazon", {}, {"DIR"});
  check_refused(folder, "train_amazon", {"--preset", "baby"}, {"--preset", "rearm train"});
  check_refused(folder, "train_amazon", {"/nowhere/at/all"}, {"/nowhere/at/all"});
  folder.write("other", "nothing of the kind");
  check_refused(folder, "recommend", {model}, {"rearm recommend"});
  check_refused(folder, "recommend", {(folder / "other").string(), "3"}, {"other"});
  check_refused(folder, "recommend", {model, "--all-users"}, {"--all-users", "rearm recommend"});
}

}  // namespace examples_test
