/// @file prepare_test.cpp
/// From interactions as they were collected to a folder: readers, k-core, splits, ids, features.

#include <rearm/data/formats/folder.hpp>
#include <rearm/data/formats/json_lines.hpp>
#include <rearm/data/item_features.hpp>
#include <rearm/data/prepare.hpp>
#include <rearm/data/statistics.hpp>
#include <rearm/data/write_dataset.hpp>

#include <tests/data/folder.hpp>
#include <tests/support/shared.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace data_prepare_test {

namespace {

using namespace rearm;
using rearm::test::error_of;
using rearm::test::Folder;
using rearm::test::has;

InteractionLog read(const std::string& text, const DelimitedOptions& options = {}) {
  std::istringstream in(text);
  return read_interactions(in, "file", options);
}
std::string data_error(const std::string& text, const DelimitedOptions& options = {}) {
  return error_of<DataError>([&] { read(text, options); });
}
/// "user item" of every interaction.
std::vector<std::string> pairs_of(const InteractionLog& log) {
  std::vector<std::string> out;
  for (std::size_t e = 0; e < log.pairs.users.size(); ++e)
    out.push_back(log.user_names[log.pairs.users[e]] + " " + log.item_names[log.pairs.items[e]]);
  return out;
}

const std::string reviews =
    R"({"reviewerID": "A2", "asin": "B1", "reviewerName": "J. \"Mc\" {", "helpful": [2, 3], "overall": 5.0, "unixReviewTime": 30})"
    "\n"
    R"({"asin": "B2", "reviewerID": "A1", "style": {"reviewerID": "no", "overall": 1}, "overall": 2, "unixReviewTime": 10})"
    "\r\n\n"
    R"({"reviewerID": "A1", "asin": "B1", "overall": 4.5, "unixReviewTime": 20})";

/// A log of random pairs, some of them repeated.
InteractionLog random_log(int n, int n_users, int n_items, bool timed = true) {
  std::mt19937 random(5);
  InteractionLog log;
  for (int e = 0; e < n; ++e) {
    const auto id = [&](int most) { return static_cast<int>(random() % static_cast<unsigned>(most)) % (1 + e % most); };
    detail::LogRecord record;
    const std::string user = "u" + std::to_string(id(n_users)), item = "i" + std::to_string(id(n_items));
    record.user = user;
    record.item = item;
    record.rating = static_cast<double>(1 + random() % 5);
    if (timed) record.time = static_cast<double>(random() % 50);
    detail::add_record(log, record, [] { return std::string("made"); });
  }
  return log;
}

/// What the k-core is by definition: remove one id at a time.
std::set<std::pair<Id, Id>> naive_core(std::set<std::pair<Id, Id>> pairs, std::size_t k) {
  for (bool changed = true; changed;) {
    changed = false;
    for (const bool users : {true, false}) {
      std::map<Id, std::size_t> counts;
      for (const auto& [u, i] : pairs) ++counts[users ? u : i];
      const auto rare = std::ranges::find_if(counts, [&](const auto& entry) { return entry.second < k; });
      if (rare == counts.end()) continue;
      changed = true;
      std::erase_if(pairs, [&](const auto& pair) { return (users ? pair.first : pair.second) == rare->first; });
    }
  }
  return pairs;
}

}  // namespace

TEST_CASE("Amazon's reviews are read from JSON lines, whatever the order of their fields") {
  const InteractionLog log = read(reviews);
  CHECK(pairs_of(log) == std::vector<std::string>{"A2 B1", "A1 B2", "A1 B1"});
  CHECK(log.ratings == std::vector<double>{5, 2, 4.5});
  CHECK(log.times == std::vector<double>{30, 10, 20});
  CHECK(log.splits.empty());
  CHECK(pairs_of(read("\xEF\xBB\xBF" + reviews)) == pairs_of(log));
  // The files of 2023 have other names, and ids that are numbers.
  const InteractionLog other = read(R"({"user_id": 17, "asin": "x", "parent_asin": "p", "timestamp": 1600000000123})");
  CHECK(pairs_of(other) == std::vector<std::string>{"17 p"});
  CHECK(other.ratings.empty());
  CHECK(other.times == std::vector<double>{1600000000123});
  const InteractionLog named = read(R"({"who": "a", "what": "b", "user": "c"})", {{"who", "what", "", ""}, "", {}});
  CHECK(pairs_of(named) == std::vector<std::string>{"a b"});
}

