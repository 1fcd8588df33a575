/// @file prepare_test.cpp
/// `rearm prepare` and `rearm check`: from raw files to a trained model, and nothing lost on the way.

#include "process.hpp"

#include <rearm/data/load_dataset.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <random>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace programs_prepare_test {

using namespace rearm;
using nlohmann::json;
using rearm::test::check_refused;
using rearm::test::Folder;
namespace fs = std::filesystem;

namespace {

struct Review {
  std::string user, item;
  int rating = 0;
  long time = 0;
};

std::string as_json(const Review& r) {
  return R"({"reviewerID": ")" + r.user + R"(", "asin": ")" + r.item +
         R"(", "reviewerName": "J. \"Mc\" Donald", "helpful": [2, 3], "reviewText": "I bought this for my husband who plays the piano. He is having a wonderful time playing these old hymns. The music is at times hard to read because we think the book was published for singing from more than playing from. Great purchase though!", "overall": )" +
         std::to_string(r.rating) + R"(.0, "summary": "Heavenly Highway Hymns", "unixReviewTime": )" +
         std::to_string(r.time) + R"(, "reviewTime": "09 13, 2009"})" + "\n";
}

/// Reviews of few users and items by most, as in shops.
std::vector<Review> make_reviews(int n) {
  std::mt19937 random(9);
  std::vector<Review> out;
  for (int i = 0; i < n; ++i) {
    const auto skewed = [&](double most) {
      const double x = static_cast<double>(random() % 100000) / 100000;
      return std::to_string(100000000 + static_cast<int>(x * x * most));
    };
    out.push_back({"A" + skewed(n / 6.0), "B" + skewed(n / 20.0), static_cast<int>(1 + random() % 5),
                   1252800000 + 86400 * static_cast<long>(random() % 1800)});
  }
  return out;
}

using Pair = std::pair<std::string, std::string>;

/// The 5-core of the pairs, counted by names.
std::set<Pair> core_of(const std::vector<Review>& reviews) {
  std::set<Pair> pairs;
  for (const Review& r : reviews) pairs.emplace(r.user, r.item);
  for (std::size_t before = 0; before != pairs.size();) {
    before = pairs.size();
    std::map<std::string, int> users, items;
    for (const auto& [user, item] : pairs) {
      ++users[user];
      ++items[item];
    }
    std::erase_if(pairs, [&](const Pair& pair) { return users[pair.first] < 5 || items[pair.second] < 5; });
  }
  return pairs;
}

std::vector<std::string> names_in(const fs::path& path) {
  std::istringstream in(test::read_file(path));
  std::vector<std::string> out;
  std::string line;
  std::getline(in, line);
  CHECK(line == "number\tname");
  while (std::getline(in, line)) {
    CHECK(line.starts_with(std::to_string(out.size()) + "\t"));
    out.push_back(line.substr(line.find('\t') + 1));
  }
  return out;
}

/// The pairs of one split by name.
std::vector<Pair> named_pairs(const fs::path& dir, const std::string& split) {
  const std::vector<std::string> users = names_in(dir / "users.tsv"), items = names_in(dir / "items.tsv");
  const NpyArray<std::int64_t> array = read_npy<std::int64_t>(dir / (split + ".npy"));
  const auto n = static_cast<std::size_t>(array.shape[1]);
  std::vector<Pair> out;
  for (std::size_t e = 0; e < n; ++e)
    out.emplace_back(users.at(static_cast<std::size_t>(array.values[e])),
                     items.at(static_cast<std::size_t>(array.values[n + e])));
  return out;
}

