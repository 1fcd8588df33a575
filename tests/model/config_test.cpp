// Names, ranges and combinations of settings.
#include <rearm/model/config_json.hpp>

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace rearm;

std::string refusal(const std::function<void()>& f) {
  try {
    f();
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("presets hold the published settings") {
  const Config sports = preset("sports");
  CHECK(sports.n_ui_layers == 5);
  CHECK(sports.rank == 7);
  CHECK(sports.weight_decay == 5e-2);
  CHECK(sports.dropout_self == 1.0);
  CHECK(sports.item_modality_weights == std::vector<double>{0.2, 0.8});
  CHECK(preset("baby").user_modality_weights == std::vector<double>{0.2, 0.8});
  CHECK(preset("clothing").cl_temperature == 0.03);
  CHECK(refusal([] { preset("books"); }).find("baby, sports or clothing") != std::string::npos);
  for (const char* name : {"baby", "sports", "clothing"}) CHECK_NOTHROW(validate(preset(name), 2));
}

TEST_CASE("every rule names its field") {
  const std::vector<std::pair<std::string, std::function<void(Config&)>>> cases = {
      {"rank", [](Config& c) { c.rank = 0; }},
      {"rank", [](Config& c) { c.rank = c.embedding_dim; }},
      {"embedding_dim", [](Config& c) { c.embedding_dim = 0; }},
      {"n_ui_layers", [](Config& c) { c.n_ui_layers = -1; }},
      {"dropout_self", [](Config& c) { c.dropout_self = 1.1; }},
      {"dropout_cross", [](Config& c) { c.dropout_cross = -0.1; }},
      {"user_knn_k", [](Config& c) { c.user_knn_k = 0; }},
      {"uu_co_weight", [](Config& c) { c.uu_co_weight = 2; }},
      {"user_modality_weights", [](Config& c) { c.user_modality_weights = {1.0}; }},
      {"item_modality_weights",
       [](Config& c) {
         c.item_modality_weights = {0.5, 0.6};
       }},
      {"cl_temperature", [](Config& c) { c.cl_temperature = 0; }},
      {"batch_size", [](Config& c) { c.batch_size = 0; }},
      {"learning_rate", [](Config& c) { c.learning_rate = -1; }},
      {"lr_decay", [](Config& c) { c.lr_decay = 0; }},
      {"epochs", [](Config& c) { c.epochs = 0; }},
      {"patience", [](Config& c) { c.patience = -1; }},
      {"eval_every", [](Config& c) { c.eval_every = 0; }},
      {"use_co", [](Config& c) { c.use_co = c.use_sim = false; }},
      {"l2_weight", [](Config& c) { c.l2_weight = 1e-3; }},
      {"features", [](Config& c) { c.variant = Variant::paper; }},
  };
  for (const auto& entry : cases) {
    const std::string& field = entry.first;
    Config c = preset("baby");
    entry.second(c);
    CAPTURE(field);
    CHECK(refusal([&] { validate(c, 2); }).find(field) != std::string::npos);
  }
}

TEST_CASE("JSON keeps every field; unknown keys and wrong types are named") {
  Config c = preset("sports");
  c.variant = Variant::paper;
  c.features = Features::residual;
  c.modalities = {"text"};
  c.seed = 1234567890123ULL;
  CHECK(config_from_json(nlohmann::json::parse(to_json(c).dump())) == c);
  CHECK(refusal([] { config_from_json({{"learning_rat", 1}}); }).find("learning_rat") != std::string::npos);
  CHECK(refusal([] { config_from_json({{"rank", "three"}}); }).find("rank") != std::string::npos);
  CHECK(refusal([] { config_from_json({{"variant", "other"}}); }).find("reference or paper") != std::string::npos);
}

TEST_CASE("a difference between two configs is named, unless it may differ") {
  const Config a = preset("baby");
  Config b = a;
  b.rank = 5;
  CHECK(refusal([&] { require_same_config(a, b, "model.safetensors", {}); }).find("rank = 5") != std::string::npos);
  CHECK_NOTHROW(require_same_config(a, b, "model.safetensors", {"rank"}));
}
