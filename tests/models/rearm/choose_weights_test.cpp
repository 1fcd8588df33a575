// Weights of homographs chosen on validation.
#include <rearm/backend/cpu/co_occurrence.hpp>
#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/backend/cpu/user_knn.hpp>
#include <rearm/data/synthetic.hpp>
#include <rearm/models/rearm/choose_weights.hpp>

#include <tests/data/folder.hpp>

#include <doctest/doctest.h>

#include <numeric>
#include <string>
#include <vector>

namespace models_rearm_choose_weights_test {

using namespace rearm;
using B = CpuBackend<float>;

namespace {

/// Taste is in `image`; `noise` has nothing to do with it.
Dataset data_with_noise() {
  SyntheticSettings s;
  s.n_users = 300;
  s.n_items = 150;
  s.widths = {16, 16};
  s.modality_names = {"image", "noise"};
  Dataset data = make_synthetic(s);
  Matrix<float> noise(s.n_items, 16);
  const RandomKey key{9, 9, 0};
  for (Index e = 0; e < noise.size(); ++e)
    noise.data()[e] = static_cast<float>(key.normal(static_cast<std::uint64_t>(e)));
  data.modalities[1].features = FeatureMatrix::from(std::move(noise));
  return data;
}

}  // namespace

TEST_CASE("weights follow what the modalities tell") {
  CHECK(weights_by({0.1, 0.2, 0.0}) == std::vector<double>{0.2, 0.8, 0.0});
  CHECK(weights_by({0.0, 0.0}).empty());
  const std::vector<double> thirds = weights_by({0.1, 0.1, 0.1});
  CHECK(std::accumulate(thirds.begin(), thirds.end(), 0.0) == doctest::Approx(1).epsilon(1e-12));
}

TEST_CASE("a modality without information gets no weight, and weights that were given stay") {
  const Dataset data = data_with_noise();
  RearmConfig config;
  config.users.k = 10;
  Context<B> one({.threads = 1}, 3), two({.threads = 2}, 3);
  RearmConfig chosen = config;
  const std::string said = choose_weights(one, data, chosen);
  CHECK(test::has(said, "users image "));
  REQUIRE(chosen.users.modality_weights.size() == 2);
  REQUIRE(chosen.items.modality_weights.size() == 2);
  CHECK(chosen.items.modality_weights[0] >= 0.8);
  CHECK(chosen.users.modality_weights[0] > 0.5);  // means of noise are alike, too, for users of the same items
  CHECK(chosen.users.co_weight == config.users.co_weight);
  CHECK_NOTHROW(validate(chosen, 2));
  RearmConfig again = config;
  CHECK(choose_weights(two, data, again) == said);
  CHECK(again == chosen);

  RearmConfig given = config;
  given.items.modality_weights = {0.5, 0.5};
  choose_weights(one, data, given, {"model.items.modality_weights"});
  CHECK(given.users.modality_weights == chosen.users.modality_weights);
  CHECK(given.items.modality_weights == std::vector<double>{0.5, 0.5});

  RearmConfig none = config;
  none.use_sim = false;
  CHECK(choose_weights(one, data, none).empty());
  CHECK(none.users.modality_weights.empty());
}

TEST_CASE("features attend where they tell as much of validation as co-occurrence") {
  SyntheticSettings sparse;
  sparse.n_users = 1000;
  sparse.n_items = 800;
  sparse.pairs_per_user = 5;
  Context<B> ctx({.threads = 1}, 3);
  RearmConfig config;
  const std::string used = choose_attention(ctx, make_synthetic(sparse), config);
  INFO(used);
  CHECK(test::has(used, "attention is used"));
  CHECK(config.use_attention);
  const Dataset data = data_with_noise();
  RearmConfig noisy = config;
  noisy.users.modality_weights = noisy.items.modality_weights = {0.0, 1.0};
  CHECK(test::has(choose_attention(ctx, data, noisy), "attention is left out"));
  CHECK_FALSE(noisy.use_attention);
  RearmConfig given = config;
  CHECK(choose_attention(ctx, data, given, {"model.use_attention"}).empty());
  CHECK(given == config);
  given.use_co = false;  // nothing to compare with
  CHECK(choose_attention(ctx, data, given).empty());
  given = preset("baby").model;
  given.variant = Variant::paper;  // has it in print
  given.features.kind = Features::frozen;
  CHECK(choose_attention(ctx, data, given).empty());
  CHECK(given.use_attention);
}

}  // namespace models_rearm_choose_weights_test
