/// @file files_test.cpp
/// Files of a run: what they say of their model, what is refused, and those of version 0.1.

#include <rearm/run/result.hpp>
#include <tests/data/folder.hpp>
#include <tests/support/checkpoint.hpp>
#include <tests/support/small_data.hpp>
#include <tests/support/version_0_1.hpp>

#include <rearm/models/bpr_mf.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace run_files_test {

namespace {

using namespace rearm;
using namespace rearm::test;
using B = CpuBackend<float>;
namespace fs = std::filesystem;

std::string bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A context and a model in it.
struct Made {
  RearmSettings settings;
  Context<B> ctx;
  Model<B> model;
  Made(const Dataset& data, const RearmSettings& s)
      : settings(s), ctx({.threads = 1}, s.train.seed), model(ctx, data, s.model) {}
  SettingsRecord record() const { return record_settings(Model<B>::name, settings); }
  ParameterStore<B>& parameters() { return model.parameters(); }
};

TrainResult train_in(const fs::path& folder, const Dataset& data, const RearmSettings& s, bool resume = false) {
  Made made(data, s);
  return train(made.ctx, made.model, data, s, {folder, resume});
}

/// Metadata of a file with the same tensors.
TensorMetadata metadata_of(const fs::path& path) { return SafetensorsFile(path).metadata(); }
void rewrite(const fs::path& path, const TensorMetadata& metadata) {
  std::vector<Matrix<float>> floats;
  std::vector<Matrix<Index>> counts;
  std::vector<Matrix<Id>> ids;
  std::vector<TensorView> tensors;
  SafetensorsFile file(path);
  floats.reserve(file.tensors().size());  // views stay where they are
  const auto read = [&](const TensorInfo& info, auto& kept) {
    auto& matrix = kept.emplace_back(info.shape[0], info.shape[1]);
    file.read(info.name, matrix.view());
    tensors.push_back(tensor_view(info.name, std::as_const(matrix).view()));
  };
  counts.reserve(1);
  ids.reserve(1);
  for (const TensorInfo& info : file.tensors()) {
    if (info.type == TensorType::f32) read(info, floats);
    if (info.type == TensorType::i64) read(info, counts);
    if (info.type == TensorType::i32) read(info, ids);
  }
  write_safetensors(path, tensors, metadata);
}
/// Takes the checksums out.
void strip(const fs::path& path) {
  const std::string bytes = bytes_of(path);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  auto header = nlohmann::ordered_json::parse(bytes.substr(sizeof length, length));
  auto metadata = nlohmann::ordered_json::object();
  for (const auto& [key, value] : header.at("__metadata__").items())
    if (!key.starts_with("checksum")) metadata[key] = value;
  header["__metadata__"] = metadata;
  const std::string text = header.dump();
  const std::uint64_t size = text.size();
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&size), sizeof size);
  out << text << bytes.substr(sizeof length + length);
}
/// Turns a file into one of version 0.1.
void make_version_0_1(const fs::path& path, const RearmSettings& s) {
  TensorMetadata metadata = metadata_of(path);
  const bool model = metadata.at("format") == "rearm-model-3";
  metadata["format"] = model ? "rearm-model-1" : "rearm-checkpoint-1";
  metadata["config"] = version_0_1_settings(s).dump();
  for (const char* later : {"model", "settings", "epoch"}) metadata.erase(later);
  if (!model) {
    auto state = nlohmann::json::parse(metadata.at("state"));
    for (const char* later : {"epoch_step", "epoch_losses", "epoch_seconds"}) state.erase(later);
    metadata["state"] = state.dump();
  }
  rewrite(path, metadata);
  strip(path);
}

bool same_values(const ParameterStore<B>& a, const ParameterStore<B>& b) {
  return std::ranges::equal(a, b, [](const Parameter<B>& p, const Parameter<B>& q) {
    return p.name == q.name && std::equal(p.value().data, p.value().data + p.value().size(), q.value().data);
  });
}

RearmSettings two_epochs() {
  RearmSettings s = tiny_settings();
  s.train.epochs = 2;
  return s;
}

}  // namespace

