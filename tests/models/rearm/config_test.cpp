// REARM's settings: the published ones, ranges and combinations.
#include <rearm/models/rearm/config.hpp>

#include <tests/data/folder.hpp>

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace models_rearm_config_test {

using namespace rearm;
using rearm::test::error_of;
using rearm::test::has;

TEST_CASE("presets hold the published settings") {
  const RearmSettings sports = preset("sports");
  CHECK(sports.model.n_ui_layers == 5);
  CHECK(sports.model.rank == 7);
  CHECK(sports.train.weight_decay == 5e-2);
  CHECK(sports.model.dropout_self == 1.0);
  CHECK(sports.model.users == HomographConfig{true, 25, 2, 0.9, {0.0, 1.0}});
  CHECK(sports.model.items == HomographConfig{true, 5, 2, 0.2, {0.2, 0.8}});
  CHECK(preset("baby").model.users.modality_weights == std::vector<double>{0.2, 0.8});
  CHECK(preset("clothing").model.cl_temperature == 0.03);
  // Another schedule, and nothing of validation or test among the negatives; the rest is Baby's.
  RearmSettings fast = preset("baby-fast");
  CHECK(fast.train.negatives == Negatives::exclude_train);
  CHECK(fast.model.features == FeatureConfig{.kind = Features::residual, .modalities = {}, .normalize = true});
  fast.model.features = preset("baby").model.features;
  CHECK(fast.model == preset("baby").model);
  CHECK(has(error_of<ConfigError>([] { preset("books"); }), "baby, baby-fast, sports, clothing or synthetic"));
  for (const char* name : {"baby", "baby-fast", "sports", "clothing"}) {
    CHECK_NOTHROW(validate(preset(name).model, 2));
    CHECK_NOTHROW(check_limits(preset(name).train));
  }
}

TEST_CASE("presets are trained as published, and without one nothing of validation or test leaks") {
  const RearmSettings settings;
  CHECK(settings == RearmSettings{RearmConfig::train_defaults(), {}});
  CHECK(settings.train.negatives == Negatives::exclude_train);
  CHECK_NOTHROW(validate(settings.model, 2));
  for (const char* name : {"baby", "sports", "clothing"}) {
    CAPTURE(name);
    const RearmSettings published = preset(name);
    CHECK(published.train.negatives == Negatives::exclude_all);
    CHECK(published.train.learning_rate == 5e-5);
    CHECK(published.train.lr_decay == 1);
    CHECK(published.train.warmup_epochs == 0);
    CHECK(published.train.epochs == 2000);
    CHECK(published.model.features == FeatureConfig{});
    CHECK(published.model.id_std == 0.1);
    CHECK(published.model.use_attention);
    CHECK(published.model.use_meta);
    CHECK(published.model.use_orthogonal);
  }
  const RearmSettings baby = preset("baby");
  CHECK(baby.train.weight_decay == 5e-4);
  CHECK(baby.model.n_ui_layers == 4);
  CHECK(baby.model.users == HomographConfig{true, 40, 1, 0.4, {0.2, 0.8}});
  CHECK(baby.model.items == HomographConfig{true, 10, 1, 0.2, {0.0, 1.0}});
  CHECK(baby.model.cl_weight == 5e-6);
  CHECK(baby.model.ort_weight == 5e-5);
  CHECK(baby.model.dropout_self == 0.4);
  CHECK(baby.model.dropout_cross == 0.6);
}

TEST_CASE("every rule names its field") {
  const std::vector<std::pair<std::string, std::function<void(RearmConfig&)>>> cases = {
      {"rank", [](RearmConfig& c) { c.rank = 0; }},
      {"rank", [](RearmConfig& c) { c.rank = c.embedding_dim; }},
      {"embedding_dim", [](RearmConfig& c) { c.embedding_dim = 0; }},
      {"id_std", [](RearmConfig& c) { c.id_std = 0; }},
      {"n_ui_layers", [](RearmConfig& c) { c.n_ui_layers = -1; }},
      {"dropout_self", [](RearmConfig& c) { c.dropout_self = 1.1; }},
      {"dropout_cross", [](RearmConfig& c) { c.dropout_cross = -0.1; }},
      {"users.k", [](RearmConfig& c) { c.users.k = 0; }},
      {"items.n_layers", [](RearmConfig& c) { c.items.n_layers = 101; }},
      {"users.co_weight", [](RearmConfig& c) { c.users.co_weight = 2; }},
      {"users.modality_weights", [](RearmConfig& c) { c.users.modality_weights = {1.0}; }},
      {"items.modality_weights",
       [](RearmConfig& c) {
         c.items.modality_weights = {0.5, 0.6};
       }},
      {"items.modality_weights",
       [](RearmConfig& c) {
         c.items.modality_weights = {-0.5, 1.5};
       }},
      {"cl_temperature", [](RearmConfig& c) { c.cl_temperature = 0; }},
      {"residual_learning_rate_scale", [](RearmConfig& c) { c.features.residual_learning_rate_scale = 0; }},
      {"use_co", [](RearmConfig& c) { c.use_co = c.use_sim = false; }},
      {"l2_weight", [](RearmConfig& c) { c.l2_weight = 1e-3; }},
      {"features", [](RearmConfig& c) { c.variant = Variant::paper; }},
  };
  for (const auto& entry : cases) {
    const std::string& field = entry.first;
    RearmConfig c = preset("baby").model;
    entry.second(c);
    CAPTURE(field);
    CHECK(has(error_of<ConfigError>([&] { validate(c, 2); }), field));
  }
  CHECK(has(error_of<ConfigError>([] { validate(RearmConfig(), 0); }), "modality"));
}

}  // namespace models_rearm_config_test
