/// @file serving_test.cpp
/// `rearm recommend`, `similar` and `evaluate` on a model whose data set names its users and items.

#include "process.hpp"

#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/backend/cpu/ranking.hpp>
#include <rearm/data/load_dataset.hpp>
#include <rearm/eval/metrics.hpp>
#include <rearm/run/model_file.hpp>
#include <rearm/run/new_items.hpp>
#include <rearm/run/new_users.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <numeric>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace programs_serving_test {

using namespace rearm;
using nlohmann::json;
using rearm::test::check_refused;
using rearm::test::Folder;
namespace fs = std::filesystem;

namespace {

struct Line {
  std::string row, entry;
  int rank = 0;
  double score = 0;
};
std::vector<Line> tsv(const std::string& text) {
  std::vector<Line> out;
  std::istringstream in(text);
  std::string line;
  std::getline(in, line);
  while (std::getline(in, line)) {
    std::istringstream fields(line);
    Line& l = out.emplace_back();
    std::string rank, score;
    std::getline(fields, l.row, '\t');
    std::getline(fields, rank, '\t');
    std::getline(fields, l.entry, '\t');
    std::getline(fields, score);
    l.rank = std::stoi(rank);
    l.score = std::stod(score);
  }
  return out;
}

std::string user_name(Index u) { return "user, no. " + std::to_string(100 - u); }
std::string item_name(Index i) { return "B" + std::to_string(7 * i); }

/// A data set with names, and a model trained on it for an epoch.
struct Bench {
  Folder data, folder;
  Dataset dataset = test::write_data(data);
  std::string model = (folder / "out/model.safetensors").string();
  SavedModel<CpuBackend<float>> saved;

  Bench() {
    name(data);
    const test::Finished r = test::run(folder, "rearm train",
                                       {data.path().string(), "--model", "light_gcn", "--epochs", "2", "--batch-size",
                                        "64", "--embedding-dim", "8", "--out", (folder / "out").string()});
    INFO("stderr: " << r.err);
    REQUIRE(r.status == 0);
    saved = load_model<CpuBackend<float>>(model);
  }
  static void name(const Folder& data) {
    std::string users = "number\tname\n", items = users;
    for (Index u = 0; u < 60; ++u) users += std::to_string(u) + '\t' + user_name(u) + '\n';
    for (Index i = 0; i < 200; ++i) items += std::to_string(i) + '\t' + item_name(i) + '\n';
    data.write("users.tsv", users);
    data.write("items.tsv", items);
  }
  std::string run(const std::string& command, std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), model);
    const test::Finished r = test::run(folder, "rearm " + command, arguments);
    INFO("stderr: " << r.err);
    REQUIRE(r.status == 0);
    return r.out;
  }
  double score(Index u, Index i) const {
    double sum = 0;
    for (Index c = 0; c < saved.users.cols(); ++c) sum += double(saved.users(u, c)) * double(saved.items(i, c));
    return sum;
  }
  /// Items by score.
  std::vector<Id> ranked(Index u, std::vector<Id> items) const {
    std::ranges::sort(items, [&](Id a, Id b) { return score(u, a) > score(u, b); });
    return items;
  }
  std::vector<Id> unseen(Index u) const {
    std::vector<Id> out;
    for (Id i = 0; i < 200; ++i)
      if (!saved.seen.contains(u, i)) out.push_back(i);
    return out;
  }
};

void check_list(const std::vector<Line>& lines, const std::string& row, const std::vector<Id>& expected, bool named) {
  std::vector<std::string> got;
  for (const Line& line : lines)
    if (line.row == row) got.push_back(line.entry);
  std::vector<std::string> want;
  for (const Id id : expected) want.push_back(named ? item_name(id) : std::to_string(id));
  CHECK(got == want);
}

}  // namespace