TEST_CASE("files say which model they are of, its settings and where its weights come from") {
  const Dataset data = tiny_data();
  const RearmSettings s = two_epochs();
  const Folder folder;
  const TrainResult result = train_in(folder.path(), data, s);
  const TensorMetadata model = metadata_of(folder / "model.safetensors");
  CHECK(model.at("format") == "rearm-model-3");
  CHECK(model.at("model") == "rearm");
  CHECK(model.at("settings") == to_json(s).dump());
  CHECK(model.at("epoch") == std::to_string(result.best_epoch));
  CHECK(model.at("dataset") == "synthetic");
  CHECK(model.at("modalities") == "image,text");
  const TensorMetadata checkpoint = metadata_of(folder / "checkpoint.safetensors");
  CHECK(checkpoint.at("format") == "rearm-checkpoint-3");
  CHECK(checkpoint.at("model") == "rearm");
  CHECK(checkpoint.at("settings") == to_json(s).dump());

  const SavedModel<B> saved = load_model<B>(folder / "model.safetensors");
  CHECK(saved.model == "rearm");
  RearmSettings read;
  update_settings(read, saved.settings);
  CHECK(read == s);
}

TEST_CASE("a file of another model is refused with both names") {
  const Dataset data = tiny_data();
  const Folder folder;
  train_in(folder.path(), data, two_epochs());
  Made made(data, two_epochs());
  SettingsRecord other = made.record();
  other.model = "popularity";
  const auto said = [&](const auto& f) { return error_of<ConfigError>(f); };
  const std::string of_model =
      said([&] { load_parameters<B>(folder / "model.safetensors", made.parameters(), other); });
  CHECK(has(of_model, "is of the model rearm but this is popularity"));
  const fs::path checkpoint = folder / "checkpoint.safetensors";
  CHECK(has(said([&] { load_weights(checkpoint, made.parameters(), other); }), "rearm but this is popularity"));
  CHECK(has(said([&] { read_train_state(checkpoint, other); }), "rearm but this is popularity"));
  // The one is not the other.
  CHECK_THROWS_AS(load_model<B>(checkpoint), DataError);
  CHECK_THROWS_AS(read_train_state(folder / "model.safetensors", made.record()), DataError);
}

TEST_CASE("weights go into a model of the same settings, however it is trained; no other is changed") {
  const Dataset data = tiny_data();
  const RearmSettings s = two_epochs();
  const Folder folder;
  Made trained(data, s);
  train(trained.ctx, trained.model, data, s, {folder.path()});
  RearmSettings otherwise = s;
  otherwise.train = {};
  otherwise.train.batch_size = 3;
  Made made(data, otherwise);
  CHECK_FALSE(same_values(made.parameters(), trained.parameters()));
  load_parameters<B>(folder / "model.safetensors", made.parameters(), made.record());
  CHECK(same_values(made.parameters(), trained.parameters()));
  otherwise.model.items.k = 2;
  Made other(data, otherwise), untouched(data, otherwise);
  const auto load = [&] { load_parameters<B>(folder / "model.safetensors", other.parameters(), other.record()); };
  CHECK(has(error_of<ConfigError>(load), "items.k = 3 but now it is 2"));
  CHECK(same_values(other.parameters(), untouched.parameters()));
}