TEST_CASE("reviews that are wrong are named with file and line") {
  CHECK(has(data_error("{'reviewerID': 'A1', 'asin': 'B1'}\n"), "file: line 1 is a Python dictionary"));
  CHECK(has(data_error(reviews + "\n{\"reviewerID\": "), "file: line 5 is not a JSON object"));
  CHECK(has(data_error(reviews + "\n[1]"), "file: line 5 is not a JSON object: it must begin with {"));
  CHECK(has(data_error("[" + reviews), "file: line 1"));
  CHECK(has(data_error(reviews + "\n{\"reviewerID\": \"A1\"}"), "file: line 5: has no 'asin'"));
  CHECK(has(data_error(reviews + "\n{\"reviewerID\": null, \"asin\": \"B\"}"), "has no 'reviewerID'"));
  CHECK(has(data_error(reviews + "\n{\"reviewerID\": \"A\", \"asin\": \"B\"}"), "line 5: has no rating"));
  CHECK(has(data_error(reviews + R"(
{"reviewerID": "A", "asin": "B", "overall": "many", "unixReviewTime": 1})"),
            "line 5: 'overall' is 'many'"));
  CHECK(has(data_error(R"({"reviewerID": "", "asin": "B"})"), "line 1: the user id is empty"));
  CHECK(has(data_error(R"({"reviewerID": "a\tb", "asin": "B"})"), "holds a tab"));
  CHECK(has(data_error(R"({"a": "1", "b": "2"})"), "no column is known to hold the user; there are: a, b"));
  CHECK(has(data_error("\xFF\xFE{"), "UTF-16"));
  CHECK(has(error_of<IoError>([] { read("version https://git-lfs.github.com/spec/v1\noid"); }), "git lfs pull"));
  CHECK_THROWS_AS(read(reviews, {{}, ",", {}}), ConfigError);
}

TEST_CASE("delimited text: columns in any order, quotes, delimiters, no header") {
  const std::vector<std::string> pairs = {"a x", "b y"};
  CHECK(pairs_of(read("user_id:token\titem_id:token\trating:float\na\tx\t1\nb\ty\t2.5\n")) == pairs);
  CHECK(pairs_of(read("Rating,Item,User\r\n1,x,a\r\n\r\n2,y,b\r\n")) == pairs);
  CHECK(pairs_of(read("user;item;x_label\na;x;0\nb;y;2")) == pairs);
  CHECK(read("user;item;x_label\na;x;0\nb;y;2").splits == std::vector<std::uint8_t>{0, 2});
  CHECK(pairs_of(read("a::x::3\nb::y::4", {{}, "", {"user", "item", "rating"}})) == pairs);
  CHECK(pairs_of(read("a b x\nc b y", {{"n", "m", "", ""}, " ", {"n", "k", "m"}})) ==
        std::vector<std::string>{"a x", "c y"});
  CHECK(pairs_of(read("who,what\na,x\nb,y", {{"who", "what", "", ""}, "", {}})) == pairs);
  const InteractionLog quoted = read("user,text,item\n\"a, \"\"q\"\"\",\"two\nlines, \"\"here\"\"\",x\nb,5\" pipe,y\n");
  CHECK(pairs_of(quoted) == std::vector<std::string>{"a, \"q\" x", "b y"});
  CHECK(pairs_of(read("user\titem\tt\na\tx\t\"open\nb\ty\t\"\"\n")) == pairs);  // as RecBole and pandas write it

  CHECK(has(data_error("user,item,rating\na,x,1\nb,y,\n"), "file: line 3: the rating is '' but must be a number"));
  CHECK(
      read("user,item,time\na,x,1970-01-02\na,y,2014-07-01\nb,x,2014-07-01 13:05\nb,y,2014-07-01T13:05:30.5Z\nc,x,7\n")
          .times == std::vector<double>{86400, 1404172800, 1404219900, 1404219930.5, 7});
  for (const char* time : {"2014-13-01", "2014-02-30", "2014-7-01", "14-07-01", "01.07.2014", "2014-07-01 24:00",
                           "2014-07-01 13", "2014-07-01 13:5", "2014-07-01T13:05+02:00", "2014-07-01T", "-014-07-01",
                           "2014-07-01 13:05:", "2014-07-01 13:05:-1", "2014-07-01 13:05:61", ""}) {
    CAPTURE(std::string(time));
    CHECK(has(data_error("user,item,time\na,x," + std::string(time) + '\n'), "line 2: the time is '"));
  }
  CHECK(has(data_error("user,item\na,x\nb\n"), "line 3 has 1 columns but 2 are named"));
  CHECK(has(data_error("user,item,text\na,x,\"b\nc\n"), "line 2: a quote is opened"));
  CHECK(has(data_error("user,item,x_label\na,x,3\n"), "line 2: x_label is 3"));
  CHECK(has(data_error("a,b,5.0\nc,d,1.0\n"), "no column is known to hold the user; there are: a, b, 5.0"));
  CHECK(has(data_error("user,item\na,b\n", {{"", "", "stars", ""}, "", {}}), "no column 'stars'"));
  CHECK(has(data_error("user,item\n"), "holds no interactions"));
  CHECK(has(data_error("user\na\n"), "has one column"));
  CHECK(has(data_error(""), "holds no interactions"));
}