TEST_CASE("recommend takes and prints names; numbers with --ids internal") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  CHECK(bench.saved.user_names[3] == user_name(3));
  auto top = bench.ranked(3, bench.unseen(3));
  top.resize(5);
  bench.folder.write("who", user_name(3) + "\r\n" + user_name(9) + "\n");
  const std::string who = (bench.folder / "who").string();
  const auto lines = tsv(bench.run("recommend", {"--users-file", who, "-k", "5"}));
  REQUIRE(lines.size() == 10);
  check_list(lines, user_name(3), top, true);
  CHECK(lines[0].score == doctest::Approx(bench.score(3, top[0])).epsilon(1e-5));
  check_list(tsv(bench.run("recommend", {"--users", "9,3", "-k", "5", "--ids", "internal"})), "3", top, false);
  const std::string as_json = bench.run("recommend", {"--users-file", who, "-k", "5", "--format", "json"});
  const json named = json::parse(as_json.substr(0, as_json.find('\n')));
  CHECK(named["user"] == user_name(3));
  CHECK(named["items"][0] == item_name(top[0]));
  check_refused(bench.folder, "rearm recommend", {bench.model, "--users", "3"}, {"user '3'", "--ids internal"});
  check_refused(bench.folder, "rearm recommend", {bench.model, "--users", "x", "--ids", "internal"}, {"'x'"});
  check_refused(bench.folder, "rearm recommend", {bench.model, "--users", "60", "--ids", "internal"}, {"user 60"});
}

TEST_CASE("recommend among allowed items, without denied ones, or each user's candidates") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  std::string some;
  std::vector<Id> allowed;
  for (Id i = 0; i < 200; i += 3) {
    some += item_name(i) + '\n';
    allowed.push_back(i);
  }
  bench.folder.write("allow", some);
  bench.folder.write("deny", item_name(0) + '\n' + item_name(3) + '\n' + item_name(4));
  const std::string allow = (bench.folder / "allow").string(), deny = (bench.folder / "deny").string();
  const auto without = [](std::vector<Id> from, auto leave) {
    std::erase_if(from, leave);
    return from;
  };
  for (const Id u : {0, 17, 59}) {
    const auto seen = [&](Id i) { return bench.saved.seen.contains(u, i); };
    const std::vector<std::string> base = {"--all-users", "-k", "200"};
    const auto with = [&](std::vector<std::string> more) {
      more.insert(more.begin(), base.begin(), base.end());
      return tsv(bench.run("recommend", more));
    };
    check_list(with({"--allow", allow}), user_name(u), bench.ranked(u, without(allowed, seen)), true);
    check_list(with({"--allow", allow, "--with-seen", "--deny", deny}), user_name(u),
               bench.ranked(u, without(allowed, [](Id i) { return i == 0 || i == 3; })), true);
    check_list(with({"--deny", deny}), user_name(u),
               bench.ranked(u, without(bench.unseen(u), [](Id i) { return i == 0 || i == 3 || i == 4; })), true);
    std::string pairs;
    std::vector<Id> own;
    for (Id i = 5; i < 200; i += 5) {
      pairs += user_name(u) + '\t' + item_name(i) + '\n';
      own.push_back(i);
    }
    bench.folder.write("own", pairs);
    const std::string file = (bench.folder / "own").string();
    const auto lines = with({"--candidates", file});
    check_list(lines, user_name(u), bench.ranked(u, without(own, seen)), true);
    CHECK(lines.size() == without(own, seen).size());  // nobody else has candidates
    check_list(with({"--candidates", file, "--with-seen", "--allow", allow}), user_name(u),
               bench.ranked(u, without(own, [](Id i) { return i % 3 != 0; })), true);
  }
  bench.folder.write("bad", "nobody\t" + item_name(0) + '\n');
  check_refused(bench.folder, "rearm recommend",
                {bench.model, "--all-users", "--candidates", (bench.folder / "bad").string()},
                {"bad: line 1", "nobody"});
  check_refused(bench.folder, "rearm recommend", {bench.model, "--all-users", "--allow", allow, "--deny", allow},
                {"leave no item"});
}

