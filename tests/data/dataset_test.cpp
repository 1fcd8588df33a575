#include <rearm/data/load_dataset.hpp>

#include <tests/data/folder.hpp>
#include <tests/support/shared.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <locale>
#include <sstream>
#include <string>
#include <vector>

namespace data_dataset_test {

namespace {

using namespace rearm;
using rearm::test::error_of;
using rearm::test::Folder;
using rearm::test::has;

void write_features(const Folder& folder, const std::string& name, Index rows, Index cols) {
  std::vector<float> values(static_cast<std::size_t>(rows * cols));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = 1.0F + static_cast<float>(i);
  write_npy(folder / (name + "_feat.npy"), values, {rows, cols});
}
/// Three users, four items; user 2 and item 3 have no train pair.
void write_small(const Folder& folder) {
  folder.write_pairs("train.npy", {0, 1, 0, 1}, {0, 1, 2, 0});
  folder.write_pairs("valid.npy", {0, 2}, {1, 2});
  folder.write_pairs("test.npy", {1, 2}, {2, 3});
  write_features(folder, "text", 4, 2);
  write_features(folder, "image", 4, 3);
}
std::string data_error(const Folder& folder) {
  return error_of<DataError>([&] { load_dataset(folder.path()); });
}
bool warned(const Dataset& data, const std::string& part) {
  return std::ranges::any_of(data.warnings, [&](const std::string& w) { return has(w, part); });
}

TEST_CASE("a folder of splits and features is read, modalities in declared order") {
  const Folder folder;
  write_small(folder);
  for (const char* name : {"zeta", "audio", "brand"}) write_features(folder, name, 4, 1);
  const Dataset data = load_dataset(folder.path());
  CHECK(data.name == folder.path().filename().string());
  CHECK(data.n_users == 3);
  CHECK(data.n_items == 4);
  CHECK(data.train.users == std::vector<Id>{0, 1, 0, 1});
  CHECK(data.train.items == std::vector<Id>{0, 1, 2, 0});
  CHECK(data.test.items == std::vector<Id>{2, 3});
  std::vector<std::string> names;
  for (const Modality& m : data.modalities) names.push_back(m.name);
  CHECK(names == std::vector<std::string>{"image", "text", "audio", "brand", "zeta"});
  CHECK(data.modalities[0].features.cols() == 3);
  CHECK(!data.modalities[0].knn);
  CHECK(data.features_are == "unknown");
  const std::string held_out =
      "; 1 are in valid or test, for which a model of ids only guesses: `rearm prepare` with --split random or a "
      "larger --k-core leaves fewer of them";
  CHECK(data.warnings == std::vector<std::string>{"1 of 3 users have no train pairs" + held_out,
                                                  "1 of 4 items have no train pairs" + held_out,
                                                  "1 test users have no train pairs but count in the means of metrics; "
                                                  "count_cold_users = false leaves them out"});
}

TEST_CASE("an (N, 2) array is its transpose, int32 is accepted") {
  const Folder folder;
  write_small(folder);
  write_npy(folder / "train.npy", std::vector<std::int32_t>{0, 0, 1, 1, 0, 2}, {3, 2});
  const Dataset data = load_dataset(folder.path());
  CHECK(data.train.users == std::vector<Id>{0, 1, 0});
  CHECK(data.train.items == std::vector<Id>{0, 1, 2});
  write_npy(folder / "train.npy", std::vector<std::int32_t>{0, 0, 1, 1, 0, 2}, {6});
  CHECK(has(data_error(folder), "(6,)"));
}

TEST_CASE("duplicates are dropped, overlaps counted") {
  const Folder folder;
  write_small(folder);
  folder.write_pairs("train.npy", {1, 0, 1, 0, 1, 2}, {1, 0, 1, 2, 1, 3});
  folder.write_pairs("valid.npy", {1, 0}, {1, 2});
  folder.write_pairs("test.npy", {2, 1}, {3, 1});
  const Dataset data = load_dataset(folder.path());
  CHECK(data.train.users == std::vector<Id>{1, 0, 0, 2});
  CHECK(data.train.items == std::vector<Id>{1, 0, 2, 3});
  CHECK(data.warnings == std::vector<std::string>{
                             "train: 2 duplicate pairs dropped; `rearm prepare` writes the folder without them",
                             "train and valid share 2 pairs; what a user has in train is never "
                             "recommended, so these count as misses: `rearm prepare` drops them",
                             "train and test share 2 pairs; what a user has in train is never "
                             "recommended, so these count as misses: `rearm prepare` drops them",
                             "valid and test share 1 pairs; the best epoch is chosen by what is then measured: `rearm "
                             "prepare` drops them from test"});
}

TEST_CASE("dataset.json names the set, its sizes and what the features are") {
  const Folder folder;
  write_small(folder);
  folder.write("dataset.json", R"({"name": "Small", "n_users": 7, "n_items": 4,
                                   "modalities": {"image": "original", "text": "surrogate", "audio": "original"}})");
  Dataset data = load_dataset(folder.path());
  CHECK(data.name == "Small");
  CHECK(data.n_users == 7);
  CHECK(data.features_are == "image: original, text: surrogate");
  CHECK(warned(data, "audio_feat.npy is missing"));
  CHECK(warned(data, "5 of 7 users"));
  CHECK(has(error_of<ConfigError>([&] { select_modalities(data, {"image", "video"}); }), "image, text"));
  CHECK_THROWS_AS(select_modalities(data, {}), ConfigError);
  CHECK(data.modalities.size() == 2);
  select_modalities(data, {"text"});
  CHECK(data.modalities.size() == 1);
  CHECK(data.modalities[0].name == "text");
  CHECK(data.features_are == "surrogate");

