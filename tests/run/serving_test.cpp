/// @file serving_test.cpp
/// What a saved model calls its users and items, and the data sets that are matched with it.

#include <rearm/run/ids.hpp>
#include <rearm/run/match.hpp>
#include <rearm/run/model_file.hpp>
#include <tests/data/folder.hpp>
#include <tests/support/small_data.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace run_serving_test {

namespace {

using namespace rearm;
using rearm::test::error_of;
using rearm::test::Folder;
using rearm::test::has;
using B = CpuBackend<float>;
namespace fs = std::filesystem;

IdNames names_of(const std::vector<std::string>& texts) {
  IdNames out;
  for (const std::string& text : texts) out.add(text);
  return out;
}
/// Two users, three items, one column.
void save(const fs::path& file, IdNames users, IdNames items) {
  ModelOrigin origin;
  origin.seen.offsets = {0, 1, 3};
  origin.seen.ids = {0, 1, 2};
  origin.user_names = std::move(users);
  origin.item_names = std::move(items);
  const Matrix<float> u(2, 1), i(3, 1);
  save_model<B>(file, ParameterStore<B>(), record_settings("m", test::tiny_settings()), origin, 0, u.view(), i.view());
}

}  // namespace

TEST_CASE("names are numbered in order, found again, and one text") {
  IdNames names;
  CHECK_FALSE(names.find("a"));
  for (int i = 0; i < 1000; ++i) CHECK(names.add("n" + std::to_string(i * i)) == i);
  CHECK(names.add("n49") == 7);
  CHECK(names.add("") == 1000);
  CHECK(names.size() == 1001);
  for (int i = 0; i < 1000; ++i) {
    CHECK(names.find("n" + std::to_string(i * i)) == i);
    CHECK(names[i] == "n" + std::to_string(i * i));
  }
  CHECK_FALSE(names.find("n2"));
  CHECK(names.text().starts_with("n0\nn1\nn4\n"));
  CHECK(names.names().size() == 1001);
}

TEST_CASE("a model file carries the names of its data set") {
  const Folder folder;
  const fs::path file = folder / "model.safetensors";
  save(file, names_of({"ann", "bob, the \"b\""}), names_of({"x", "\xC3\xA9 y", " z"}));
  const SavedModel<B> model = load_model<B>(file);
  CHECK(model.user_names.names() == std::vector<std::string>{"ann", "bob, the \"b\""});
  CHECK(model.item_names.names() == std::vector<std::string>{"x", "\xC3\xA9 y", " z"});
  // Without names, or with those of one kind alone.
  save(file, {}, names_of({"x", "y", "z"}));
  CHECK(load_model<B>(file).user_names.empty());
  CHECK(load_model<B>(file).item_names.size() == 3);
  // Others than a model can have.
  const std::string before = test::error_of<DataError>([&] { save(file, names_of({"ann"}), {}); });
  CHECK(has(before, "1 names for 2 ids"));
  CHECK(has(error_of<DataError>([&] { save(file, names_of({"a\nb", "c"}), {}); }), "line break"));
  CHECK(load_model<B>(file).item_names.size() == 3);  // the file is as it was
  for (const char* text : {"a\nb", "a\n", "a\na\n", "a\nb\nc\n", "\nb\n", "a\tb\nc\n"}) {
    CAPTURE(text);
    save(file, {}, {});
    const TensorMetadata metadata = SafetensorsFile(file).metadata();
    const Matrix<float> u(2, 1), i(3, 1);
    const std::vector<Index> offsets = {0, 0, 0};
    const std::vector<TensorView> tensors = {
        tensor_view("representation.user", u.view()),
        tensor_view("representation.item", i.view()),
        {"seen.offsets", TensorType::i64, {1, 3}, offsets.data()},
        {"seen.items", TensorType::i32, {1, 0}, nullptr},
        {"names.user", TensorType::u8, {1, static_cast<Index>(std::string(text).size())}, text}};
    write_safetensors(file, tensors, metadata);
    CHECK(has(error_of<DataError>([&] { load_model<B>(file); }), "names.user"));
  }
}

TEST_CASE("a run's model has the names of its folder") {
  const Folder folder, out;
  folder.write_pairs("train.npy", {0, 1, 2, 0}, {0, 1, 2, 1});
  folder.write_pairs("valid.npy", {0}, {2});
  folder.write_pairs("test.npy", {1}, {0});
  folder.write("users.tsv", "number\tname\n0\tu0\n1\tu1\n2\tu2\n3\tof nobody\n");
  folder.write("i_id_mapping.csv", "asin\titemID\nB0\t0\nB1\t1\nB2\t2\n");
  const Dataset data = load_dataset(folder.path());
  CHECK(data.user_names.names() == std::vector<std::string>{"u0", "u1", "u2"});
  CHECK(data.item_names.names() == std::vector<std::string>{"B0", "B1", "B2"});
  CHECK(origin_of(data).item_names.names() == data.item_names.names());
  folder.write("users.tsv", "number\tname\n0\tu0\n2\tu2\n");
  CHECK(has(error_of<DataError>([&] { load_dataset(folder.path()); }), "no name for 1"));
}

