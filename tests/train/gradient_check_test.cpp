// The public check of a model's gradients finds a wrong one, by name, and leaves the model as it was.
#include "tests/support/gradient_check.hpp"
#include "tests/models/tiny.hpp"

#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/backend/cpu/knn.hpp>
#include <rearm/models/freedom.hpp>
#include <rearm/train/gradient_check.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace train_gradient_check_test {

namespace {

using namespace rearm;
using namespace rearm::test;
using B = CpuBackend<double>;

struct NoSettings {
  template <class Self, class F>
  static void fields(Self&, F&&) {}
};

/// score(u, i) = u . w(F_i W^T): `scale` is what the table's and u's gradient are multiplied by, and ought to be 1.
class Toy {
 public:
  using Config = NoSettings;
  static constexpr const char* name = "toy";
  explicit Toy(bool rounded = false)
      : users_(parameters_.add("users", 4, 3)),
        weight_(parameters_.add("weight", 3, 5)),
        fixed_(parameters_.add("fixed", 2, 2)),
        table_(parameters_.add_table("table", 6, 5, rounded)) {
    fixed_.trainable = false;
    init_normal(users_, 0.5, 1);
    init_normal(weight_, 0.5, 1);
    if (!rounded) rearm::test::set(table_, random_matrix<double>(6, 5, 3));
  }
  ParameterStore<B>& parameters() { return parameters_; }
  Embeddings<B> embeddings(Tape<B>& tape, const Step<B>&) {
    const Var<B> users = tape.parameter(users_);
    const double wrong = scale - 1;
    const Var<B> same = apply(
        {users}, 4, 3, [=](Context<B>&, Out<B> y) { std::copy_n(users.value().data, y.size(), y.data); },
        [=](Context<B>&, Var<B> y, Into<double> d) {
          for (Index e = 0; e < 12; ++e) functors::store(d.view.data[e], (1 + wrong) * y.grad().data[e], d.write);
        });
    return {same, project(tape, table_, weight_)};
  }
  Loss<B> loss(Tape<B>& tape, const Step<B>& step) {
    const TripletIds<B> ids(tape.context(), step.batch, 4, 6);
    const auto [users, items] = embeddings(tape, step);
    return {{"bpr", bpr_mean(gather(users, items, ids))}};
  }
  double scale = 1;

 private:
  ParameterStore<B> parameters_;
  Parameter<B>& users_;
  Parameter<B>& weight_;
  Parameter<B>& fixed_;
  FeatureTable<B>& table_;
};

const Batch batch = {{0, 1, 3, 3}, {0, 1, 2, 4}, {5, 3, 1, 0}};

double error_of(const std::vector<GradientError>& errors, const std::string& name) {
  const auto found = std::ranges::find(errors, name, &GradientError::name);
  REQUIRE(found != errors.end());
  return found->error;
}

}  // namespace

TEST_CASE("gradient_errors: arrays and tables, and which of them is wrong") {
  Context<B> ctx;
  Toy model;
  const auto values = [&] {
    std::vector<Matrix<double>> out;
    model.parameters().for_each([&](auto& x) { out.push_back(to_host(doubles_of(x))); });
    return out;
  };
  const auto start = values();
  auto errors = gradient_errors(ctx, model, batch);
  CHECK(errors.size() == 3);  // `fixed` is not trained
  for (const GradientError& e : errors) CHECK_MESSAGE(e.error < 1e-8, e.name);
  model.scale = 1.01;
  for (const Index every : {1, 3}) {
    errors = gradient_errors(ctx, model, batch, every);
    CHECK(error_of(errors, "users") == doctest::Approx(0.01).epsilon(1e-4));
    CHECK(error_of(errors, "weight") < 1e-8);
    CHECK(error_of(errors, "table") < 1e-8);
  }
  const auto end = values();
  for (std::size_t i = 0; i < start.size(); ++i)
    CHECK(std::equal(start[i].data(), start[i].data() + start[i].size(), end[i].data()));
  model.parameters().for_each([](const auto& x) { CHECK_FALSE(has_gradient(x)); });
}

TEST_CASE("gradient_errors: a model of the list, with dropped edges that depend on the step") {
  const Dataset data = idle_data();
  const auto settings = tiny_settings<Freedom>();
  Context<B> ctx({}, 7);
  Freedom<B> model(ctx, data, settings.model);
  for (const std::uint32_t step : {0u, 5u})
    for (const GradientError& e : gradient_errors(ctx, model, first_batch(data, settings.train, 1), 7, step))
      CHECK_MESSAGE(e.error < 1e-6, e.name);
}

TEST_CASE("gradient_errors refuses what differences cannot be taken of") {
  Context<B> ctx;
  Toy model, rounded(true);
  CHECK_THROWS_WITH_AS(gradient_errors(ctx, model, batch, 0), doctest::Contains("at least 1"), ConfigError);
  CHECK_THROWS_WITH_AS(gradient_errors(ctx, rounded, batch), doctest::Contains("'table' is stored in bfloat16"),
                       ConfigError);
}

}  // namespace train_gradient_check_test