TEST_CASE("of repeated pairs the first by time stays, low ratings and ids outside of the core go") {
  const InteractionLog log = random_log(3000, 150, 90);
  PrepareSettings settings;
  settings.k_core = 4;
  settings.min_rating = 2;
  const PreparedInteractions out = prepare_interactions(log, settings);
  // By definition: the best of each pair, then the core.
  std::map<std::pair<Id, Id>, std::pair<double, std::size_t>> best;
  Index low = 0, rest = 0;
  for (std::size_t e = 0; e < log.pairs.users.size(); ++e) {
    if (log.ratings[e] < 2) {
      ++low;
      continue;
    }
    ++rest;
    const auto [at, is_new] = best.try_emplace({log.pairs.users[e], log.pairs.items[e]}, log.times[e], e);
    if (!is_new) at->second = std::min(at->second, {log.times[e], e});
  }
  std::set<std::pair<Id, Id>> all;
  for (const auto& [pair, found] : best) all.insert(pair);
  const auto core = naive_core(all, 4);
  CHECK(out.below_rating == low);
  CHECK(out.repeated == rest - static_cast<Index>(all.size()));
  CHECK(out.repeated > 100);
  CHECK(out.outside_core == static_cast<Index>(all.size() - core.size()));
  CHECK(out.outside_core > 50);
  REQUIRE(out.pairs.users.size() == core.size());
  std::pair<double, std::size_t> last = {-1, 0};
  std::set<Id> users, items;
  for (std::size_t e = 0; e < core.size(); ++e) {
    const std::pair<Id, Id> pair = {out.users[static_cast<std::size_t>(out.pairs.users[e])],
                                    out.items[static_cast<std::size_t>(out.pairs.items[e])]};
    REQUIRE(core.contains(pair));
    const auto found = best.at(pair);
    CHECK(found > last);  // in the order of time, then of the file
    last = found;
    CHECK(out.times[e] == found.first);
    CHECK(out.ratings[e] == log.ratings[found.second]);
    users.insert(out.pairs.users[e]);
    items.insert(out.pairs.items[e]);
  }
  CHECK(users.size() == out.users.size());
  CHECK(*users.rbegin() == static_cast<Id>(out.users.size()) - 1);
  CHECK(items.size() == out.items.size());
  CHECK(std::ranges::is_sorted(out.users));
  CHECK(std::ranges::is_sorted(out.items));
}

