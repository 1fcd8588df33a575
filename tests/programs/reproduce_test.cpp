// `rearm reproduce`: the paper's tables on a small data set, beside the published figures.
#include "process.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace programs_reproduce_test {

using namespace rearm;
using nlohmann::json;
using rearm::test::check_refused;
using rearm::test::Folder;
using rearm::test::has;
namespace fs = std::filesystem;

namespace {

struct Bench {
  Folder data, folder;
  Bench() {
    test::write_data(data);
    folder.write(
        "small.toml",
        "[train]\nepochs = 2\nbatch_size = 64\n[model]\nembedding_dim = 8\nrank = 2\nusers.k = 5\nitems.k = 4\n");
  }
  std::vector<std::string> arguments(const std::string& table, const std::string& out,
                                     const std::vector<std::string>& more) const {
    std::vector<std::string> all = {
        table,   data.path().string(),   "--as", "baby", "--config", (folder / "small.toml").string(),
        "--out", (folder / out).string()};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  test::Finished run(const std::string& table, const std::string& out, const std::vector<std::string>& more) const {
    const test::Finished r = test::run(folder, "rearm reproduce", arguments(table, out, more));
    INFO("stderr: " << r.err);
    REQUIRE(r.status == 0);
    return r;
  }
  std::vector<std::vector<std::string>> csv(const std::string& name) const {
    std::vector<std::vector<std::string>> out;
    std::istringstream in(test::read_file(folder / name));
    for (std::string line; std::getline(in, line);) {
      std::istringstream fields(line);
      auto& row = out.emplace_back();
      for (std::string cell; std::getline(fields, cell, ',');) row.push_back(cell);
    }
    return out;
  }
  json settings(const std::string& run) const {
    return json::parse(test::read_file(folder / run / "result.json"))["settings"];
  }
};

}  // namespace

TEST_CASE("Table 3: each row leaves out what it says, beside the published figure; killed, it goes on") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const std::vector<std::string> seeds = {"--seeds", "1,2", "--jobs", "2"};
  for (int i = 0; i < 4; ++i) {
    const Folder other;
    test::Process process(other, "rearm reproduce", bench.arguments("table3", "out", seeds));
    std::this_thread::sleep_for(std::chrono::milliseconds(60 * (i + 1)));
    process.send(SIGKILL);
    process.wait();
  }
  const test::Finished r = bench.run("table3", "out", seeds);
  const auto table = bench.csv("out/table3.csv");
  REQUIRE(table.size() == 10);
  CHECK(table[0] == std::vector<std::string>{"row", "settings", "seeds", "epochs", "test recall@20",
                                             "published recall@20", "test ndcg@20", "published ndcg@20"});
  const std::map<std::string, std::pair<std::string, std::string>> published = {
      {"w/o uu", {"0.1055", "0.0458"}},  {"w/o ii", {"0.0972", "0.0420"}},  {"w/o co", {"0.1057", "0.0458"}},
      {"w/o sim", {"0.0903", "0.0402"}}, {"w/o hom", {"0.0926", "0.0403"}}, {"w/o meta", {"0.1078", "0.0471"}},
      {"w/o ort", {"0.1079", "0.0470"}}, {"w/o ref", {"0.1070", "0.0467"}}, {"REARM", {"0.1105", "0.0479"}}};
  for (std::size_t i = 1; i < table.size(); ++i) {
    CHECK(table[i][2] == "2/2");
    CHECK(published.at(table[i][0]) == std::pair(table[i][5], table[i][7]));
    CHECK(has(table[i][4], "±"));
  }
  const json without = bench.settings("out/runs/w-o-ref-s2"), full = bench.settings("out/runs/rearm-s1");
  CHECK(without["model"]["use_meta"] == false);
  CHECK(without["model"]["use_orthogonal"] == false);
  CHECK(bench.settings("out/runs/w-o-hom-s1")["model"]["items"]["use"] == false);
  CHECK(full["model"]["use_meta"] == true);
  CHECK(full["model"]["cl_weight"] == 5e-6);  // the preset's
  CHECK(full["train"]["negatives"] == "exclude_train");
  for (const char* said : {"Negatives: exclude_train", "features: made up", "not the same experiment",
                           "best by recall@20", "The two best on validation", "by Holm"}) {
    INFO("said: " << said);
    CHECK(has(r.out, said));
    CHECK(has(test::read_file(bench.folder / "out/table3.md"), said));
  }
  // What is there is not run again; another seed comes to it; another protocol does not.
  const test::Finished again = bench.run("table3", "out", seeds);
  CHECK(again.out == r.out);
  CHECK(again.err.empty());
  CHECK(has(bench.run("table3", "out", {"--seeds", "1,2,3", "--rows", "REARM"}).err, "[3/3] rearm-s3"));
  check_refused(bench.folder, "rearm reproduce",
                bench.arguments("table3", "out", {"--seeds", "1,2", "--protocol", "exclude_all"}),
                {"exclude_train", "exclude_all", "--out"});
}

TEST_CASE("Table 2: models with the settings that are theirs") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const test::Finished r =
      bench.run("table2", "out", {"--seeds", "1", "--rows", "bpr_mf,light_gcn", "--protocol", "exclude_all"});
  const auto table = bench.csv("out/table2.csv");
  REQUIRE(table.size() == 3);
  CHECK(table[1][0] == "bpr_mf");
  CHECK(table[1][1] == "the model's defaults");
  CHECK(table[1][5] == "0.0357");
  CHECK(table[2][1] == "quality/baby/light_gcn.toml");
  CHECK(table[2].back() == "0.0328");
  CHECK(bench.settings("out/runs/light-gcn-s1")["model"]["n_layers"] == 3);
  CHECK(has(r.out, "which tells the model what is held out"));
}

TEST_CASE("odd uses of reproduce are refused") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const auto refused = [&](const std::vector<std::string>& arguments, const std::vector<std::string>& parts) {
    check_refused(bench.folder, "rearm reproduce", arguments, parts);
    CHECK_FALSE(fs::exists(bench.folder / "out"));
  };
  refused({"table4", bench.data.path().string()}, {"table4"});
  refused({"table3", bench.data.path().string(), "--out", (bench.folder / "out").string()}, {"--as"});
  refused(bench.arguments("table3", "out", {"--rows", "w/o all"}), {"w/o all"});
  refused(bench.arguments("table3", "out", {"--seeds", "1,1"}), {"twice"});
  refused(bench.arguments("table3", "out", {"--quality", bench.folder.path().string()}), {"baby.toml"});
  bench.folder.write("small.toml", "[train]\nnegatives = 'exclude_all'\n");
  refused(bench.arguments("table3", "out", {}), {"small.toml", "--protocol"});
}

}  // namespace programs_reproduce_test