TEST_CASE("a model file of version 0.1 recommends, and its weights go into a model of its settings") {
  const Dataset data = tiny_data();
  const RearmSettings s = two_epochs();
  const Folder folder;
  const fs::path file = folder / "model.safetensors";
  Made trained(data, s);
  train(trained.ctx, trained.model, data, s, {folder.path()});
  const SavedModel<B> now = load_model<B>(file);
  make_version_0_1(file, s);
  CHECK(metadata_of(file).contains("config"));
  CHECK_FALSE(metadata_of(file).contains("model"));

  const SavedModel<B> saved = load_model<B>(file);
  CHECK(saved.model == "rearm");
  CHECK(saved.dataset == now.dataset);
  CHECK(saved.seen.ids == now.seen.ids);
  const std::vector<Id> users = {0, 3};
  const auto ids = saved.recommend(trained.ctx, users, 4).ids, want = now.recommend(trained.ctx, users, 4).ids;
  CHECK(std::equal(ids.data(), ids.data() + ids.size(), want.data()));
  RearmSettings read;
  update_settings(read, saved.settings);
  CHECK(read == s);

  Made made(data, s);
  load_parameters<B>(file, made.parameters(), made.record());
  CHECK(same_values(made.parameters(), trained.parameters()));
  RearmSettings other = s;
  other.model.users.k = 5;
  const auto load = [&] { load_parameters<B>(file, made.parameters(), record_settings(Model<B>::name, other)); };
  CHECK(has(error_of<ConfigError>(load), "users.k = 4 but now it is 5"));
}

TEST_CASE("a run of version 0.1 goes on from its checkpoint to the same bytes") {
  const Dataset data = tiny_data();
  const RearmSettings half = two_epochs();
  RearmSettings whole = half;
  whole.train.epochs = 5;
  const Folder parts, once;
  train_in(once.path(), data, whole);
  train_in(parts.path(), data, half);
  const fs::path checkpoint = parts / "checkpoint.safetensors";
  const TrainState before = read_train_state(checkpoint, record_settings(Model<B>::name, half));
  make_version_0_1(checkpoint, half);
  make_version_0_1(parts / "model.safetensors", half);
  CHECK(has(metadata_of(checkpoint).at("config"), "\"user_knn_k\":4"));
  const TrainState state = read_train_state(checkpoint, record_settings(Model<B>::name, whole));
  CHECK(state.epoch == 1);
  CHECK(state.step == before.step);
  CHECK(state.stopping == before.stopping);
  CHECK(state.best_valid == before.best_valid);

  const auto refused = [&](const auto& change) {
    RearmSettings other = whole;
    change(other);
    return error_of<ConfigError>([&] { train_in(parts.path(), data, other, true); });
  };
  CHECK(has(refused([](RearmSettings& s) { s.train.batch_size = 8; }), "batch_size = 16 but now it is 8"));
  CHECK(has(refused([](RearmSettings& s) { s.model.items.n_layers = 1; }), "items.n_layers = 2 but now it is 1"));
  // Its best epoch is the best by recall@20, whatever is asked for now.
  CHECK(has(refused([](RearmSettings& s) { s.train.watch = "ndcg@10"; }), "watch = \"recall@20\""));

  const TrainResult result = train_in(parts.path(), data, whole, true);
  CHECK(result.epochs == 5);
  CHECK(metadata_of(checkpoint).at("format") == "rearm-checkpoint-3");
  const auto tensors = [](const fs::path& path) {
    SafetensorsFile file(path);
    std::map<std::string, std::vector<float>> out;
    for (const TensorInfo& info : file.tensors()) {
      if (info.type != TensorType::f32) continue;
      Matrix<float> m(info.shape[0], info.shape[1]);
      file.read(info.name, m.view());
      out[info.name].assign(m.data(), m.data() + m.size());
    }
    return out;
  };
  CHECK(tensors(checkpoint) == tensors(once / "checkpoint.safetensors"));
  CHECK(tensors(parts / "model.safetensors") == tensors(once / "model.safetensors"));
}

