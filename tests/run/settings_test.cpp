/// @file settings_test.cpp
/// Settings as JSON, those of version 0.1 too, what is refused of it, and the comparison of two.

#include <rearm/models/rearm/config.hpp>
#include <rearm/run/settings.hpp>

#include <tests/data/folder.hpp>
#include <tests/support/version_0_1.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

namespace run_settings_test {

namespace {

using namespace rearm;
using nlohmann::json;
using rearm::test::error_of;
using rearm::test::has;

/// Another value, within the limits that any field has.
template <class T>
void change(T& value) {
  if constexpr (std::is_enum_v<T>) {
    const auto& values = EnumNames<T>::values;
    value = values[value == values[0].first ? 1 : 0].first;
  } else if constexpr (std::is_same_v<T, bool>) {
    value = !value;
  } else if constexpr (std::is_same_v<T, std::string>) {
    value += " changed";
  } else if constexpr (std::is_floating_point_v<T>) {
    value = value == 0 ? 0.125 : value / 3;
  } else if constexpr (std::is_integral_v<T>) {
    value += 1;
  } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    value.emplace_back("text");
  } else {
    using Number = typename T::value_type;
    value.push_back(std::is_integral_v<Number> ? Number{7} : static_cast<Number>(1.0 / 3));
  }
}

/// All fields of both structs, under their full names.
template <class F>
void visit_settings(RearmSettings& s, const F& f) {
  visit_fields(s.train, [&](const std::string& path, const Field&, auto& value) { f("train." + path, value); });
  visit_fields(s.model, [&](const std::string& path, const Field&, auto& value) { f("model." + path, value); });
}
RearmSettings all_changed() {
  RearmSettings s = preset("baby");
  visit_settings(s, [](const std::string&, auto& value) { change(value); });
  return s;
}
std::string refusal(const json& settings) {
  return error_of<ConfigError>([&] {
    RearmSettings s;
    update_settings(s, settings);
  });
}
std::string difference(const RearmSettings& ours, const json& theirs, std::string_view table) {
  return error_of<ConfigError>(
      [&] { require_same_settings(record_settings("rearm", ours), theirs, "the file", table); });
}

}  // namespace

TEST_CASE("JSON keeps every field") {
  RearmSettings empty;
  std::set<std::string> texts = {to_json(empty).dump()};
  int n_fields = 0;
  visit_settings(empty, [&](const std::string& path, auto& value) {
    CAPTURE(path);
    auto before = value;
    change(value);
    ++n_fields;
    const std::string text = to_json(empty).dump();
    CHECK(texts.insert(text).second);
    RearmSettings read;
    update_settings(read, json::parse(text));
    CHECK(read == empty);
    value = before;
  });
  CHECK(n_fields == 51);
  const RearmSettings changed = all_changed();
  RearmSettings read;
  update_settings(read, json::parse(to_json(changed).dump()));
  CHECK(read == changed);
  RearmSettings large;
  large.train.seed = std::numeric_limits<std::uint64_t>::max();
  large.train.epochs = std::numeric_limits<int>::max();
  update_settings(read = {}, json::parse(to_json(large).dump()));
  CHECK(read == large);
}

TEST_CASE("JSON has a table for training and one for the model, nested structs as objects") {
  const json j = json::parse(to_json(preset("sports")).dump());
  CHECK(j.at("train").at("weight_decay") == 5e-2);
  CHECK(j.at("train").at("watch") == "recall@20");
  CHECK(j.at("model").at("variant") == "reference");
  CHECK(j.at("model").at("features") == "trainable");
  CHECK(j.at("model").at("users") ==
        json({{"use", true}, {"k", 25}, {"n_layers", 2}, {"co_weight", 0.9}, {"modality_weights", {0.0, 1.0}}}));
}

TEST_CASE("what JSON does not say stays as it is") {
  RearmSettings s = preset("sports");
  update_settings(s, {{"model", {{"users", {{"k", 7}}}}}});
  RearmSettings want = preset("sports");
  want.model.users.k = 7;
  CHECK(s == want);
  update_settings(s, json::object());
  CHECK(s == want);
}