TEST_CASE("splits: sizes, determinism, and what comes last") {
  const InteractionLog log = random_log(3000, 150, 90);
  PrepareSettings settings;
  settings.k_core = 1;
  const PreparedInteractions random = prepare_interactions(log, settings);
  CHECK(prepare_interactions(log, settings).splits == random.splits);
  settings.seed = 1;
  CHECK(prepare_interactions(log, settings).splits != random.splits);
  std::vector<std::array<Index, 3>> counts(random.users.size());
  for (std::size_t e = 0; e < random.splits.size(); ++e)
    ++counts[static_cast<std::size_t>(random.pairs.users[e])][random.splits[e]];
  for (const auto& [train, valid, test] : counts) {
    const Index n = train + valid + test;
    CHECK(train >= 1);
    CHECK(test == (n < 2 ? 0 : n < 10 ? 1 : n / 5 - n / 5 / 2));
    CHECK(valid == (n < 3 ? 0 : n < 10 ? 1 : n / 5 / 2));
  }

  settings.split = SplitRule::leave_one_out;
  const PreparedInteractions last = prepare_interactions(log, settings);
  std::map<Id, std::vector<std::uint8_t>> of_user;
  for (std::size_t e = 0; e < last.splits.size(); ++e) of_user[last.pairs.users[e]].push_back(last.splits[e]);
  for (const auto& [user, splits] : of_user) {
    std::vector<std::uint8_t> expected(splits.size(), 0);
    if (splits.size() > 1) expected.back() = 2;
    if (splits.size() > 2) expected[splits.size() - 2] = 1;
    CHECK(splits == expected);
  }

  settings.split = SplitRule::time;
  const PreparedInteractions timed = prepare_interactions(log, settings);
  CHECK(std::ranges::is_sorted(timed.splits));
  for (std::size_t e = 1; e < timed.splits.size(); ++e)
    CHECK((timed.splits[e] == timed.splits[e - 1] || timed.times[e] > timed.times[e - 1]));
  const auto n = static_cast<double>(timed.splits.size());
  CHECK(static_cast<double>(timed.split(0).size()) / n == doctest::Approx(0.8).epsilon(0.03));
  CHECK(static_cast<double>(timed.split(2).size()) / n == doctest::Approx(0.1).epsilon(0.3));
}

TEST_CASE("settings that the interactions do not allow are refused") {
  PrepareSettings settings;
  settings.k_core = 1;
  const auto refused = [&](const InteractionLog& log) {
    return error_of<ConfigError>([&] { prepare_interactions(log, settings); });
  };
  const InteractionLog log = random_log(200, 20, 10, false);
  settings.split = SplitRule::time;
  CHECK(has(refused(log), "have no times"));
  settings.split = SplitRule::keep;
  CHECK(has(refused(log), "not split"));
  settings.split = SplitRule::random;
  settings.k_core = 0;
  CHECK(has(refused(log), "k_core = 0"));
  settings.k_core = 1;
  settings.min_rating = 3;
  CHECK(has(refused(read("user,item\na,b\n")), "have no ratings"));
  settings.k_core = 500;
  CHECK(has(error_of<DataError>([&] { prepare_interactions(log, settings); }), "nothing is left of 200"));
  settings = {};
  settings.k_core = 1;
  CHECK(has(error_of<DataError>([&] { prepare_interactions(read("user,item\na,b\nc,d\n"), settings); }),
            "the valid split of 2 interactions is empty"));
}

TEST_CASE("the published splits of Baby have the sizes of ours") {
  const auto shared = test::shared_dir();
  REARM_SKIP_UNLESS(shared && std::filesystem::exists(*shared / "data/baby/train.npy"), "shared data");
  const FolderLog baby = read_folder(*shared / "data/baby");
  const auto per_user = [&](const PreparedInteractions& prepared) {
    std::vector<std::array<Index, 3>> counts(prepared.users.size());
    for (std::size_t e = 0; e < prepared.splits.size(); ++e)
      ++counts[static_cast<std::size_t>(prepared.pairs.users[e])][prepared.splits[e]];
    return counts;
  };
  PrepareSettings settings;
  settings.split = SplitRule::keep;
  const PreparedInteractions published = prepare_interactions(baby.log, settings);
  CHECK(published.outside_core == 0);  // it is a 5-core
  settings.split = SplitRule::random;
  const PreparedInteractions ours = prepare_interactions(baby.log, settings);
  CHECK(per_user(published) == per_user(ours));
  CHECK(published.splits != ours.splits);
}