TEST_CASE("lists become files: NPY of numbers, and what was printed otherwise") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const std::string out = (bench.folder / "top").string();
  CHECK(bench.run("recommend", {"--all-users", "-k", "190", "--format", "npy", "--out", out}).empty());
  const auto items = read_npy<std::int64_t>(out + "_items.npy");
  const auto scores = read_npy<float>(out + "_scores.npy");
  REQUIRE(items.shape == std::vector<Index>{60, 190});
  CHECK(scores.shape == items.shape);
  for (const Index u : {Index{0}, Index{31}}) {
    std::vector<Id> expected = bench.ranked(u, bench.unseen(u));
    expected.resize(190, -1);
    for (std::size_t r = 0; r < 190; ++r) CHECK(items.values[static_cast<std::size_t>(u) * 190 + r] == expected[r]);
    CHECK(double(scores.values[static_cast<std::size_t>(u) * 190]) ==
          doctest::Approx(bench.score(u, expected[0])).epsilon(1e-5));
  }
  CHECK(bench.run("recommend", {"--all-users", "--out", out + ".tsv"}).empty());
  CHECK(test::read_file(out + ".tsv") == bench.run("recommend", {"--all-users"}));
  // A command that is refused leaves the file as it was.
  const std::string before = test::read_file(out + ".tsv");
  check_refused(bench.folder, "rearm recommend", {bench.model, "--users", "nobody", "--out", out + ".tsv"}, {"nobody"});
  CHECK(test::read_file(out + ".tsv") == before);
}

TEST_CASE("recommend to users, and of items, that the model does not know") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  using B = CpuBackend<float>;
  Context<B> ctx({.threads = 1});
  bench.folder.write("new", "zoe\t" + item_name(3) + "\nyan\t" + item_name(9) + "\nzoe\t" + item_name(8) + "\n");
  const std::string users = (bench.folder / "new").string();
  const Adjacency lists{{0, 2, 3}, {3, 8, 9}};
  const auto rows =
      represent_users<B>(ctx, bench.saved.users.view(), bench.saved.items.view(), bench.saved.seen, lists);
  const std::vector<Id> both = {0, 1};
  const auto top = recommend<B>(ctx, rows.view(), both, bench.saved.items.view(), &lists, 7);
  const auto lines = tsv(bench.run("recommend", {"--new-users", users, "-k", "7"}));
  REQUIRE(lines.size() == 14);
  check_list(lines, "zoe", {top.ids.row(0), top.ids.row(0) + 7}, true);
  check_list(lines, "yan", {top.ids.row(1), top.ids.row(1) + 7}, true);
  const std::string as_json = bench.run("recommend", {"--new-users", users, "--format", "json"});
  CHECK(json::parse(as_json.substr(0, as_json.find('\n')))["user"] == "zoe");

  // Items 0 to 199 as they were, and two with the features of others under new names.
  const Folder autumn;
  for (const Modality& m : bench.dataset.modalities) {
    Matrix<float> all(202, m.features.cols());
    m.features.copy_rows(0, all.view().row_block(0, 200));
    for (const Index copy : {Index{0}, Index{1}}) m.features.copy_rows(50 + copy, all.view().row_block(200 + copy, 1));
    write_npy(autumn / (m.name + "_feat.npy"), std::vector<float>(all.data(), all.data() + all.size()),
              {202, all.cols()});
  }
  std::string names = "number\tname\n";
  for (Index i = 0; i < 200; ++i) names += std::to_string(i) + '\t' + item_name(i) + '\n';
  autumn.write("items.tsv", names + "200\tscarf\n201\tgloves\n");
  SavedModel<B> more = load_model<B>(bench.model);
  const auto fresh = add_items<B>(ctx, more, read_item_folder(autumn.path()));
  const std::vector<std::string> with = {"--all-users", "--new-items", autumn.path().string(), "-k", "202"};
  const auto all = tsv(bench.run("recommend", with));
  std::map<std::string, double> of_user;
  for (const Line& line : all)
    if (line.row == user_name(4)) of_user[line.entry] = line.score;
  CHECK(of_user.size() == 202 - bench.saved.seen.row(4).size());
  double expected = 0;
  for (Index c = 0; c < more.items.cols(); ++c) expected += double(more.users(4, c)) * double(more.items(200, c));
  CHECK(of_user.at("scarf") == doctest::Approx(expected).epsilon(1e-5));
  auto only = with;
  only.emplace_back("--only-new");
  CHECK(tsv(bench.run("recommend", only)).size() == 60 * fresh.size());
  check_refused(bench.folder, "rearm recommend", {bench.model, "--all-users", "--only-new"}, {"--new-items"});
  check_refused(bench.folder, "rearm recommend", {bench.model, "--new-users", users, "--all-users"}, {"--new-users"});
  check_refused(bench.folder, "rearm recommend",
                {bench.model, "--all-users", "--new-items", autumn.path().string(), "--modalities", "smell"},
                {"smell"});
  bench.folder.write("bad", "zoe\tscarf\n");
  check_refused(bench.folder, "rearm recommend", {bench.model, "--new-users", (bench.folder / "bad").string()},
                {"bad: line 1", "scarf"});
}