TEST_CASE("metadata that is damaged is named with its file") {
  const Dataset data = tiny_data();
  const RearmSettings s = two_epochs();
  const Folder folder;
  train_in(folder.path(), data, s);
  const fs::path file = folder / "model.safetensors";
  Made made(data, s);
  const auto said = [&](const auto& change) {
    TensorMetadata metadata = metadata_of(file);
    const TensorMetadata whole = metadata;
    change(metadata);
    rewrite(file, metadata);
    const std::string of_load = error_of<DataError>([&] { load_model<B>(file); });
    const std::string of_weights =
        error_of<DataError>([&] { load_parameters<B>(file, made.parameters(), made.record()); });
    CHECK(has(of_load, file.string()));
    CHECK(of_load == of_weights);
    rewrite(file, whole);
    return of_load;
  };
  const std::string before = bytes_of(file);
  CHECK(has(said([](auto& m) { m["format"] = "rearm-model-4"; }), "'rearm-model-4' but must be 'rearm-model-3'"));
  CHECK(has(said([](auto& m) { m.erase("format"); }), "not a file of rearm"));
  CHECK(has(said([](auto& m) { m.erase("settings"); }), "no 'settings'"));
  CHECK(has(said([](auto& m) { m.erase("model"); }), "no 'model'"));
  CHECK(has(said([](auto& m) { m["settings"] = "{"; }), "settings in the metadata is not a JSON object"));
  CHECK(has(said([](auto& m) { m["settings"] = "[]"; }), "settings in the metadata is not a JSON object"));
  CHECK(has(said([](auto& m) {
              m["format"] = "rearm-model-1";
              m["config"] = "3";
            }),
            "config in the metadata is not a JSON object"));
  CHECK(bytes_of(file) == before);
}

TEST_CASE("a checkpoint whose counters are none, or contradict each other, is refused") {
  const Dataset data = tiny_data();
  const RearmSettings s = two_epochs();
  const Folder folder;
  train_in(folder.path(), data, s);
  const fs::path file = folder / "checkpoint.safetensors";
  Made made(data, s);
  const TensorMetadata whole = metadata_of(file);
  const auto refused = [&](const std::string& key, const nlohmann::json& value) {
    TensorMetadata metadata = whole;
    auto state = nlohmann::json::parse(metadata.at("state"));
    state[key] = value;
    metadata["state"] = state.dump();
    rewrite(file, metadata);
    const std::string said = error_of<DataError>([&] { read_train_state(file, made.record()); });
    INFO(said);
    return has(said, file.string()) && has(said, key);
  };
  CHECK_FALSE(refused("step", 5));
  CHECK(refused("epoch", 1.5));
  CHECK(refused("epoch", 1e300));
  CHECK(refused("epoch", std::int64_t{1} << 32));
  CHECK(refused("epoch", std::numeric_limits<int>::max()));
  CHECK(refused("epoch", true));
  CHECK(refused("epoch", -2));
  CHECK(refused("step", -1));
  CHECK(refused("step", std::numeric_limits<std::int64_t>::max()));
  CHECK(refused("step", std::numeric_limits<std::uint64_t>::max()));
  CHECK(refused("best_epoch", 7));
  CHECK(refused("best_epoch", -2));
  CHECK(refused("stale_epochs", -1));
  CHECK(refused("stale_epochs", 9));
  CHECK(refused("best_value", "high"));
  CHECK(refused("step_seconds", 0.5));
  CHECK(refused("step_seconds", {"long"}));
}

TEST_CASE("how far an inner optimizer was must be a count") {
  const Folder folder;
  const fs::path file = folder / "checkpoint.safetensors";
  ParameterStore<B> outer, inner;
  outer.add("w", 1, 2);
  inner.add("w", 1, 2);
  AdamW<B> first{AdamSettings{}}, second{AdamSettings{}};
  second.set_step_count(3);
  const std::vector<Trained<B>> trained = {{"", &outer, &first}, {"inner", &inner, &second}};
  const SettingsRecord settings = record_settings("m", tiny_settings());
  save_checkpoint<B>(file, trained, settings, {});
  second.set_step_count(0);
  load_checkpoint<B>(file, trained, settings);
  CHECK(second.step_count() == 3);
  TensorMetadata metadata = metadata_of(file);
  auto state = nlohmann::json::parse(metadata.at("state"));
  for (const nlohmann::json& updates : {nlohmann::json(-1), nlohmann::json(1.5), nlohmann::json("3"),
                                        nlohmann::json(std::numeric_limits<std::uint64_t>::max())}) {
    state["updates"]["inner"] = updates;
    metadata["state"] = state.dump();
    rewrite(file, metadata);
    CHECK(has(error_of<DataError>([&] { load_checkpoint<B>(file, trained, settings); }), "updates.inner"));
    CHECK(second.step_count() == 3);
  }
}