TEST_CASE("a folder keeps its splits, names and features, and loses the ids that are not used") {
  const Folder folder;
  folder.write_pairs("train.npy", {5, 5, 9, 9, 9}, {0, 2, 0, 2, 3});
  folder.write_pairs("valid.npy", {5}, {3});
  folder.write_pairs("test.npy", {9, 5}, {3, 0});  // both are in train
  write_npy(folder / "text_feat.npy", std::vector<double>{0, 1, 10, 11, 20, 21, 30, 31}, {4, 2});
  CHECK(has(error_of<DataError>([&] {
              FolderLog log = read_folder(folder.path());
              prepare_interactions(log.log, {1, {}, SplitRule::keep, 0});
            }),
            "the test split of 6 interactions is empty"));
  folder.write_pairs("test.npy", {9, 5, 20}, {3, 0, 2});
  FolderLog source = read_folder(folder.path());
  CHECK(source.users == std::vector<Id>{5, 9, 20});
  CHECK(source.items == std::vector<Id>{0, 2, 3});
  CHECK(source.log.user_names.names() == std::vector<std::string>{"5", "9", "20"});
  const PreparedInteractions out = prepare_interactions(source.log, {1, {}, SplitRule::keep, 0});
  CHECK(out.repeated == 2);
  CHECK(out.split(0).users == std::vector<Id>{0, 0, 1, 1, 1});
  CHECK(out.split(0).items == std::vector<Id>{0, 1, 0, 1, 2});
  CHECK(out.split(2).users == std::vector<Id>{2});
  CHECK(out.split(2).items == std::vector<Id>{1});

  // Written and read again: the same, and nothing is lost.
  const Folder copy;
  write_interactions(copy.path(), "copy", out);
  write_id_names(copy / "users.tsv", {"ann", "bob", "cy"});
  write_id_names(copy / "items.tsv", {"x", "y z", "\"w\""});
  const FolderLog again = read_folder(copy.path());
  CHECK(again.log.user_names.names() == std::vector<std::string>{"ann", "bob", "cy"});
  CHECK(read_id_names(copy / "items.tsv").at(2) == "\"w\"");
  CHECK(again.log.pairs.items == std::vector<Id>{0, 1, 0, 1, 2, 2, 1});
  std::filesystem::remove(copy / "train.npy");  // now the .inter is read
  CHECK(read_folder(copy.path()).log.pairs.items == again.log.pairs.items);
  CHECK(read_folder(copy.path()).log.splits == again.log.splits);
  copy.write("users.tsv", "number\tname\n0\tann\n1\tbob\n");
  CHECK(has(error_of<DataError>([&] { read_folder(copy.path()); }), "has no name for 2"));
  for (const char* bad : {"n\tm\n0\ta\n0\tb\n", "n\tm\n0\ta\n1\ta\n", "n\tm\n0\n", "n\tm\nx\ta\n", "n\tm\n0\t\n"}) {
    copy.write("users.tsv", bad);
    CHECK(has(error_of<DataError>([&] { read_id_names(copy / "users.tsv"); }), "users.tsv: line "));
  }
}

