// `rearm reproduce`: the paper's tables on a small data set, beside the published figures, and its figures.
#include "process.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <system_error>
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
  /// Killed as soon as 1, 2, ... of its runs have ended, while others go on.
  void kill_often(const std::string& table, const std::string& out, const std::vector<std::string>& more,
                  int times) const {
    for (int n = 1; n <= times; ++n) {
      const Folder other;
      test::Process process(other, "rearm reproduce", arguments(table, out, more));
      const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(5);
      while (ended_runs(out) < n && std::chrono::steady_clock::now() < end)
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      process.send(SIGKILL);
      CHECK(process.wait().status == 128 + SIGKILL);
      CHECK(ended_runs(out) >= n);
    }
  }
  int ended_runs(const std::string& out) const {
    std::error_code none_yet;
    int n = 0;
    for (const auto& entry : fs::directory_iterator(folder / out / "runs", none_yet))
      n += fs::exists(entry.path() / "result.json") ? 1 : 0;
    return n;
  }
  std::vector<std::vector<std::string>> csv(const std::string& name) const { return test::csv_rows(folder / name); }
  json settings(const std::string& run) const {
    return json::parse(test::read_file(folder / run / "result.json"))["settings"];
  }
};

}  // namespace

TEST_CASE("Table 3: each row leaves out what it says, beside the published figure; killed, it goes on") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const std::vector<std::string> seeds = {"--seeds", "1,2", "--jobs", "2"};
  bench.kill_often("table3", "out", seeds, 4);
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
  for (const char* said :
       {"Negatives: exclude_train", "features: made up", "not the same experiment", "best by recall@20",
        "The two best on validation", "by Holm", "those of baby, which this data set is not"}) {
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
  // A figure that is not among the published ones is a dash.
  fs::create_directories(bench.folder / "quality/published");
  bench.folder.write("quality/published/baby.toml",
                     "[table2.bpr_mf]\n'recall@20' = 0.25\n'ndcg@20' = 0.125\n[table2.rearm]\n'recall@20' = 0.5\n");
  bench.run("table2", "out",
            {"--seeds", "1", "--protocol", "exclude_all", "--quality", (bench.folder / "quality").string()});
  const auto dashed = bench.csv("out/table2.csv");
  REQUIRE(dashed.size() == 3);
  CHECK(dashed[1][7] == "0.1250");
  CHECK(dashed[2][5] == "0.5000");
  CHECK(dashed[2][7] == "-");
}

TEST_CASE("Figure 3: curves over settings, the best by validation; killed, it goes on, and no run is repeated") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const std::vector<std::string> asked = {"--seeds", "1,2",    "--jobs",
                                          "2",       "--rows", "rank=1,rank=2,rank=3,n_ui_layers=0,n_ui_layers=4"};
  bench.kill_often("fig3", "out", asked, 3);
  const test::Finished r = bench.run("fig3", "out", asked);
  bench.run("fig3", "straight", asked);
  for (const char* name : {"fig3.csv", "fig3.txt", "fig3.md", "fig3.svg"}) {
    INFO("file: " << name);
    CHECK(test::read_file(bench.folder / "out" / name) == test::read_file(bench.folder / "straight" / name));
  }
  const auto table = bench.csv("out/fig3.csv");
  REQUIRE(table.size() == 6);
  CHECK(table[0] == std::vector<std::string>{"setting", "value", "settings", "seeds", "epochs", "valid recall@20",
                                             "test recall@20"});
  CHECK(table[1][0] == "rank");
  CHECK(table[2][1] == "2");
  CHECK(table[5][0] == "n_ui_layers");
  // REARM's own rank (2) and layers (4) are one run.
  CHECK(fs::exists(bench.folder / "out/runs/rearm-s1/result.json"));
  CHECK_FALSE(fs::exists(bench.folder / "out/runs/rank-2-s1"));
  CHECK_FALSE(fs::exists(bench.folder / "out/runs/n-ui-layers-4-s1"));
  CHECK(table[2][6] == table[5][6]);
  CHECK(bench.settings("out/runs/rank-3-s2")["model"]["rank"] == 3);
  CHECK(bench.settings("out/runs/n-ui-layers-0-s2")["model"]["n_ui_layers"] == 0);
  // Of each curve the best on validation, among its own rows.
  for (const auto& [first, last] : {std::pair<std::size_t, std::size_t>{1, 3}, {4, 5}}) {
    std::size_t best = first;
    for (std::size_t i = first; i <= last; ++i)
      if (std::stod(table[i][5]) > std::stod(table[best][5])) best = i;
    const std::size_t at = r.out.find("Best on validation: " + table[best][0] + '=');
    REQUIRE(at != std::string::npos);
    CHECK(has(r.out.substr(at, r.out.find('\n', at) - at), "valid recall@20 " + table[best][5]));
  }
  const std::string svg = test::read_file(bench.folder / "out/fig3.svg");
  CHECK(svg.starts_with("<svg xmlns="));
  for (const char* part :
       {"rank of the meta network", "layers of the interaction graph", "Negatives: exclude_train", "features: made up"})
    CHECK(has(svg, part));
  CHECK(has(r.out, fs::exists(bench.folder / "out/fig3.png") ? "fig3.png" : "rsvg-convert"));
  const test::Finished again = bench.run("fig3", "out", asked);
  CHECK(again.out == r.out);
  CHECK(again.err.empty());
}