TEST_CASE("flat settings of version 0.1 are understood, all forty") {
  RearmSettings s = all_changed();
  s.train.watch = RearmSettings().train.watch;  // there was no choice
  s.train.count_cold_users = RearmSettings().train.count_cold_users;
  s.train.metrics = RearmSettings().train.metrics;
  s.train.cutoffs = RearmSettings().train.cutoffs;
  s.train.l2 = RearmSettings().train.l2;
  s.train.warmup_epochs = RearmSettings().train.warmup_epochs;
  s.train.edge_keep = RearmSettings().train.edge_keep;
  s.train.edge_sampling = RearmSettings().train.edge_sampling;
  s.model.features.normalize = RearmSettings().model.features.normalize;
  s.model.id_std = RearmSettings().model.id_std;
  s.model.use_attention = RearmSettings().model.use_attention;
  const json flat = json::parse(test::version_0_1_settings(s).dump());
  CHECK(flat.size() == 40);
  RearmSettings read;
  update_settings(read, flat);
  CHECK(read == s);
  for (const auto& entry : flat.items()) {
    const std::string& name = entry.key();
    CAPTURE(name);
    const std::string path = setting_path(read, name);
    CHECK_FALSE(path.empty());
    CHECK(setting_path(read, path) == path);
  }
}

TEST_CASE("a setting is found by its full name, without its table, and by its former name") {
  const RearmSettings s;
  CHECK(setting_path(s, "train.batch_size") == "train.batch_size");
  CHECK(setting_path(s, "batch_size") == "train.batch_size");
  CHECK(setting_path(s, "model.users.k") == "model.users.k");
  CHECK(setting_path(s, "users.k") == "model.users.k");
  CHECK(setting_path(s, "user_knn_k") == "model.users.k");
  CHECK(setting_path(s, "model.user_knn_k") == "model.users.k");
  CHECK(setting_path(s, "features") == "model.features");
  for (const char* none :
       {"", "users", "k", "model.batch_size", "train.users.k", "train.", "users.", "features.kind"}) {
    CAPTURE(none);
    CHECK(setting_path(s, none).empty());
  }
}

TEST_CASE("unknown keys are named") {
  CHECK(has(refusal({{"learning_rat", 1}}), "unknown key 'learning_rat' = 1"));
  CHECK(has(refusal({{"train", {{"rank", 3}}}}), "'train.rank'"));
  CHECK(has(refusal({{"model", {{"users", {{"m", 3}}}}}}), "'model.users.m'"));
  CHECK(has(refusal({{"users", 3}}), "'users'"));
  CHECK(has(refusal({{"batch_size", {{"a", 3}}}}), "'batch_size.a'"));
  CHECK(has(refusal({{"train", json::array()}}), "'train'"));
  for (const json& none : {json(3), json("text"), json::array(), json()})
    CHECK(has(refusal(none), "must be a JSON object"));
}