TEST_CASE("settings and digests that nest deep are refused, not followed") {
  const Dataset data = tiny_data();
  const RearmSettings s = two_epochs();
  const Folder folder;
  train_in(folder.path(), data, s);
  Made made(data, s);
  const std::string deep = "{\"model\":{\"rank\":" + std::string(200'000, '[') + std::string(200'000, ']') + "}}";
  for (const char* key : {"settings", "data", "state"}) {
    const fs::path file = folder / "checkpoint.safetensors";
    const TensorMetadata whole = metadata_of(file);
    TensorMetadata metadata = whole;
    metadata[key] = deep;
    rewrite(file, metadata);
    const std::string said = error_of<DataError>([&] { read_train_state(file, made.record()); });
    CHECK(has(said, key + std::string(" in the metadata nests")));
    rewrite(file, whole);
  }
}

TEST_CASE("a model file's seen items are ascending ids of its items, and no array is larger than the file") {
  const Folder folder;
  const fs::path file = folder / "model.safetensors";
  const Matrix<float> users(2, 1), items(3, 1);
  const auto write = [&](const std::vector<Index>& offsets, const std::vector<Id>& ids) {
    ModelOrigin origin;
    origin.seen.offsets = offsets;
    origin.seen.ids = ids;
    save_model<B>(file, ParameterStore<B>(), record_settings("m", tiny_settings()), origin, 0, users.view(),
                  items.view());
    return error_of<DataError>([&] { load_model<B>(file); });
  };
  CHECK(write({0, 2, 3}, {0, 2, 1}).empty());
  CHECK(has(write({0, 2, 3}, {2, 0, 1}), "user 0"));
  CHECK(has(write({0, 2, 3}, {0, 0, 1}), "user 0"));
  CHECK(has(write({0, 1, 3}, {0, 1, 3}), "user 1"));
  CHECK(has(write({0, 1, 3}, {0, -1, 1}), "user 1"));
  CHECK(has(write({0, 3, 2}, {0, 1, 2}), "seen.offsets"));
  // Shapes with an extent of 0 have no bytes, whatever the other.
  const Index large = Index{1} << 60;
  TensorMetadata metadata = metadata_of(file);
  metadata["n_users"] = std::to_string(large - 1);
  const std::vector<TensorView> tensors = {{"representation.user", TensorType::f32, {large - 1, 0}, nullptr},
                                           {"representation.item", TensorType::f32, {3, 0}, nullptr},
                                           {"seen.offsets", TensorType::i64, {0, large}, nullptr},
                                           {"seen.items", TensorType::i32, {0, large}, nullptr}};
  write_safetensors(file, tensors, metadata);
  CHECK(has(error_of<DataError>([&] { load_model<B>(file); }), "do not fit together"));
}

TEST_CASE("lines of metrics.jsonl without an epoch are dropped") {
  const Folder folder;
  folder.write("metrics.jsonl", "{\"epoch\":0}\n{\"epoch\":\"1\"}\n[]\n{\n{}\n{\"epoch\":1}\n{\"epoch\":2}\n");
  { const MetricsLog log(folder / "metrics.jsonl", 1); }
  CHECK(bytes_of(folder / "metrics.jsonl") == "{\"epoch\":0}\n{\"epoch\":1}\n");
}

namespace {

/// A model file and a checkpoint as small as they get, and what reads them.
struct SmallFiles {
  Folder folder;
  Dataset data = tiny_data();
  Settings<BprMfConfig> settings;
  Context<B> ctx{{.threads = 1}};
  std::unique_ptr<BprMf<B>> model;
  SmallFiles() {
    settings.model.embedding_dim = 1;
    settings.train.epochs = 1;
    model = std::make_unique<BprMf<B>>(ctx, data, settings.model);
    train(ctx, *model, data, settings, {folder.path(), false});
  }
  SettingsRecord record() const { return record_settings(BprMf<B>::name, settings); }
  fs::path checkpoint() const { return folder / "checkpoint.safetensors"; }
  void read_checkpoint() { load_weights(checkpoint(), model->parameters(), record()); }
  void read_model() const { load_model<B>(folder / "model.safetensors"); }
};

}  // namespace

TEST_CASE("every bit that flips in a checkpoint or a model file is noticed, before the model is changed") {
  SmallFiles small;
  for (const bool of_model : {false, true}) {
    const fs::path path = of_model ? small.folder / "model.safetensors" : small.checkpoint();
    const std::string whole = bytes_of(path);
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    const auto put = [&](std::size_t byte, char value) {
      file.seekp(static_cast<std::streamoff>(byte));
      file.put(value).flush();
    };
    const std::vector<float> before(small.model->parameters().arrays().values(),
                                    small.model->parameters().arrays().values() + 8);
    std::string unnoticed;
    for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
      put(bit / 8, static_cast<char>(whole[bit / 8] ^ (1 << bit % 8)));
      try {
        of_model ? small.read_model() : small.read_checkpoint();
        unnoticed += std::to_string(bit) + ' ';
      } catch (const IoError&) {
      } catch (const DataError&) {
      }
      put(bit / 8, whole[bit / 8]);
    }
    CHECK(unnoticed == "");
    CHECK(std::equal(before.begin(), before.end(), small.model->parameters().arrays().values()));
    CHECK(bytes_of(path) == whole);
  }
  small.read_checkpoint();
  small.read_model();
}

