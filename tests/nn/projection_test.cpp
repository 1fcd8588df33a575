/// @file projection_test.cpp
/// The projection of raw features: finite differences and values for trainable, frozen and residual features.

#include "tests/support/gradient_check.hpp"

#include <rearm/nn/projection.hpp>

#include <memory>

namespace nn_projection_test {

using namespace rearm;
using namespace rearm::test;

using Vars = std::vector<DoubleVar>;

namespace {

constexpr Index n_users = 5;
constexpr Index n_items = 6;
constexpr Index width = 7;
constexpr Index dim = 3;

struct Fixture {
  Context<Double> ctx{test_options()};
  ParameterStore<Double> store;
  SparseOperator<double, TestMemory> mean = general(random_csr<double>(n_users, n_items, 0.5, 1));
  Matrix<float> features;
  std::unique_ptr<Projection<Double>> projection;

  explicit Fixture(Features kind, bool rounded = false, Index cols = width, bool normalize = false)
      : features(random_matrix<float>(n_items, cols, 2)) {
    if (normalize)
      for (Index c = 0; c < cols; ++c) features(1, c) = 0;  // which has no direction
    Dataset data;
    data.n_users = n_users;
    data.n_items = n_items;
    Modality modality;
    modality.name = "image";
    modality.features = FeatureMatrix::from(features.clone());
    FeatureConfig config;
    config.kind = kind;
    config.bfloat16_tables = rounded;
    config.normalize = normalize;
    config.residual_learning_rate_scale = 3.0;
    projection = std::make_unique<Projection<Double>>(ctx, store, modality, data, config, dim, &mean);
  }
  const DoubleParameter& parameter(const char* name) {
    const DoubleParameter* p = store.find(name);
    REQUIRE(p != nullptr);
    return *p;
  }
  const DoubleTable& table(const char* name) {
    const DoubleTable* t = store.find_table(name);
    REQUIRE(t != nullptr);
    return *t;
  }
};

}  // namespace

TEST_CASE("all three kinds of features start from the same embeddings, up to rounding in bfloat16") {
  for (const Features kind : {Features::trainable, Features::frozen, Features::residual})
    for (const bool rounded : {false, true}) {
      CAPTURE(to_string(kind));
      CAPTURE(rounded);
      Fixture f(kind, rounded);
      const auto stored = [&](double x) {
        return rounded ? static_cast<double>(to_float(round_to_nearest(static_cast<float>(x)))) : x;
      };
      const auto item = [&](Index i, Index c) { return stored(static_cast<double>(f.features(i, c))); };
      DoubleTape tape(f.ctx);
      const auto item_weight = to_host(f.parameter("item_projection.image.weight").value());
      const auto item_bias = to_host(f.parameter("item_projection.image.bias").value());
      const auto user_weight = to_host(f.parameter("user_projection.image.weight").value());
      const auto user_bias = to_host(f.parameter("user_projection.image.bias").value());
      check_close(f.projection->items(tape), tabulate(n_items, dim, [&](Index i, Index j) {
                    return item_bias(0, j) + sum_of(width, [&](Index c) { return item(i, c) * item_weight(j, c); });
                  }));
      const Matrix<double> mean = dense(random_csr<double>(n_users, n_items, 0.5, 1));
      check_close(f.projection->users(tape), tabulate(n_users, dim, [&](Index u, Index j) {
                    return user_bias(0, j) + sum_of(width, [&](Index c) {
                             const double features = sum_of(n_items, [&](Index i) { return mean(u, i) * item(i, c); });
                             return user_weight(j, c) * (kind == Features::trainable ? stored(features) : features);
                           });
                  }));
    }
}

TEST_CASE(
    "normalized features have length 1, rows of zeros stay, and users have the mean of what their items have then") {
  for (const bool rounded : {false, true}) {
    CAPTURE(rounded);
    Fixture f(Features::trainable, rounded, width, true);
    const auto wide = [](const DoubleTable& table) {
      return table.with_values([](auto values) {
        Matrix<double> out(values.rows, values.cols);
        const auto here = to_host(values);
        for (Index e = 0; e < out.size(); ++e) {
          if constexpr (std::is_same_v<decltype(values), ConstView<BFloat16>>)
            out.data()[e] = static_cast<double>(to_float(here.data()[e]));
          else
            out.data()[e] = static_cast<double>(here.data()[e]);
        }
        return out;
      });
    };
    const double near = rounded ? 1e-2 : 1e-12;
    const Matrix<double> items = wide(f.table("item_features.image"));
    for (Index i = 0; i < n_items; ++i) {
      const double length = std::sqrt(sum_of(width, [&](Index c) {
        return static_cast<double>(f.features(i, c)) * static_cast<double>(f.features(i, c));
      }));
      for (Index c = 0; c < width; ++c)
        CHECK(items(i, c) ==
              doctest::Approx(i == 1 ? 0.0 : static_cast<double>(f.features(i, c)) / length).epsilon(near));
    }
    const Matrix<double> users = wide(f.table("user_features.image"));
    const Matrix<double> mean = dense(random_csr<double>(n_users, n_items, 0.5, 1));
    for (Index u = 0; u < n_users; ++u)
      for (Index c = 0; c < width; ++c)
        CHECK(users(u, c) ==
              doctest::Approx(sum_of(n_items, [&](Index i) { return mean(u, i) * items(i, c); })).epsilon(near));
  }
}

TEST_CASE("users' features in bfloat16 are their items' mean in every block of columns") {
  constexpr Index many = 300;
  Fixture f(Features::trainable, true, many);
  const Matrix<BFloat16> got = f.table("user_features.image").with_values([](auto values) {
    if constexpr (std::is_same_v<decltype(values), ConstView<BFloat16>>) return to_host(values);
    return Matrix<BFloat16>();
  });
  REQUIRE(got.size() == n_users * many);
  const Matrix<double> mean = dense(random_csr<double>(n_users, n_items, 0.5, 1));
  Index wrong = 0;
  for (Index u = 0; u < n_users; ++u)
    for (Index c = 0; c < many; ++c) {
      const double want = sum_of(n_items, [&](Index i) {
        return mean(u, i) * static_cast<double>(to_float(round_to_nearest(f.features(i, c))));
      });
      wrong += got(u, c).bits != round_to_nearest(static_cast<float>(want)).bits;
    }
  CHECK(wrong == 0);
}

TEST_CASE("gradients of the projection reach all that is trainable and nothing that is not") {
  for (const Features kind : {Features::trainable, Features::frozen, Features::residual})
    for (const bool rounded : {false, true}) {
      Fixture f(kind, rounded);
      std::vector<DoubleParameter*> trained;
      for (DoubleParameter& p : f.store)
        if (p.trainable) trained.push_back(&p);
      CHECK(trained.size() == (kind == Features::residual ? 6 : 4));
      CHECK(f.table("item_features.image").trainable == (kind == Features::trainable));
      f.store.clear_gradients();
      check_gradients(trained, [&](DoubleTape& tape, const Vars&) {
        return concat_rows({f.projection->items(tape), f.projection->users(tape)});
      });
      for (const DoubleParameter* p : trained) CHECK(p->has_grad);
      CHECK(f.table("item_features.image").has_grad() == (kind == Features::trainable));
      if (!rounded)  // in bfloat16 no difference is small
        for (DoubleTable& table : f.store.tables()) {
          f.store.clear_gradients();
          if (table.trainable)
            check_table_gradient(table, [&](DoubleTape& tape) {
              return concat_rows({f.projection->items(tape), f.projection->users(tape)});
            });
        }
      if (kind == Features::residual) CHECK(f.parameter("user_residual.image").learning_rate_scale == 3.0);
    }
}

}  // namespace nn_projection_test