TEST_CASE("a value of the wrong kind is refused by name, never bent") {
  struct Case {
    const char* path;
    json value;
    const char* rule;
  };
  const Case cases[] = {
      {"model.rank", 3.7, "a whole number"},
      {"model.rank", 3.0, "a whole number"},
      {"model.rank", "three", "a whole number"},
      {"model.rank", "3", "a whole number"},
      {"model.rank", true, "a whole number"},
      {"model.rank", json(), "a whole number"},
      {"model.users.k", 2147483648LL, "a whole number that fits"},
      {"model.users.k", -2147483649LL, "a whole number that fits"},
      {"model.users.k", std::numeric_limits<std::uint64_t>::max(), "a whole number that fits"},
      {"model.users.k", std::numeric_limits<std::int64_t>::min(), "a whole number that fits"},
      {"train.seed", -1, "a whole number that fits"},
      {"train.seed", 1.5, "a whole number"},
      {"train.learning_rate", "0.1", "a number"},
      {"train.learning_rate", true, "a number"},
      {"train.learning_rate", json::array({0.1}), "a number"},
      {"train.bfloat16_moments", 1, "true or false"},
      {"train.bfloat16_moments", "true", "true or false"},
      {"train.watch", 20, "text"},
      {"model.variant", 1, "text"},
      {"model.variant", "other", "one of reference, paper"},
      {"train.negatives", "none", "one of exclude_all, exclude_train"},
      {"model.features", "", "one of trainable, frozen, residual"},
      {"model.users.modality_weights", 0.5, "a list"},
      {"model.users.modality_weights", {"0.5", "0.5"}, "a number"},
      {"model.modalities", "text", "a list"},
      {"model.modalities", {"text", 3}, "text"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.path);
    CAPTURE(c.value.dump());
    const std::string said = refusal({{c.path, c.value}});  // a dotted key is a full name
    CHECK(has(said, c.path));
    CHECK(has(said, c.rule));
  }
  // The ends of a type are in it, and a whole number is a number.
  RearmSettings s;
  update_settings(s, {{"users.k", 2147483647}, {"items.k", -2147483648LL}, {"learning_rate", 1}});
  CHECK(s.model.users.k == std::numeric_limits<int>::max());
  CHECK(s.model.items.k == std::numeric_limits<int>::min());
  CHECK(s.train.learning_rate == 1.0);
}

TEST_CASE("a difference between settings is named with both values, in the table that is asked for") {
  const RearmSettings ours = preset("baby");
  const auto theirs = [&](const auto& make) {
    RearmSettings other = ours;
    make(other);
    return json::parse(to_json(other).dump());
  };
  CHECK(difference(ours, theirs([](RearmSettings&) {}), "model.").empty());
  const json rank = theirs([](RearmSettings& s) { s.model.rank = 5; });
  CHECK(difference(ours, rank, "model.") ==
        "the file was made with rank = 5 but now it is 3; use the same settings or another file");
  CHECK(difference(ours, rank, "train.").empty());
  const json k = theirs([](RearmSettings& s) { s.model.items.k = 6; });
  CHECK(has(difference(ours, k, "model."), "items.k = 6 but now it is 10"));
  const json size = theirs([](RearmSettings& s) { s.train.batch_size = 7; });
  CHECK(has(difference(ours, size, "train."), "batch_size = 7"));
  CHECK(difference(ours, size, "model.").empty());
  const json longer = theirs([](RearmSettings& s) { s.train.epochs = s.train.patience = 7; });
  CHECK(difference(ours, longer, "train.").empty());  // they may differ
}

TEST_CASE("every field but epochs and patience must be the same to resume") {
  const RearmSettings ours = preset("baby");
  RearmSettings other = ours;
  std::set<std::string> may_differ;
  visit_settings(other, [&](const std::string& path, auto& value) {
    CAPTURE(path);
    const auto before = value;
    change(value);
    const std::string table = path.substr(0, path.find('.') + 1);
    const std::string said = difference(ours, json::parse(to_json(other).dump()), table);
    if (said.empty())
      may_differ.insert(path);
    else
      CHECK(has(said, path.substr(table.size()) + " = "));
    value = before;
  });
  CHECK(may_differ == std::set<std::string>{"train.epochs", "train.patience"});
  CHECK(record_settings("rearm", ours).may_differ == may_differ);
}

TEST_CASE("settings of version 0.1 are compared field by field, and what they lack is taken to be the same") {
  RearmSettings ours = preset("baby");
  json flat = json::parse(test::version_0_1_settings(ours).dump());
  for (const char* table : {"train.", "model."}) CHECK(difference(ours, flat, table).empty());
  flat["user_knn_k"] = 5;
  flat["epochs"] = 1;
  CHECK(has(difference(ours, flat, "model."), "users.k = 5 but now it is 40"));
  CHECK(difference(ours, flat, "train.").empty());
  flat["seed"] = 1;
  CHECK(has(difference(ours, flat, "train."), "seed = 1"));
  CHECK(difference(ours, json::object(), "model.").empty());
}

}  // namespace run_settings_test