TEST_CASE("a million names are written and read in a moment") {
  const Folder folder;
  ModelOrigin origin;
  const Index n = 1'000'000;
  for (Index i = 0; i < n; ++i) origin.user_names.add("A" + std::to_string(i * 7919 + 1'000'000'007));
  origin.seen.offsets.assign(static_cast<std::size_t>(n) + 1, 0);
  const Matrix<float> users(n, 1), items(1, 1);
  const fs::path file = folder / "model.safetensors";
  save_model<B>(file, ParameterStore<B>(), record_settings("m", test::tiny_settings()), origin, 0, users.view(),
                items.view());
  const auto start = std::chrono::steady_clock::now();
  const SavedModel<B> model = load_model<B>(file);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  MESSAGE("a model with a million names: " << seconds << " s");
  CHECK(seconds < 10);  // 0.3 s without a sanitizer or other load
  CHECK(model.user_names.find("A1000000007") == 0);
  CHECK(model.user_names.find("A" + std::to_string(Index{999'999} * 7919 + 1'000'000'007)) == 999'999);
}

TEST_CASE("ids are names, or numbers where there are none; others are refused by name") {
  const IdNames names = names_of({"7", "seven", "a b"});
  const IdTexts named("user", "m.safetensors", 3, &names), plain("item", "m.safetensors", 12, nullptr);
  CHECK(named.find("7") == 0);
  CHECK(named.find("a b") == 2);
  CHECK(named[1] == "seven");
  CHECK(plain.find("11") == 11);
  CHECK(plain[10] == "10");
  const std::string unknown = error_of<DataError>([&] { named.find("0"); });
  CHECK(has(unknown, "m.safetensors has no user '0'"));
  CHECK(has(unknown, "--ids internal"));
  CHECK(has(error_of<DataError>([&] { plain.find("12"); }), "item 12 is outside [0, 12)"));
  CHECK(has(error_of<DataError>([&] { plain.find("-1"); }), "item -1 is outside"));
  CHECK(has(error_of<DataError>([&] { plain.find("99999999999"); }), "outside"));
  for (const char* text : {"", " 1", "1 ", "0x1", "010", "1e2", "one", "+1", "-0", "-"}) {
    CAPTURE(text);
    CHECK(has(error_of<DataError>([&] { plain.find(text); }), std::string("item id '") + text + "' is not a whole"));
  }
}

TEST_CASE("files of ids: names are lines, numbers also words; pairs are two columns") {
  const Folder folder;
  const IdNames names = names_of({"a b", "c,d", "e"});
  const IdTexts named("user", "m", 3, &names), plain("user", "m", 9, nullptr);
  folder.write("names",
               "\xEF\xBB\xBF"
               "c,d\r\n\na b\n");
  folder.write("numbers", "1, 2\n8 \t0");
  CHECK(read_ids(folder / "names", named) == std::vector<Id>{1, 0});
  CHECK(read_ids(folder / "numbers", plain) == std::vector<Id>{1, 2, 8, 0});
  CHECK(has(error_of<DataError>([&] { read_ids(folder / "names", plain); }), "names: user id 'c' is not"));
  CHECK_THROWS_AS(read_ids(folder / "nowhere", plain), IoError);
  folder.write("pairs", "c,d\t1\r\n\na b\t8");
  std::vector<std::pair<Id, Id>> pairs;
  const auto read = [&](const char* file) {
    read_id_pairs(folder / file, [&](auto a, auto b) { pairs.emplace_back(named.find(a), plain.find(b)); });
  };
  read("pairs");
  CHECK(pairs == std::vector<std::pair<Id, Id>>{{1, 1}, {0, 8}});
  folder.write("bad", "e\t1\ne 1\n");
  CHECK(has(error_of<DataError>([&] { read("bad"); }), "bad: line 2: must be two ids"));
  folder.write("bad", "e\t1\t2\n");
  CHECK(has(error_of<DataError>([&] { read("bad"); }), "bad: line 1: must be two ids"));
  folder.write("bad", "e\t9\n");
  CHECK(has(error_of<DataError>([&] { read("bad"); }), "bad: line 1: user 9 is outside"));
}

TEST_CASE("a data set is matched with a model by name, else by number") {
  const Folder folder;
  const fs::path file = folder / "model.safetensors";
  save(file, names_of({"ann", "bob"}), names_of({"x", "y", "z"}));
  SavedModel<B> model = load_model<B>(file);
  Dataset data;
  data.n_users = 3;
  data.n_items = 2;
  data.user_names = names_of({"new", "bob", "ann"});
  data.item_names = names_of({"z", "x"});
  const MatchedIds ids = match_ids(model, data);
  CHECK(ids.users == std::vector<Id>{-1, 1, 0});
  CHECK(ids.items == std::vector<Id>{2, 0});
  const Interactions pairs = ids.renumber({{0, 1, 2}, {0, 0, 1}});
  CHECK(pairs.users == std::vector<Id>{1, 0});
  CHECK(pairs.items == std::vector<Id>{2, 0});
  // By number only where there are as many.
  CHECK(has(error_of<DataError>([&] { match_ids(model, data, true); }), "has 2 users but"));
  data.user_names = {};
  CHECK_THROWS_AS(match_ids(model, data), DataError);
  data.n_users = 2;
  CHECK(match_ids(model, data).users == std::vector<Id>{0, 1});
  const Adjacency a{{0, 2, 2}, {1, 4}}, b{{0, 2, 3}, {0, 4, 7}};
  CHECK(merge(a, b).ids == std::vector<Id>{0, 1, 4, 7});
  CHECK(merge(a, b).offsets == std::vector<Index>{0, 3, 4});
}

}  // namespace run_serving_test