TEST_CASE("Figures 4 and 5: modalities alone, and what refining changes, with the runs that are there") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const test::Finished bars = bench.run("fig4", "out", {"--seeds", "1,2"});
  auto table = bench.csv("out/fig4.csv");
  REQUIRE(table.size() == 4);
  CHECK(table[1][0] == "image");
  CHECK(table[2][0] == "text");
  CHECK(table[3][0] == "image + text");
  CHECK(bench.settings("out/runs/only-text-s1")["model"]["modalities"] == json{"text"});
  CHECK(has(bars.out, "not the same experiment"));
  CHECK(has(test::read_file(bench.folder / "out/fig4.svg"), "test ndcg@20"));

  // REARM of the bars is REARM after refining: only the other model's runs are new.
  const test::Finished map = bench.run("fig5", "out", {"--seeds", "1,2"});
  CHECK(has(map.err, "w-o-ref-s2"));
  CHECK_FALSE(has(map.err, "rearm-s"));
  table = bench.csv("out/fig5_cells.csv");
  REQUIRE(table.size() == 1 + 12 * 12);
  std::size_t train = 0, test = 0;
  for (std::size_t i = 1; i < table.size(); ++i) {
    train += table[i][2] == "train" ? 1 : 0;
    test += table[i][2] == "test" ? 1 : 0;
    const double before = std::stod(table[i][3]), after = std::stod(table[i][5]), difference = std::stod(table[i][7]);
    CHECK(before > 0);
    CHECK(after < 1);
    CHECK(std::abs(after - before - difference) < 2e-6);
  }
  CHECK(train > 0);
  const std::string svg = test::read_file(bench.folder / "out/fig5.svg");
  std::size_t boxes = 0;
  for (std::size_t at = svg.find("class=\"box\""); at != std::string::npos; at = svg.find("class=\"box\"", at + 1))
    ++boxes;
  CHECK(boxes == 3 * (train + test));
  // Cells that are asked for.
  bench.run("fig5", "out", {"--seeds", "1,2", "--users", "3,5", "--items", "7"});
  table = bench.csv("out/fig5_cells.csv");
  REQUIRE(table.size() == 3);
  CHECK(table[2][0] == "u5");
  CHECK(table[2][1] == "i7");
  // A folder whose runs of REARM were made otherwise is not taken for this.
  bench.folder.write("small.toml", "[train]\nepochs = 1\n[model]\nusers.k = 5\n");
  check_refused(bench.folder, "rearm reproduce", bench.arguments("table3", "out", {"--seeds", "1"}),
                {"w/o ref", "train.epochs = 2", "train.epochs = 1", "--out"});
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
  refused(bench.arguments("fig3", "out", {"--rows", "rank=11"}), {"rank=11"});
  refused(bench.arguments("fig4", "out", {"--users", "1", "--items", "1"}), {"fig5"});
  refused(bench.arguments("fig5", "out", {"--users", "1"}), {"--items"});
  refused(bench.arguments("fig5", "out", {"--users", "1,99999", "--items", "1"}), {"99999"});
  refused(bench.arguments("fig5", "out", {"--users", "1,1", "--items", "1"}), {"twice"});
  refused(bench.arguments("fig5", "out", {"--rows", "REARM"}), {"--rows"});
  refused(bench.arguments("table3", "out", {"--quality", bench.folder.path().string()}),
          {"baby.toml", "benchmarks/quality"});
  bench.folder.write("small.toml", "[train]\nnegatives = 'exclude_all'\n");
  refused(bench.arguments("table3", "out", {}), {"small.toml", "--protocol"});
}

}  // namespace programs_reproduce_test