  folder.write("dataset.json", R"({"n_users": 2})");
  CHECK(has(data_error(folder), "valid.npy: pair 1: user id 2 is outside [0, 2)"));
  folder.write("dataset.json", R"({"n_items": 5})");
  CHECK(has(data_error(folder), "has 4 rows but"));
  folder.write("dataset.json", R"({"n_items": 18446744073709551615})");
  CHECK(has(data_error(folder), "n_items is 18446744073709551615"));
  for (const char* bad :
       {"{", "[1]", R"({"n_users": -1})", R"({"n_users": "many"})", R"({"modalities": ["image"]})", R"({"name": 3})"}) {
    folder.write("dataset.json", bad);
    CHECK(has(data_error(folder), "dataset.json"));
  }
  folder.write("dataset.json", R"({"n_users": )" + std::string(200'000, '[') + std::string(200'000, ']') + "}");
  CHECK(has(data_error(folder), "nests"));
}

TEST_CASE("how many users dataset.json declares costs reading nothing") {
  const Folder folder;
  write_small(folder);
  folder.write("dataset.json", R"({"n_users": 2147483647})");
  const Dataset data = load_dataset(folder.path());
  CHECK(data.n_users == 2147483647);
  CHECK(warned(data, "of 2147483647 users have no train pairs"));
}

TEST_CASE("ids that are negative or out of range are named with file, position and value") {
  const Folder folder;
  write_small(folder);
  folder.write_pairs("valid.npy", {0, 2}, {1, -3});
  CHECK(has(data_error(folder), "valid.npy: pair 1: item id -3"));
  folder.write_pairs("valid.npy", {-1, 2}, {1, 3});
  CHECK(has(data_error(folder), "valid.npy: pair 0: user id -1"));
  folder.write_pairs("valid.npy", {0, 5'000'000'000}, {1, 3});
  CHECK(has(data_error(folder), "user id 5000000000"));
  folder.write_pairs("valid.npy", {0, 2'000'000'000}, {1, 3});
  CHECK(has(data_error(folder), "user id 2000000000"));
  folder.write_pairs("valid.npy", {0, 2}, {1, 4});
  const std::string text = data_error(folder);
  CHECK(has(text, "valid.npy: pair 1: item id 4"));
  CHECK(has(text, "image_feat.npy has 4 rows"));
}

TEST_CASE("feature files must agree, be finite and be readable") {
  const Folder folder;
  write_small(folder);
  write_features(folder, "text", 5, 2);
  const std::string text = data_error(folder);
  CHECK(has(text, "text_feat.npy has 5 rows"));
  CHECK(has(text, "image_feat.npy has 4 rows"));
  std::vector<float> values(8, 1.0F);
  values[7] = std::numeric_limits<float>::infinity();
  write_npy(folder / "text_feat.npy", values, {4, 2});
  CHECK(has(data_error(folder), "row 3, column 1"));
  folder.write("text_feat.npy", "\x80pickle");
  CHECK_THROWS_AS(load_dataset(folder.path()), IoError);
}

TEST_CASE("empty and missing splits are refused by name; without features there are no modalities") {
  const Folder folder;
  write_small(folder);
  for (const std::string name : {"train", "valid", "test"}) {
    write_npy(folder / (name + ".npy"), std::vector<std::int64_t>{}, {2, 0});
    CHECK(has(data_error(folder), "the " + name + " split is empty"));
    std::filesystem::remove(folder / (name + ".npy"));
    CHECK_THROWS_AS(load_dataset(folder.path()), IoError);
    write_small(folder);
  }
  std::filesystem::remove(folder / "text_feat.npy");
  std::filesystem::remove(folder / "image_feat.npy");
  const Dataset data = load_dataset(folder.path());
  CHECK(data.modalities.empty());
  CHECK(data.features_are == "none");
  CHECK(data.n_items == 4);
  CHECK_THROWS_AS(load_dataset(folder / "absent"), IoError);
}

TEST_CASE("precomputed neighbors: the largest k, checked") {
  const Folder folder;
  write_small(folder);
  write_npy(folder / "text_knn1_idx.npy", std::vector<std::int32_t>{0, 1, 2, 3}, {4, 1});
  write_npy(folder / "text_knn1_cos.npy", std::vector<float>(4, 1.0F), {4, 1});
  const std::vector<std::int64_t> ids = {0, 1, 1, 0, 2, 3, 3, 2};
  const std::vector<double> cosines = {1, 0.5, 1, 0.25, 1, -0.5, 1, 0};
  write_npy(folder / "text_knn2_idx.npy", ids, {4, 2});
  write_npy(folder / "text_knn2_cos.npy", cosines, {4, 2});
  const Dataset data = load_dataset(folder.path());
  CHECK(!data.modalities[0].knn);
  REQUIRE(data.modalities[1].knn);
  CHECK(data.modalities[1].knn->indices.cols() == 2);
  CHECK(data.modalities[1].knn->indices(2, 1) == 3);
  CHECK(data.modalities[1].knn->cosines(2, 1) == -0.5F);
  CHECK(!load_dataset(folder.path(), {.read_knn = false}).modalities[1].knn);
  for (const std::int64_t bad : {std::int64_t{-1}, std::int64_t{4}, std::int64_t{1} << 40}) {
    std::vector<std::int64_t> wrong = ids;
    wrong[5] = bad;
    write_npy(folder / "text_knn2_idx.npy", wrong, {4, 2});
    CHECK(has(data_error(folder), "neighbor " + std::to_string(bad) + " at row 2, column 1"));
  }
  write_npy(folder / "text_knn2_idx.npy", ids, {4, 2});
  std::vector<double> wrong = cosines;
  wrong[0] = std::nan("");
  write_npy(folder / "text_knn2_cos.npy", wrong, {4, 2});
  CHECK(has(data_error(folder), "row 0, column 0"));
  write_npy(folder / "text_knn2_cos.npy", cosines, {2, 4});
  CHECK(has(data_error(folder), "(2, 4)"));
  std::filesystem::remove(folder / "text_knn2_cos.npy");
  CHECK_THROWS_AS(load_dataset(folder.path()), IoError);
}

TEST_CASE("an MMRec .inter file gives the same data set") {
  const Folder folder, inter;
  write_small(folder);
  for (const char* name : {"text_feat.npy", "image_feat.npy"}) std::filesystem::copy(folder / name, inter / name);
  inter.write("small.inter",
              "userID\titemID\trating\ttimestamp\tx_label\n"
              "0\t0\t5.0\t1\t0\n1\t1\t5.0\t1\t0\n0\t1\t4.0\t2\t1\n0\t2\t3.0\t1\t0\n"
              "1\t0\t5.0\t1\t0\n2\t2\t5.0\t1\t1\n1\t2\t5.0\t1\t2\n2\t3\t5.0\t1\t2\n");
  const Dataset a = load_dataset(folder.path()), b = load_dataset(inter.path());
  CHECK(a.train.users == b.train.users);
  CHECK(a.train.items == b.train.items);
  CHECK(a.valid.users == b.valid.users);
  CHECK(a.valid.items == b.valid.items);
  CHECK(a.test.users == b.test.users);
  CHECK(a.test.items == b.test.items);
  CHECK(a.n_users == b.n_users);
  CHECK(a.n_items == b.n_items);
  CHECK(a.warnings == b.warnings);
  // Typed column names, another order, Windows line ends, no last newline.
  inter.write("small.inter", "x_label:float\titem_id:token\tuser_id:token\r\n0\t1\t0\r\n1\t2\t1\r\n\r\n2\t3\t2");
  CHECK(load_dataset(inter.path()).test.items == std::vector<Id>{3});

  const std::string head = "userID\titemID\tx_label\n";
  const auto error = [&](const std::string& text) {
    inter.write("small.inter", text);
    return data_error(inter);
  };
  CHECK(has(error("userID\titemID\trating\n0\t0\t1\n"), "x_label"));
  CHECK(has(error(""), "userID"));
  CHECK(has(error(head + "0\t0\t0\n0\tone\t0\n"), "line 3: itemID is 'one'"));
  CHECK(has(error(head + "0\t0\t0\n0\t1\n"), "line 3 has 2 columns"));
  CHECK(has(error(head + "0\t0\t3\n"), "x_label is 3"));
  CHECK(has(error(head + "0\t-1\t0\n"), "line 2: item id -1"));
  CHECK(has(error(head + "0\t0\t0\n0\t1\t1\n"), "the test split is empty"));
  CHECK(has(error(head + "0\t0\t0\n0\t1\t1\n1\t9\t2\n"), "small.inter: line 4: item id 9 is outside [0, 4)"));
  // Quotes around fields are none of them.
  inter.write("small.inter", "\"userID\"\t\"itemID\"\t\"x_label\"\n\"0\"\t\"1\"\t\"0\"\n1\t2\t1\n2\t3\t\"2\"\n");
  CHECK(load_dataset(inter.path()).test.items == std::vector<Id>{3});
  inter.write("small.inter", "version https://git-lfs.github.com/spec/v1\n");
  CHECK(has(error_of<IoError>([&] { load_dataset(inter.path()); }), "Git LFS pointer"));
  inter.write("other.inter", head);
  CHECK(has(error_of<IoError>([&] { load_dataset(inter.path()); }), "2 .inter files"));
}

TEST_CASE("hidden files are no data, and what the file system refuses is an IoError with its path") {
  const Folder folder;
  write_small(folder);
  folder.write("._text_feat.npy", "macOS writes such things");
  folder.write("._small.inter", "and such");
  folder.write(".hidden_feat.npy", "");
  CHECK(load_dataset(folder.path()).modalities.size() == 2);
  const std::filesystem::path circle = folder / "circle";
  std::filesystem::create_symlink(circle, circle);
  CHECK(has(error_of<IoError>([&] { load_dataset(circle); }), "circle"));
}

TEST_CASE("a program's locale does not reach what machines read") {
  struct Grouped : std::numpunct<char> {
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\3"; }
    char do_decimal_point() const override { return ','; }
  };
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new Grouped));
  const Folder folder;
  write_npy(folder / "a.npy", std::vector<float>(1000, 1.0F), {1000, 1});
  const std::string text = detail::message("recall@", 1000, ' ', 0.5);
  const std::size_t n = read_npy<float>(folder / "a.npy").values.size();
  std::ostringstream theirs;
  theirs << 1000;
  std::locale::global(before);
  CHECK(theirs.str() == "1.000");
  CHECK(text == "recall@1000 0.5");
  CHECK(n == 1000);
}

TEST_CASE("known_items joins the splits that negatives must avoid") {
  const Folder folder;
  write_small(folder);
  const Dataset data = load_dataset(folder.path());
  const Adjacency train = known_items(data, false), all = known_items(data, true);
  CHECK(train.degree(2) == 0);
  CHECK(std::vector<Id>(train.row(0).begin(), train.row(0).end()) == std::vector<Id>{0, 2});
  CHECK(std::vector<Id>(all.row(0).begin(), all.row(0).end()) == std::vector<Id>{0, 1, 2});
  CHECK(std::vector<Id>(all.row(2).begin(), all.row(2).end()) == std::vector<Id>{2, 3});
}

TEST_CASE("TikTok: real features, users and items without train pairs") {
  const auto shared = rearm::test::shared_dir();
  REARM_SKIP_UNLESS(shared, "shared/data is not there");
  Dataset data = load_dataset(*shared / "data" / "tiktok");
  CHECK(data.n_users == 9308);
  CHECK(data.n_items == 6710);
  CHECK(data.train.size() == 59541);
  CHECK(data.valid.size() == 3051);
  CHECK(data.test.size() == 6130);
  CHECK(data.features_are == "original");
  REQUIRE(data.modalities.size() == 2);
  CHECK(data.modalities[0].name == "image");
  CHECK(data.modalities[1].name == "audio");
  CHECK(data.modalities[1].features.cols() == 128);
  CHECK(warned(data, "10 of 9308 users have no train pairs"));
  CHECK(warned(data, "465 of 6710 items have no train pairs"));
}

TEST_CASE("Baby: surrogate features and the original neighbors") {
  const auto shared = rearm::test::shared_dir();
  REARM_SKIP_UNLESS(shared, "shared/data is not there");
  const Dataset data = load_dataset(*shared / "data" / "baby");
  CHECK(data.n_users == 19445);
  CHECK(data.n_items == 7050);
  CHECK(data.train.size() == 118551);
  CHECK(data.features_are == "surrogate");
  REQUIRE(data.warnings.size() == 1);
  CHECK(has(data.warnings[0], "3 of 7050 items have no train pairs; 3 are in valid or test"));
  REQUIRE(data.modalities.size() == 2);
  for (const Modality& m : data.modalities) {
    REQUIRE(m.knn);
    CHECK(m.knn->indices.rows() == 7050);
    CHECK(m.knn->indices.cols() == 10);
    // The stored cosines are (nearly) those of the features that stand in for the originals.
    Matrix<double> rows(7050, m.features.cols());
    m.features.copy_rows<double>(0, rows.view());
    double squared_error = 0;
    for (Index i = 0; i < 7050; i += 50)
      for (Index c = 0; c < 10; ++c) {
        const double* a = rows.row(i);
        const double* b = rows.row(m.knn->indices(i, c));
        double ab = 0, aa = 0, bb = 0;
        for (Index j = 0; j < rows.cols(); ++j) {
          ab += a[j] * b[j];
          aa += a[j] * a[j];
          bb += b[j] * b[j];
        }
        const double d = ab / std::sqrt(aa * bb) - static_cast<double>(m.knn->cosines(i, c));
        squared_error += d * d;
      }
    CHECK(std::sqrt(squared_error / 1410) < 0.003);
  }
}

TEST_CASE("Sports stores its features as float16, Clothing none") {
  const auto shared = rearm::test::shared_dir();
  REARM_SKIP_UNLESS(shared, "shared/data is not there");
  CHECK(read_npy_header(*shared / "data" / "sports" / "text_feat.npy").dtype == NpyType::float16);
  CHECK(load_dataset(*shared / "data" / "sports").n_items == 18357);
  const Dataset clothing = load_dataset(*shared / "data" / "clothing");
  CHECK(clothing.modalities.empty());
  CHECK(clothing.n_items == 23033);
  const Dataset movies = load_dataset(*shared / "data" / "ml100k");
  CHECK(movies.modalities.size() == 1);
  CHECK(movies.n_items == 1682);
}

}  // namespace

}  // namespace data_dataset_test