/// As `gzip` would write it, but not compressed: its format without its library.
std::string in_gzip(const std::string& text) {
  std::uint32_t crc = ~0U;
  for (const char c : text) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320U : 0U);
  }
  std::string out("\x1f\x8b\x08\0\0\0\0\0\0\xff", 10);
  const auto number = [&](std::uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out += static_cast<char>((value >> (8 * i)) & 0xFF);
  };
  for (std::size_t at = 0; at < text.size(); at += 60000) {
    const std::string part = text.substr(at, 60000);
    out += at + 60000 >= text.size() ? '\1' : '\0';
    number(static_cast<std::uint32_t>(part.size()), 2);
    number(~static_cast<std::uint32_t>(part.size()), 2);
    out += part;
  }
  number(~crc, 4);
  number(static_cast<std::uint32_t>(text.size()), 4);
  return out;
}

std::vector<std::string> files_of(const fs::path& dir) {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(dir)) out.push_back(entry.path().filename().string());
  std::ranges::sort(out);
  return out;
}

}  // namespace

TEST_CASE("200,000 raw reviews to a trained model in two commands, as an independent count has it") {
  REARM_NEEDS_PROGRAMS();
  const Folder folder;
  const std::vector<Review> reviews = make_reviews(200'000);
  std::string text;
  for (const Review& r : reviews) text += as_json(r);
  folder.write("reviews_5.json", text);
  const std::string out = (folder / "data").string();
  const test::Finished r =
      test::run(folder, "rearm prepare", {(folder / "reviews_5.json").string(), "--out", out, "--name", "Shop"});
  INFO("stderr: " << r.err);
  REQUIRE(r.status == 0);
  MESSAGE("prepare took " << r.cpu_seconds << " s");
#if defined(NDEBUG)
  CHECK(r.cpu_seconds < 5);
#endif
  const std::set<Pair> expected = core_of(reviews);
  REQUIRE(expected.size() > 100'000);
  std::set<std::string> users, items;
  for (const auto& [user, item] : expected) {
    users.insert(user);
    items.insert(item);
  }
  std::set<Pair> found;
  std::map<std::string, std::array<int, 3>> counts;
  std::size_t n = 0;
  for (const int s : {0, 1, 2})
    for (const Pair& pair : named_pairs(out, s == 0 ? "train" : s == 1 ? "valid" : "test")) {
      found.insert(pair);
      ++counts[pair.first][static_cast<std::size_t>(s)];
      ++n;
    }
  CHECK(n == expected.size());  // none twice
  CHECK(found == expected);
  CHECK(names_in(folder / "data/users.tsv").size() == users.size());
  CHECK(names_in(folder / "data/items.tsv").size() == items.size());
  for (const auto& [user, of] : counts) {
    const int held = of[0] + of[1] + of[2] < 10 ? 2 : (of[0] + of[1] + of[2]) / 5;
    CHECK(of[1] + of[2] == held);
    CHECK(of[1] == held / 2);
  }
  const json manifest = json::parse(test::read_file(folder / "data/dataset.json"));
  CHECK(manifest["name"] == "Shop");
  CHECK(manifest["n_users"] == users.size());
  CHECK(manifest["k_core"] == 5);
  CHECK(test::has(r.out, std::to_string(users.size()) + " users, " + std::to_string(items.size()) + " items, " +
                             std::to_string(expected.size()) + " interactions"));

  // The same pairs, users and items from the .inter, by a reader of its own.
  std::istringstream inter(test::read_file(folder / "data/data.inter"));
  std::string line;
  std::getline(inter, line);
  CHECK(line == "userID\titemID\trating\ttimestamp\tx_label");
  std::map<Pair, std::pair<long, std::size_t>> first;
  for (std::size_t e = 0; e < reviews.size(); ++e) {
    const auto [at, is_new] = first.try_emplace({reviews[e].user, reviews[e].item}, reviews[e].time, e);
    if (!is_new) at->second = std::min(at->second, {reviews[e].time, e});
  }
  const std::vector<std::string> user_names = names_in(folder / "data/users.tsv");
  const std::vector<std::string> item_names = names_in(folder / "data/items.tsv");
  std::size_t lines = 0, wrong = 0;
  std::pair<long, std::size_t> last = {-1, 0};
  for (std::size_t user = 0, item = 0; inter >> user >> item; ++lines) {
    int rating = 0, split = 0;
    long time = 0;
    inter >> rating >> time >> split;
    const auto& of = first.at({user_names.at(user), item_names.at(item)});
    wrong += time != of.first || rating != reviews[of.second].rating || of < last ? 1 : 0;
    last = of;
  }
  CHECK(lines == expected.size());
  CHECK(wrong == 0);

  const test::Finished trained = test::run(folder, "rearm train",
                                           {out, "--model", "bpr_mf", "--embedding-dim", "8", "--epochs", "1",
                                            "--threads", "2", "--out", (folder / "run").string()});
  INFO("stderr: " << trained.err);
  CHECK(trained.status == 0);
  CHECK(fs::exists(folder / "run/model.safetensors"));
}

TEST_CASE("the same reviews, compressed or as a table, give the same folder; splits have their options") {
  REARM_NEEDS_PROGRAMS();
  const Folder folder;
  const std::vector<Review> reviews = make_reviews(3000);
  std::string text, table = "time;who;stars;what\n", ratings;
  for (const Review& r : reviews) {
    text += as_json(r);
    const std::string time = std::to_string(r.time), rating = std::to_string(r.rating);
    table += time + ";" + r.user + ";\"" + rating + ".0\";" + r.item + "\r\n";
    ratings += r.user + "," + r.item + "," + rating + "," + time + "\n";
  }
  folder.write("reviews.json", text);
  folder.write("table.csv", table);
  folder.write("ratings.csv", ratings);
  const auto prepare = [&](const std::string& file, const std::string& out, std::vector<std::string> more) {
    std::vector<std::string> arguments = {(folder / file).string(), "--out", (folder / out / "data").string(),
                                          "--k-core", "2"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const test::Finished r = test::run(folder, "rearm prepare", arguments);
    INFO("stderr: " << r.err);
    REQUIRE(r.status == 0);
    return r;
  };
  const auto same = [&](const std::string& a, const std::string& b) {
    for (const std::string& name : files_of(folder / a / "data"))
      if (name != "dataset.json") {  // it names the source
        CAPTURE(name);
        CHECK(test::read_file(folder / a / "data" / name) == test::read_file(folder / b / "data" / name));
      }
  };
  prepare("reviews.json", "a", {});
  prepare("reviews.json", "again", {"--seed", "0"});
  same("a", "again");
  prepare("table.csv", "b", {"--user-column", "who", "--item-column", "what", "--rating-column", "stars"});
  same("a", "b");
  prepare("ratings.csv", "c", {"--columns", "user,item,rating,timestamp"});
  same("a", "c");
  prepare("reviews.json", "seed", {"--seed", "1"});
  CHECK(named_pairs(folder / "a/data", "test") != named_pairs(folder / "seed/data", "test"));
  prepare("reviews.json", "last", {"--split", "leave-one-out", "--min-rating", "3"});
  std::set<std::string> users;
  for (const auto& [user, item] : named_pairs(folder / "last/data", "test")) CHECK(users.insert(user).second);
  CHECK(users.size() == names_in(folder / "last/data/users.tsv").size());
  CHECK(test::has(prepare("reviews.json", "time", {"--split", "time"}).out, "interactions ("));

  const std::string gzip = in_gzip(text);
  folder.write("reviews.json.gz", gzip);
  folder.write("cut.json.gz", gzip.substr(0, gzip.size() / 2));
  const std::vector<std::string> cut = {(folder / "cut.json.gz").string(), "--out", (folder / "cut").string()};
  const test::Finished torn = test::run(folder, "rearm prepare", cut);
  CHECK(torn.status == 2);
  CHECK(!fs::exists(folder / "cut"));
  const bool has_zlib = !test::has(torn.err, "zlib1g-dev");
  REARM_SKIP_UNLESS(has_zlib, "zlib (the program was built without it)");
  CHECK(test::has(torn.err, "cut.json.gz: cannot be uncompressed"));
  prepare("reviews.json.gz", "gz", {});
  same("a", "gz");
}

TEST_CASE("features of raw data: found by id, filled and counted") {
  REARM_NEEDS_PROGRAMS();
  const Folder folder;
  std::string text;
  for (int u = 0; u < 8; ++u)
    for (int i = 0; i < 6; ++i)
      text += as_json({"A" + std::to_string(u), "B00000000" + std::to_string((i + u) % 6), 5, 100 + u * i});
  folder.write("reviews.json", text);
  std::string images;
  for (int i = 5; i >= 0; --i) {
    if (i == 2) continue;
    const std::vector<float> row(4096, static_cast<float>(i));
    images += "B00000000" + std::to_string(i);
    images.append(reinterpret_cast<const char*>(row.data()), row.size() * sizeof(float));
  }
  folder.write("images.b", images);
  write_npy(folder / "text.npy", std::vector<float>{0, 1, 2, 3, 4, 5}, {6, 1});
  folder.write("ids.txt", "B000000000\nB000000001\nB000000002\nB000000003\nB000000004\nB000000005\n");
  const std::string reviews = (folder / "reviews.json").string(), out = (folder / "out").string();
  const std::string image = "image=" + (folder / "images.b").string(), array = "text=" + (folder / "text.npy").string();
  const test::Finished r = test::run(folder, "rearm prepare",
                                     {reviews, "--out", out, "--features", image, "--features", array, "--feature-ids",
                                      "text=" + (folder / "ids.txt").string()});
  INFO("stderr: " << r.err);
  REQUIRE(r.status == 0);
  CHECK(test::has(r.out, "1 of 6 items have none and get the mean of the others"));
  const std::vector<std::string> names = names_in(folder / "out/items.tsv");
  const NpyArray<float> rows = read_npy<float>(folder / "out/image_feat.npy");
  const NpyArray<float> texts = read_npy<float>(folder / "out/text_feat.npy");
  CHECK(rows.shape == std::vector<Index>{6, 4096});
  for (std::size_t i = 0; i < 6; ++i) {
    const auto id = static_cast<float>(names[i].back() - '0');
    CHECK(rows.values[i * 4096] == doctest::Approx(id == 2 ? 2.6 : static_cast<double>(id)));
    CHECK(texts.values[i] == id);
  }
  const json manifest = json::parse(test::read_file(folder / "out/dataset.json"));
  CHECK(manifest["modalities"]["image"] == "original, 1 of 6 filled by mean");

  const auto refused = [&](std::vector<std::string> more, const std::vector<std::string>& parts) {
    std::vector<std::string> arguments = {reviews, "--out", (folder / "new").string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    check_refused(folder, "rearm prepare", arguments, parts);
    CHECK(!fs::exists(folder / "new"));
  };
  refused({"--features", "image"}, {"NAME=FILE"});
  refused({"--features", array}, {"--feature-ids text=FILE"});
  refused({"--features", image, "--features", image}, {"'image' is given twice"});
  refused({"--feature-ids", "text=ids.txt"}, {"--features text is missing"});
  refused({"--features", "image=" + reviews}, {"no whole number of records"});
  refused({"--features", image + "x"}, {"images.bx"});
  refused({"--features", array, "--feature-ids", "text=" + reviews}, {"48 lines for 6 rows"});
  refused({"--k-core", "9"}, {"nothing is left"});
  refused({"--k-core", "0x2"}, {"decimal"});
  refused({"--seed", "-1"}, {"--seed"});
  refused({"--min-rating", "0x2"}, {"--min-rating 0x2: must be a number"});
  refused({"--split", "keep"}, {"not split"});
  refused({"--columns", "a,b"}, {"holds JSON"});
  check_refused(folder, "rearm prepare", {(folder / "text.npy").string(), "--out", (folder / "new").string()},
                {"text.npy: line 1 holds a zero byte"});
  for (const std::string& name : files_of(folder.path())) CHECK(!name.starts_with('.'));  // nothing temporary is left
}

TEST_CASE("generated data becomes a folder, and data without features say which model to train") {
  REARM_NEEDS_PROGRAMS();
  const Folder folder;
  const std::string out = (folder / "synthetic").string();
  const test::Finished r = test::run(folder, "rearm prepare", {"--synthetic", "--out", out});
  INFO("stderr: " << r.err);
  REQUIRE(r.status == 0);
  const Dataset written = load_dataset(out), made = make_synthetic();
  CHECK(written.train.size() == made.train.size());
  CHECK(written.modalities.size() == made.modalities.size());
  CHECK(written.modalities.front().features_are == made.modalities.front().features_are);
  // Items that nobody has are gone; a row belongs to the item whose name is its number in the generated data.
  for (const Id item : {0, 100}) {
    const auto number = static_cast<Index>(std::stol(written.item_names[item]));
    Matrix<float> ours(1, written.modalities[0].features.cols()), theirs(1, ours.cols());
    written.modalities[0].features.copy_rows(item, ours.view());
    made.modalities[0].features.copy_rows(number, theirs.view());
    CHECK(std::ranges::equal(std::span(ours.data(), static_cast<std::size_t>(ours.size())),
                             std::span(theirs.data(), static_cast<std::size_t>(theirs.size()))));
  }
  check_refused(folder, "rearm prepare", {out, "--synthetic", "--out", (folder / "x").string()}, {"--synthetic"});
  check_refused(folder, "rearm prepare", {"--out", (folder / "x").string()}, {"--synthetic"});

  std::string pairs = "who,what,day\n";
  for (int u = 0; u < 20; ++u)
    for (int k = 0; k < 8; ++k)
      pairs += "u" + std::to_string(u) + ",i" + std::to_string((u + 3 * k) % 15) + ",2024-0" + std::to_string(k + 1) +
               "-1" + std::to_string(u % 10) + '\n';
  folder.write("pairs.csv", pairs);
  const std::string bare = (folder / "bare").string();
  const test::Finished table = test::run(folder, "rearm prepare",
                                         {(folder / "pairs.csv").string(), "--user-column", "who", "--item-column",
                                          "what", "--time-column", "day", "--split", "time", "--out", bare});
  INFO("stderr: " << table.err);
  REQUIRE(table.status == 0);
  CHECK(test::has(table.out, "ratings: none, times: yes"));
  CHECK(test::has(table.out, " train " + bare + " --model light_gcn"));
  check_refused(folder, "rearm train", {bare, "--out", (folder / "run").string()},
                {"REARM needs features", "rearm prepare --features", "--model light_gcn"});
}

TEST_CASE("a folder whose ids have gaps is renumbered in its place, features and names in step") {
  REARM_NEEDS_PROGRAMS();
  const Folder folder;
  const Dataset dense = test::write_data(folder);
  const auto spread = [&](const std::string& name, const Interactions& split) {
    std::vector<std::int64_t> users;
    for (const Id user : split.users) users.push_back(1000 * user + 5);
    folder.write_pairs(name, users, {split.items.begin(), split.items.end()});
  };
  spread("train.npy", dense.train);
  spread("valid.npy", dense.valid);
  spread("test.npy", dense.test);
  const std::string image = test::read_file(folder / "image_feat.npy");
  const Folder other;
  const std::string dir = folder.path().string();
  const auto check = [&] { return json::parse(test::run(other, "rearm check", {dir, "--format", "json"}).out); };
  const json before = check();
  const std::string unused = std::to_string(before["user_degrees"]["unused"].get<Index>());
  CHECK(test::has(before["warnings"].dump(), unused + " ids are not used at all"));
  CHECK(test::has(before["warnings"].dump(), "`rearm prepare` numbers ids without gaps"));
  check_refused(other, "rearm prepare", {dir, "--out", dir}, {"holds files already", "--overwrite"});
  folder.write("reviews.json", "{}");
  check_refused(other, "rearm prepare", {dir, "--out", dir, "--overwrite"}, {"reviews.json", "would be lost"});
  fs::remove(folder / "reviews.json");
  const test::Finished r = test::run(other, "rearm prepare", {dir, "--out", dir, "--overwrite"});
  INFO("stderr: " << r.err);
  REQUIRE(r.status == 0);
  const json after = check();
  CHECK(after["users"] == 60);
  CHECK(after["user_degrees"]["unused"] == 0);
  for (const char* same : {"name", "interactions", "train", "test"}) CHECK(after[same] == before[same]);
  CHECK(after["modalities"]["image"]["features_are"] == "made up");
  if (after["items"] == before["items"]) CHECK(test::read_file(folder / "image_feat.npy") == image);
  const std::vector<std::string> users = names_in(folder / "users.tsv"), items = names_in(folder / "items.tsv");
  CHECK(users[0] == "5");
  CHECK(users[59] == "59005");
  // Features follow the items' names, which were their numbers.
  const NpyArray<float> rows = read_npy<float>(folder / "image_feat.npy");
  Matrix<float> row(1, dense.modalities[0].features.cols());
  for (std::size_t i = 0; i < items.size(); ++i) {
    dense.modalities[0].features.copy_rows(std::stoi(items[i]), row.view());
    CHECK(rows.values[i * static_cast<std::size_t>(row.cols())] == row(0, 0));
  }
  // Once more: names stay.
  REQUIRE(test::run(other, "rearm prepare", {dir, "--out", dir, "--overwrite"}).status == 0);
  CHECK(names_in(folder / "users.tsv") == users);
}

TEST_CASE("check counts, and says what is odd") {
  REARM_NEEDS_PROGRAMS();
  const Folder folder;
  const Dataset data = test::write_data(folder);
  const std::string dir = folder.path().string();
  const Folder other;
  const test::Finished text = test::run(other, "rearm check", {dir});
  CHECK(text.status == 0);
  for (const char* part : {"users         60\n", "items         200\n", "of a user", "x random items", "made up"})
    CHECK(test::has(text.out, part));
  const json as_json = json::parse(test::run(other, "rearm check", {dir, "--format", "json", "--threads", "1"}).out);
  CHECK(as_json["train"] == data.train.size());
  CHECK(as_json["modalities"]["image"]["width"] == 8);
  CHECK(as_json["modalities"]["image"]["shared_users_lift"] > 1.1);  // the generator's features know the users' taste
  const json none = json::parse(test::run(other, "rearm check", {dir, "--format", "json", "-k", "0"}).out);
  CHECK(!none["modalities"]["image"].contains("shared_users_lift"));
  // Rows in another order know nothing of them.
  NpyArray<float> rows = read_npy<float>(folder / "image_feat.npy");
  std::vector<std::size_t> order(200);
  for (std::size_t i = 0; i < 200; ++i) order[i] = i;
  std::ranges::shuffle(order, std::mt19937(1));
  std::vector<float> mixed;
  for (const std::size_t i : order) mixed.insert(mixed.end(), &rows.values[8 * i], &rows.values[8 * i] + 8);
  write_npy(folder / "image_feat.npy", mixed, rows.shape);
  CHECK(test::has(test::run(other, "rearm check", {dir}).out, "warning: image: neighbors by these features share"));
  check_refused(other, "rearm check", {(folder / "absent").string()}, {"no such folder"});
  check_refused(other, "rearm check", {dir, "-k", "-1"}, {"k = -1"});
}

}  // namespace programs_prepare_test