TEST_CASE("a checkpoint's counters are within their limits, or the field that is not is named") {
  SmallFiles small;
  const TensorMetadata whole = metadata_of(small.checkpoint());
  const auto said = [&](const char* field, const nlohmann::json& value) {
    auto state = nlohmann::json::parse(whole.at("state"));
    if (value.is_discarded())
      state.erase(field);
    else
      state[field] = value;
    TensorMetadata metadata = whole;
    metadata["state"] = state.dump();
    rewrite(small.checkpoint(), metadata);
    const std::string text = error_of<DataError>([&] { small.read_checkpoint(); });
    CHECK(text == error_of<DataError>([&] { read_train_state(small.checkpoint(), small.record()); }));
    CAPTURE(field);
    CAPTURE(value.dump());
    CAPTURE(text);
    CHECK(has(text, field));
    CHECK(has(text, small.checkpoint().string()));
  };
  const nlohmann::json none(nlohmann::json::value_t::discarded);
  const std::int64_t large = std::int64_t{1} << 40;
  const auto wrong = [&](const char* field, std::initializer_list<nlohmann::json> values) {
    for (const nlohmann::json& value : values) said(field, value);
  };
  wrong("epoch", {none, nullptr, -2, 0.5, "0", large, 2147483647, 18446744073709551615U});
  wrong("step", {none, -1, 1.0, large, 4294967295});
  wrong("epoch_step", {-1, large, "0"});
  wrong("epoch_losses", {nullptr, 1, {1.0}, {nullptr}, nlohmann::json::array({"a"})});
  wrong("epoch_seconds", {nullptr, -1.0});
  wrong("best_epoch", {none, -2, 1, 0.0});
  wrong("stale_epochs", {none, -1, 1});
  wrong("best_value", {none, nullptr, "high"});
  wrong("best_valid", {none, nullptr, 3, nlohmann::json::object(), {{"recall@20", nullptr}}});
  wrong("step_seconds", {none, nullptr, {0.1, 0.2}, {-1.0}, {nullptr}});
  // Steps that are possible but not those of the epochs.
  auto state = nlohmann::json::parse(whole.at("state"));
  state["step"] = state.at("step").get<int>() + 1;
  TensorMetadata metadata = whole;
  metadata["state"] = state.dump();
  rewrite(small.checkpoint(), metadata);
  const auto resume = [&] { train(small.ctx, *small.model, small.data, small.settings, {small.folder.path(), true}); };
  CHECK(has(error_of<DataError>(resume), "step = "));
  rewrite(small.checkpoint(), whole);
  resume();
  strip(small.checkpoint());
  CHECK(has(error_of<DataError>(resume), "lost its checksums"));
}

}  // namespace run_files_test
