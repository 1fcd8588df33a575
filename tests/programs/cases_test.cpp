/// @file cases_test.cpp
/// Inputs that people really have (shared/cases), and what is right for each.

#include "process.hpp"

#include <tests/support/shared.hpp>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace programs_cases_test {

using namespace rearm;
using nlohmann::json;
using rearm::test::Folder;
namespace fs = std::filesystem;

namespace {

struct Cases {
  fs::path dir = test::shared_dir() ? *test::shared_dir() / "cases" : fs::path();
  Folder folder;

  test::Finished train(const std::string& name, const std::string& out, std::vector<std::string> more = {}) const {
    more.insert(more.end(), {"--epochs", "2"});
    return train_as_set(name, out, more);
  }
  /// The epochs are the caller's to set.
  test::Finished train_as_set(const std::string& name, const std::string& out,
                              const std::vector<std::string>& more) const {
    std::vector<std::string> all = {(dir / name).string(),
                                    "--out",
                                    (folder / out).string(),
                                    "--batch-size",
                                    "128",
                                    "--embedding-dim",
                                    "8",
                                    "--user-knn-k",
                                    "5",
                                    "--item-knn-k",
                                    "5",
                                    "--threads",
                                    "1"};
    all.insert(all.end(), more.begin(), more.end());
    return test::run(folder, "rearm train", all);
  }
  json result(const std::string& out) const { return json::parse(test::read_file(folder / out / "result.json")); }
};

}  // namespace

TEST_CASE("odd folders are read, or refused with what is wrong") {
  REARM_NEEDS_PROGRAMS();
  const Cases cases;
  REARM_SKIP_UNLESS(fs::exists(cases.dir), "folder of cases");
  REQUIRE(cases.train("base", "base").status == 0);
  const json base = cases.result("base");
  for (const char* same : {"02a-appledouble-npy", "04-fortran-pairs", "05-ids-uint32", "07d-quoted"}) {
    CAPTURE(same);
    const test::Finished r = cases.train(same, same);
    INFO("stderr: " << r.err);
    REQUIRE(r.status == 0);
    CHECK(cases.result(same)["test"] == base["test"]);
  }
  const auto refused = [&](const test::Finished& r, const std::vector<std::string>& parts) {
    INFO("stderr: " << r.err);
    CHECK(r.status == 2);
    for (const std::string& part : parts) CHECK(test::has(r.err, part));
  };
  refused(cases.train("03-lfs-pointer", "pointer"), {"Git LFS pointer", "git lfs pull"});
  // An earlier run stays, and graphs are not begun.
  const std::string before = test::read_file(cases.folder / "base/model.safetensors");
  refused(cases.train("10a-user-has-all-items", "base", {"--overwrite"}), {"user", "items"});
  CHECK(test::read_file(cases.folder / "base/model.safetensors") == before);
  CHECK(fs::exists(cases.folder / "base/result.json"));
  refused(cases.train("10b-all-items-with-held-out", "held", {"--negatives", "exclude_all"}),
          {"--negatives exclude_train"});
  CHECK(cases.train("10b-all-items-with-held-out", "held").status == 0);
  refused(cases.train("22-other-data", "base", {"--resume"}), {"other data"});
  const test::Finished cold = cases.train("11-cold-users", "cold");
  CHECK(cold.status == 0);
  CHECK(test::has(cold.out, "60 test users have no train pairs but count in the means"));
  CHECK(test::has(cold.out, "count_cold_users"));
  CHECK(cases.train("11-cold-users", "warm", {"--count-cold-users", "false"}).status == 0);
  CHECK(cases.result("warm")["test"]["recall@20"] > cases.result("cold")["test"]["recall@20"]);
  const test::Finished shared = cases.train("12b-train-pairs-in-test", "shared");
  CHECK(shared.status == 0);
  CHECK(test::has(shared.out, "never recommended"));
  const test::Finished gaps = test::run(cases.folder, "rearm train",
                                        {(cases.dir / "09b-user-ids-with-gaps").string(), "--model", "bpr_mf",
                                         "--epochs", "1", "--out", (cases.folder / "gaps").string()});
  INFO("stderr: " << gaps.err);
  CHECK(gaps.status == 0);
  CHECK(test::has(gaps.out, "times the rows that they need: `rearm prepare` numbers ids without gaps"));
}

TEST_CASE("odd settings files are read, or refused with the line") {
  REARM_NEEDS_PROGRAMS();
  const Cases cases;
  REARM_SKIP_UNLESS(fs::exists(cases.dir / "toml"), "folder of cases");
  const std::vector<std::string> equal = {"--item-modality-weights", "0.5,0.5"};
  REQUIRE(cases.train("base", "base", equal).status == 0);
  const json base = cases.result("base");
  const auto train = [&](const char* file, const std::string& out, std::vector<std::string> more = {}) {
    more.insert(more.end(), {"--config", (cases.dir / "toml" / file).string()});
    return cases.train_as_set("base", out, more);
  };
  // All set two epochs, one of them those weights, and else what is so anyway.
  for (const char* same :
       {"01a-array-on-next-lines.toml", "01d-trailing-comma.toml", "01i-bom.toml", "01j-crlf.toml"}) {
    CAPTURE(same);
    const bool weights = std::string(same) == "01d-trailing-comma.toml";
    const test::Finished r = train(same, same, weights ? std::vector<std::string>() : equal);
    INFO("stderr: " << r.err);
    REQUIRE(r.status == 0);
    CHECK(cases.result(same)["epochs"] == 2);
    CHECK(cases.result(same)["test"] == base["test"]);
  }
  const auto refused = [&](const char* file, const std::string& line) {
    const test::Finished r = train(file, "refused");
    INFO("stderr: " << r.err);
    CHECK(r.status == 2);
    CHECK(test::has(r.err, std::string(file) + ":" + line + ":"));
    CHECK_FALSE(fs::exists(cases.folder / "refused"));
  };
  refused("01f-repeated-key.toml", "3");
  refused("01k-decimal-comma.toml", "1");
}

TEST_CASE("model files whose headers lie are refused before memory is taken for what they claim") {
  REARM_NEEDS_PROGRAMS();
  const Cases cases;
  REARM_SKIP_UNLESS(fs::exists(cases.dir), "folder of cases");
  const auto refuse = [&](const fs::path& model) {
    const test::Finished r = test::run(cases.folder, "rearm recommend", {model.string(), "--all-users"});
    INFO("stderr: " << r.err);
    CHECK(r.status == 2);
    CHECK(test::has(r.err, model.string()));
    return r.peak_bytes;
  };
  cases.folder.write("text.safetensors", "not a model at all");
  const long usual = refuse(cases.folder / "text.safetensors");
  int lies = 0;
  for (const auto& entry : fs::directory_iterator(cases.dir)) {
    if (!entry.path().filename().string().starts_with("26-")) continue;
    CAPTURE(entry.path());
    CHECK(refuse(entry.path()) < usual + (1L << 22));
    ++lies;
  }
  CHECK(lies == 3);
}

}  // namespace programs_cases_test