TEST_CASE("MMRec's folder: numbers, maps, ratings and times; RecBole's: names, one file or three") {
  const Folder mmrec;
  mmrec.write("baby.inter",
              "userID\titemID\trating\ttimestamp\tx_label\n1\t0\t5.0\t30\t0\n0\t2\t4.0\t1388275200\t0\n"
              "1\t2\t3.0\t20\t1\n0\t0\t1.0\t10\t2\n");
  mmrec.write("u_id_mapping.csv", "user_id\tuserID\nA2\t0\nA1\t1\n");
  mmrec.write("i_id_mapping.csv", "asin\titemID\nB3\t2\nB2\t1\nB1\t0\n");
  const FolderLog source = read_folder(mmrec.path());
  REQUIRE(source.data);
  CHECK(pairs_of(source.log) == std::vector<std::string>{"A1 B1", "A2 B3", "A1 B3", "A2 B1"});
  CHECK(source.log.ratings == std::vector<double>{5, 4, 3, 1});
  CHECK(source.log.splits == std::vector<std::uint8_t>{0, 0, 1, 2});
  CHECK(source.items == std::vector<Id>{0, 2});
  const PreparedInteractions out = prepare_interactions(source.log, {1, {}, SplitRule::keep, 0});
  const Folder copy;
  write_interactions(copy.path(), "copy", out);
  std::ifstream in(copy / "copy.inter");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  CHECK(text ==
        "userID\titemID\trating\ttimestamp\tx_label\n0\t0\t1\t10\t2\n1\t1\t3\t20\t1\n1\t0\t5\t30\t0\n"
        "0\t1\t4\t1388275200\t0\n");
  // The text has ratings and times for the arrays, as long as it has their pairs.
  const FolderLog again = read_folder(copy.path());
  CHECK(again.log.times == std::vector<double>{10, 20, 30, 1388275200});
  CHECK(again.log.user_names.names() == std::vector<std::string>{"0", "1"});
  copy.write_pairs("train.npy", {1, 0}, {0, 0});
  CHECK(read_folder(copy.path()).log.times.empty());
  copy.write("copy.inter", "not a table");
  CHECK(read_folder(copy.path()).log.size() == 4);

  const Folder recbole;
  const std::string head = "user_id:token\titem_id:token\ttimestamp:float\n";
  recbole.write("ml.inter", head + "a\tx\t1\nb\ty\t2\n");
  recbole.write("ml.item", "item_id:token\ttitle:token_seq\nx\tone two\n");
  CHECK(pairs_of(read_folder(recbole.path()).log) == std::vector<std::string>{"a x", "b y"});
  CHECK(!read_folder(recbole.path()).data);
  std::filesystem::remove(recbole / "ml.inter");
  recbole.write("ml.train.inter", head + "a\tx\t1\n");
  recbole.write("ml.valid.inter", head + "a\ty\t2\n");
  recbole.write("ml.test.inter", head + "b\ty\t3\n");
  const InteractionLog three = read_folder(recbole.path()).log;
  CHECK(pairs_of(three) == std::vector<std::string>{"a x", "a y", "b y"});
  CHECK(three.splits == std::vector<std::uint8_t>{0, 1, 2});
}