TEST_CASE("similar items and users, by cosine and by inner product") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const auto dot = [](const Matrix<float>& m, Index a, Index b) {
    double sum = 0;
    for (Index c = 0; c < m.cols(); ++c) sum += double(m(a, c)) * double(m(b, c));
    return sum;
  };
  const auto check = [&](const Matrix<float>& rows, Index of, bool cosine, const std::vector<Line>& lines,
                         const auto& name) {
    REQUIRE(static_cast<Index>(lines.size()) == rows.rows() - 1);
    std::map<std::string, double> expected;
    for (Index j = 0; j < rows.rows(); ++j)
      if (j != of) expected[name(j)] = dot(rows, of, j) / (cosine ? std::sqrt(dot(rows, of, of) * dot(rows, j, j)) : 1);
    for (std::size_t r = 0; r < lines.size(); ++r) {
      CHECK(lines[r].row == name(of));
      CHECK(lines[r].score == doctest::Approx(expected.at(lines[r].entry)).epsilon(1e-4));
      if (r > 0) CHECK(lines[r].score <= lines[r - 1].score);
      expected.erase(lines[r].entry);
    }
    CHECK(expected.empty());
  };
  check(bench.saved.items, 5, true, tsv(bench.run("similar", {"--items", item_name(5), "-k", "999"})), item_name);
  check(bench.saved.items, 5, false,
        tsv(bench.run("similar", {"--items", item_name(5), "-k", "999", "--by", "inner_product"})), item_name);
  check(bench.saved.users, 7, true, tsv(bench.run("similar", {"--users", "7", "--ids", "internal", "-k", "999"})),
        [](Index u) { return std::to_string(u); });
  const json line = json::parse(bench.run("similar", {"--items", item_name(5), "-k", "2", "--format", "json"}));
  CHECK(line["item"] == item_name(5));
  CHECK(line["similar"].size() == 2);
  check_refused(bench.folder, "rearm similar", {bench.model, "--items", "5"}, {"item '5'", "--ids internal"});
}