TEST_CASE("features are found by name; missing ones are filled and counted") {
  const Folder folder;
  IdNames items;
  for (const char* name : {"B000000000", "B000000001", "B000000002", "B000000003"}) items.add(name);
  const std::vector<Id> kept = {3, 0, 1};
  // Of item 3, of a stranger, of item 0, not of item 1.
  std::string bytes;
  for (const auto& [name, value] : {std::pair("B000000003", 3.0F), {"B0STRANGER", 9.0F}, {"B000000000", 1.0F}}) {
    std::vector<float> row(4096, value);
    row[1] = 0.5F;
    bytes += name;
    bytes.append(reinterpret_cast<const char*>(row.data()), row.size() * sizeof(float));
  }
  folder.write("image.b", bytes);
  const FilledFeatures image = gather_features(open_amazon_images(folder / "image.b", items), kept, items);
  CHECK(image.filled == 1);
  CHECK(image.values.cols() == 4096);
  CHECK(image.values(0, 0) == 3.0F);
  CHECK(image.values(1, 4095) == 1.0F);
  CHECK(image.values(2, 0) == 2.0F);  // the mean of 3 and 1: strangers do not count
  CHECK(image.values(2, 1) == 0.5F);
  const auto zero = gather_features(open_amazon_images(folder / "image.b", items), kept, items, Fill::zero);
  CHECK(zero.values(2, 0) == 0.0F);
  folder.write("cut.b", bytes.substr(0, bytes.size() - 1));
  CHECK(has(error_of<IoError>([&] { open_amazon_images(folder / "cut.b", items); }), "no whole number of records"));
  folder.write("pointer.b", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
  CHECK(has(error_of<IoError>([&] { open_amazon_images(folder / "pointer.b", items); }), "git lfs pull"));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(bytes.data() + 10 + 8, &nan, sizeof nan);
  folder.write("nan.b", bytes);
  CHECK(has(error_of<DataError>([&] { gather_features(open_amazon_images(folder / "nan.b", items), kept, items); }),
            "item 'B000000003' hold nan in column 2"));

  write_npy(folder / "text.npy", std::vector<float>{1, 2, 3, 4, 5, 6}, {3, 2});
  folder.write("ids.txt", "B000000001\r\nother\r\nB000000003\r\n");
  const auto text = gather_features(open_listed_features(folder / "text.npy", folder / "ids.txt", items), kept, items);
  CHECK(text.filled == 1);
  CHECK(text.values(0, 1) == 6.0F);
  CHECK(text.values(2, 0) == 1.0F);
  CHECK(text.values(1, 0) == 3.0F);
  const auto listed = [&](const std::string& ids) {
    folder.write("bad.txt", ids);
    return error_of<DataError>([&] { open_listed_features(folder / "text.npy", folder / "bad.txt", items); });
  };
  CHECK(has(listed("item\nB000000001\nother\nB000000003\n"), "has 4 lines for 3 rows"));
  CHECK(has(listed("B000000001\nB000000001\nother\n"), "line 2: 'B000000001' is also line 1"));
  folder.write("bad.txt", "a\nb\nc\n");
  CHECK(has(error_of<DataError>([&] {
              gather_features(open_listed_features(folder / "text.npy", folder / "bad.txt", items), kept, items);
            }),
            "none of the 3 items, for instance of 'B000000003'"));

  std::filesystem::create_directory(folder / "rows");
  write_npy(folder / "rows/B000000000.npy", std::vector<float>{7, 8}, {2});
  write_npy(folder / "rows/B000000001.npy", std::vector<float>{1, 2}, {1, 2});
  const auto rows = gather_features(open_feature_folder(folder / "rows", items), kept, items);
  CHECK(rows.filled == 1);
  CHECK(rows.values(1, 1) == 8.0F);
  CHECK(rows.values(0, 0) == 4.0F);
  write_npy(folder / "rows/B000000003.npy", std::vector<float>{1}, {1});
  CHECK(has(error_of<DataError>([&] { gather_features(open_feature_folder(folder / "rows", items), kept, items); }),
            "B000000003.npy: has 1 values"));
  std::filesystem::create_directory(folder / "empty");
  CHECK(has(error_of<DataError>([&] { open_feature_folder(folder / "empty", items); }), "B000000000.npy"));
}

TEST_CASE("neighbors are renumbered, or left out if one is gone") {
  KnnTable table{Matrix<Id>(4, 2), Matrix<float>(4, 2)};
  const Id ids[] = {0, 2, 1, 0, 2, 3, 3, 0};
  for (Index e = 0; e < 8; ++e) {
    table.indices.data()[e] = ids[e];
    table.cosines.data()[e] = static_cast<float>(e);
  }
  const auto kept = keep_neighbors(table, {0, 2, 3});
  REQUIRE(kept);
  CHECK(kept->indices(0, 1) == 1);
  CHECK(kept->indices(1, 1) == 2);
  CHECK(kept->cosines(2, 1) == 7.0F);
  CHECK(!keep_neighbors(table, {0, 1, 3}));
}

TEST_CASE("only a data set may be replaced") {
  const Folder folder;
  CHECK_NOTHROW(require_replaceable(folder.path(), false));
  CHECK_NOTHROW(require_replaceable(folder / "new", false));
  for (const char* name : {"train.npy", "text_feat.npy", "items.tsv", "x.inter", "image_knn10_idx.npy"})
    folder.write(name, "x");
  CHECK(has(error_of<ConfigError>([&] { require_replaceable(folder.path(), false); }), "--overwrite"));
  CHECK_NOTHROW(require_replaceable(folder.path(), true));
  CHECK_THROWS_AS(require_replaceable(folder / "train.npy", true), IoError);
  folder.write("reviews.json", "x");
  CHECK(has(error_of<ConfigError>([&] { require_replaceable(folder.path(), true); }), "holds reviews.json"));
}

TEST_CASE("degrees count train pairs of ids that have any") {
  Dataset data;
  data.n_users = 6;
  data.n_items = 4;
  data.train = {{0, 0, 0, 2, 3, 3}, {0, 1, 2, 0, 0, 1}};
  data.valid = {{4}, {0}};
  data.test = {{0}, {3}};
  const DatasetStatistics s = dataset_statistics(data);
  CHECK(s.interactions == 8);
  CHECK(s.sparsity == doctest::Approx(1 - 8.0 / 24));
  CHECK(s.users.min == 1);
  CHECK(s.users.median == 2);
  CHECK(s.users.max == 3);
  CHECK(s.users.without_train == 3);
  CHECK(s.users.unused == 2);
  CHECK(s.items.median == 2);
  CHECK(s.items.without_train == 1);
  CHECK(s.items.unused == 0);
}

}  // namespace data_prepare_test