TEST_CASE("explain splits the scores that recommend gives") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  bench.folder.write("who", user_name(6));
  const auto top = tsv(bench.run("recommend", {"--users-file", (bench.folder / "who").string(), "-k", "2"}));
  std::istringstream in(bench.run("explain", {"--user", user_name(6), "-k", "2", "--top", "3", "--format", "json"}));
  std::string line;
  for (std::size_t r = 0; r < 2; ++r) {
    REQUIRE(std::getline(in, line));
    const json parts = json::parse(line);
    CHECK(parts["user"] == user_name(6));
    CHECK(parts["item"] == top[r].entry);
    const double score = parts["score"];
    CHECK(score == doctest::Approx(top[r].score).epsilon(1e-5));
    double columns = 0, items = parts["rest"].get<double>() + parts["other_items"].get<double>();
    for (const json& block : parts["columns"]) columns += block["contribution"].get<double>();
    for (const json& item : parts["items"]) items += item["contribution"].get<double>();
    CHECK(columns == doctest::Approx(score));
    CHECK(items == doctest::Approx(score));
    CHECK(parts["items"].size() == 3);
  }
  const std::string text = bench.run("explain", {"--user", "6", "--items", "4", "--ids", "internal"});
  CHECK(text.starts_with("user\titem\tpart\tof\tcontribution\n6\t4\tscore\t\t"));
  CHECK(test::has(text, "6\t4\trest\t\t"));
  check_refused(bench.folder, "rearm explain", {bench.model, "--user", "6"}, {"user '6'"});
  check_refused(bench.folder, "rearm explain", {bench.model}, {"--user"});
}

TEST_CASE("evaluate finds users and items by name, in whatever order a folder has them") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const std::string same =
      bench.run("evaluate", {bench.data.path().string(), "--metrics", "recall,mrr", "--cutoffs", "5,50"});
  const auto values = [](const std::string& text) {
    std::map<std::string, double> out;
    std::istringstream in(text);
    std::string name;
    for (double value = 0; in >> name >> value;) out[name] = value;
    return out;
  };
  const auto before = values(same);
  REQUIRE(before.size() == 4);
  CHECK(before.contains("mrr@50"));
  Matrix<Id> lists(60, 50);
  std::vector<Id> users(60);
  std::iota(users.begin(), users.end(), Id{0});
  for (Index u = 0; u < 60; ++u) std::copy_n(bench.ranked(u, bench.unseen(u)).begin(), 50, lists.row(u));
  const Index ks[] = {5, 50};
  const Metric metrics[] = {Metric::recall, Metric::mrr};
  const auto expected = mean_metrics(lists.view(), users, items_by_user(bench.dataset.test, 60), ks, metrics);
  for (const auto& [name, value] : before) CHECK(value == doctest::Approx(expected.at(name)).epsilon(1e-4));

  // The same users and items backwards, and a user and an item that the model has never seen.
  const Folder other;
  const auto turn = [&](const char* file, const Interactions& pairs, bool more) {
    std::vector<std::int64_t> u, i;
    for (std::size_t e = 0; e < pairs.users.size(); ++e) {
      u.push_back(60 - pairs.users[e]);
      i.push_back(200 - pairs.items[e]);
    }
    if (more) {
      u.insert(u.end(), {0, 5});
      i.insert(i.end(), {3, 0});
    }
    other.write_pairs(file, u, i);
  };
  turn("train.npy", bench.dataset.train, false);
  turn("valid.npy", bench.dataset.valid, false);
  turn("test.npy", bench.dataset.test, true);
  std::string names = "number\tname\n0\tsomebody\n";
  for (Index u = 1; u <= 60; ++u) names += std::to_string(u) + '\t' + user_name(60 - u) + '\n';
  other.write("users.tsv", names);
  names = "number\tname\n0\tsomething\n";
  for (Index i = 1; i <= 200; ++i) names += std::to_string(i) + '\t' + item_name(200 - i) + '\n';
  other.write("items.tsv", names);
  const test::Finished r =
      test::run(bench.folder, "rearm evaluate",
                {bench.model, other.path().string(), "--metrics", "recall,mrr", "--cutoffs", "5,50"});
  CHECK(r.status == 0);
  CHECK(r.out == same);
  CHECK(test::has(r.err, "2 of "));
  check_refused(bench.folder, "rearm evaluate", {bench.model, other.path().string(), "--ids", "internal"},
                {"60 users", "61"});
  check_refused(bench.folder, "rearm evaluate", {bench.model, other.path().string(), "--of", "new-items"},
                {"features"});
}

}  // namespace programs_serving_test
