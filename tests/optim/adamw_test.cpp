/// @file adamw_test.cpp
/// The optimiser against the published update in plain loops.

#include "tests/support/matrices.hpp"

#include <rearm/optim/adamw.hpp>

using namespace rearm;
using namespace rearm::test;

namespace {

/// One table updated by the formula of Loshchilov & Hutter, algorithm 2, in double.
struct Naive {
  Matrix<double> value, m, v;
  explicit Naive(Matrix<double> initial)
      : value(std::move(initial)), m(value.rows(), value.cols()), v(value.rows(), value.cols()) {}
  void step(const Matrix<double>& grad, const AdamSettings& s, double scale, int t) {
    const double rate = s.learning_rate * scale;
    for (Index i = 0; i < value.size(); ++i) {
      const double g = grad.data()[i];
      m.data()[i] = s.beta1 * m.data()[i] + (1 - s.beta1) * g;
      v.data()[i] = s.beta2 * v.data()[i] + (1 - s.beta2) * g * g;
      const double m_hat = m.data()[i] / (1 - std::pow(s.beta1, t));
      const double v_hat = v.data()[i] / (1 - std::pow(s.beta2, t));
      double& p = value.data()[i];
      p -= rate * s.weight_decay * p;
      p -= rate * m_hat / (std::sqrt(v_hat) + s.epsilon);
    }
  }
};

template <class T>
Matrix<double> to_double(const TestMatrix<T>& there) {
  const Matrix<T> x = to_host(there);
  return tabulate(x.rows(), x.cols(), [&](Index i, Index j) { return static_cast<double>(x(i, j)); });
}

/// A gradient as a backward pass would leave it, different at each step.
template <class T>
void set_gradient(Parameter<TestBackend<T>>& p, std::uint32_t stream) {
  p.grad = upload(random_matrix<T>(p.rows(), p.cols(), stream));
  p.has_grad = true;
}

template <class T>
void set_value(Parameter<TestBackend<T>>& p, std::uint32_t stream) {
  p.value = upload(random_matrix<T>(p.rows(), p.cols(), stream));
}

}  // namespace

TEST_CASE_TEMPLATE("five steps equal the published update, with and without decay", T, float, double) {
  using B = TestBackend<T>;
  for (const double decay : {0.0, 0.1}) {
    const AdamSettings settings{0.02, 0.9, 0.999, 1e-8, decay};
    Context<B> ctx(test_options(2));
    ParameterStore<B> store;
    Parameter<B>& a = store.add("a", 130, 7);
    Parameter<B>& b = store.add("b", 1, 3);
    b.learning_rate_scale = 5.0;
    set_value(a, 1);
    set_value(b, 2);
    Naive naive_a(to_double(a.value));
    Naive naive_b(to_double(b.value));
    AdamW<B> optimiser(settings);
    for (int t = 1; t <= 5; ++t) {
      set_gradient(a, static_cast<std::uint32_t>(10 + t));
      set_gradient(b, static_cast<std::uint32_t>(20 + t));
      naive_a.step(to_double(a.grad), settings, 1.0, t);
      naive_b.step(to_double(b.grad), settings, 5.0, t);
      optimiser.step(ctx, store);
      CHECK(optimiser.step_count() == t);
      CHECK_FALSE(a.has_grad);
    }
    check_close(a.value, naive_a.value);
    check_close(b.value, naive_b.value);
    check_close(a.moment1, naive_a.m);
    check_close(a.moment2, naive_a.v);
  }
}

TEST_CASE("the learning rate and the step count can be set: a schedule, and resuming") {
  using B = TestBackend<double>;
  const AdamSettings settings{0.02, 0.9, 0.999, 1e-8, 0.1};
  Context<B> ctx(test_options(1));
  ParameterStore<B> store;
  Parameter<B>& a = store.add("a", 3, 4);
  set_value(a, 1);
  Naive naive(to_double(a.value));
  AdamSettings scheduled = settings;
  for (int t = 1; t <= 4; ++t) {
    AdamW<B> optimiser(settings);  // a new one each time, told where it stands
    optimiser.set_step_count(t - 1);
    scheduled.learning_rate = 0.02 / t;
    optimiser.set_learning_rate(scheduled.learning_rate);
    CHECK(optimiser.settings().learning_rate == scheduled.learning_rate);
    set_gradient(a, static_cast<std::uint32_t>(10 + t));
    naive.step(to_double(a.grad), scheduled, 1.0, t);
    optimiser.step(ctx, store);
  }
  check_close(a.value, naive.value);
}

TEST_CASE("parameters without a gradient, and frozen ones, keep value and moments") {
  using B = TestBackend<double>;
  Context<B> ctx(test_options(1));
  ParameterStore<B> store;
  Parameter<B>& used = store.add("used", 2, 3);
  Parameter<B>& skipped = store.add("skipped", 2, 3);
  Parameter<B>& frozen = store.add("frozen", 2, 3);
  frozen.trainable = false;
  for (Parameter<B>& p : store) set_value(p, 1);
  AdamW<B> optimiser(AdamSettings{0.1, 0.9, 0.999, 1e-8, 0.5});
  for (Parameter<B>& p : store) set_gradient(p, 2);
  optimiser.step(ctx, store);
  const Matrix<double> value = to_host(skipped.value);
  const Matrix<double> moment1 = to_host(skipped.moment1);
  const Matrix<double> moment2 = to_host(skipped.moment2);
  CHECK(value(0, 0) != random_matrix<double>(2, 3, 1)(0, 0));
  set_gradient(used, 3);
  optimiser.step(ctx, store);
  check_close(skipped.value, value, 0.0);
  check_close(skipped.moment1, moment1, 0.0);
  check_close(skipped.moment2, moment2, 0.0);
  CHECK(to_host(used.value)(0, 0) != value(0, 0));
  check_close(frozen.value, random_matrix<double>(2, 3, 1), 0.0);
  CHECK(frozen.moment1.empty());
}

TEST_CASE_TEMPLATE("a factored table is updated like one whose gradient is stored", T, float, double) {
  using B = TestBackend<T>;
  // More than a tile of rows, of columns and of the inner dimension (a device's tiles are smaller); the projection's
  // weight is trained too, and updated after the table.
  constexpr bool on_host = TestMemory::host_accessible;
  constexpr Index rows = on_host ? 1100 : 150;
  for (const Index width : {Index{5}, Index{on_host ? 530 : 150}}) {
    TestMatrix<T> tables[3];
    TestMatrix<T> weights[3];
    for (const int mode : {0, 1, 2}) {  // stored, factored, factored and fused with the weight's gradient
      const bool factored = mode > 0;
      Context<B> ctx(test_options(2));
      Tape<B> tape(ctx);
      tape.set_fused_tables(mode == 2);
      ParameterStore<B> store;
      Parameter<B>& weight = store.add("weight", 20, width);  // before the table, so that order matters
      Parameter<B>& table =
          store.add(factored ? Parameter<B>::table("table", rows, width) : Parameter<B>("table", rows, width));
      set_value(table, 1);
      set_value(weight, 2);
      AdamW<B> optimiser(AdamSettings{0.01, 0.9, 0.999, 1e-8, 0.1});
      for (int step = 0; step < 3; ++step) {
        tape.reset();
        const Var<B> w = tape.parameter(weight);  // has a second use, whose gradient is added
        tape.backward(add(sum_of_squares(linear(tape.parameter(table), w)), sum_of_squares(w), T(3)));
        CHECK(table.grad.empty() == factored);
        optimiser.step(ctx, store);
        CHECK_FALSE(table.has_grad);
      }
      tables[mode] = std::move(table.value);
      weights[mode] = std::move(weight.value);
    }
    for (const int mode : {1, 2}) {
      check_close(tables[mode], to_double(tables[0]));
      check_close(weights[mode], to_double(weights[0]));
    }
  }
}

TEST_CASE_TEMPLATE("moments in bfloat16 keep their mean where rounding to nearest would stand still", T, float,
                   double) {
  using B = TestBackend<T>;
  Context<B> ctx(test_options(2));
  ParameterStore<B> store;
  Parameter<B>& p = store.add("a", 70, 130);
  AdamW<B> optimiser(AdamSettings{.learning_rate = 1e-3, .bfloat16_moments = true});
  constexpr int steps = 1000;
  for (int t = 0; t < steps; ++t) {
    fill(ctx, T(0.5), p.grad.view());
    p.has_grad = true;
    optimiser.step(ctx, store);
  }
  CHECK(p.moment1.empty());
  const Matrix<BFloat16> moment2 = to_host(p.rounded_moment2);
  double mean = 0;
  for (Index i = 0; i < moment2.size(); ++i)
    mean += static_cast<double>(to_float(moment2.data()[i])) / static_cast<double>(moment2.size());
  // One step adds less than half a unit of the last place from 0.128 on; nearest would stop there.
  CHECK(mean == doctest::Approx(0.25 * (1 - std::pow(0.999, steps))).epsilon(5e-3));
  // Every element moves by nearly learning_rate a step: Adam of a constant gradient.
  const Matrix<T> value = to_host(p.value);
  for (Index i = 0; i < value.size(); ++i)
    CHECK(static_cast<double>(value.data()[i]) == doctest::Approx(-1.0).epsilon(0.05));
}

TEST_CASE_TEMPLATE("tables in bfloat16 move as they should where rounding to nearest would stand still", T, float,
                   double) {
  using B = TestBackend<T>;
  for (const bool rounded_moments : {false, true}) {
    Context<B> ctx(test_options(2));
    Tape<B> tape(ctx);
    ParameterStore<B> store;
    Parameter<B>& weight = store.add("weight", 1, 130);
    Parameter<B>& table = store.add(Parameter<B>::table("table", 70, 130, true));
    init_constant(weight, 1.0);
    weight.trainable = false;
    fill_on_host(table.rounded_value,
                 [](Index, MatrixView<BFloat16> rows) { std::fill_n(rows.data, rows.size(), round_to_nearest(1.0F)); });
    AdamW<B> optimiser({.learning_rate = 1e-3, .bfloat16_moments = rounded_moments});
    constexpr int steps = 200;
    for (int t = 0; t < steps; ++t) {
      tape.reset();
      tape.backward(column_mean(linear(tape.parameter(table), tape.parameter(weight))));
      optimiser.step(ctx, store);
    }
    // Adam of a constant gradient: learning_rate a step, a fourth of a unit of the last place.
    const Matrix<BFloat16> value = to_host(table.rounded_value);
    double mean = 0;
    for (Index i = 0; i < value.size(); ++i)
      mean += static_cast<double>(to_float(value.data()[i])) / static_cast<double>(value.size());
    CHECK(mean == doctest::Approx(1.0 - 1e-3 * steps).epsilon(5e-3));
    CHECK(table.moment1.empty() == rounded_moments);
  }
}

TEST_CASE_TEMPLATE("a table in bfloat16 gives its weight the same gradient before and in the update", T, float,
                   double) {
  using B = TestBackend<T>;
  for (const Index width : {5, 530}) {
    Matrix<BFloat16> tables[2];
    Matrix<double> weights[2];
    for (const bool fused : {false, true}) {
      Context<B> ctx(test_options(2));
      Tape<B> tape(ctx);
      tape.set_fused_tables(fused);
      ParameterStore<B> store;
      Parameter<B>& weight = store.add("weight", 6, width);
      Parameter<B>& table = store.add(Parameter<B>::table("table", 1100, width, true));
      set_value(weight, 2);
      const Matrix<float> initial = random_matrix<float>(1100, width, 1);
      fill_on_host(table.rounded_value, [&](Index begin, MatrixView<BFloat16> rows) {
        for (Index i = 0; i < rows.size(); ++i) rows.data[i] = round_to_nearest(initial.data()[begin * width + i]);
      });
      const Matrix<BFloat16> before = to_host(table.rounded_value);
      AdamW<B> optimiser({.learning_rate = 0.01, .weight_decay = 0.1});
      const auto w = tape.parameter(weight);
      tape.backward(sum_of_squares(linear(tape.parameter(table), w)));
      optimiser.step(ctx, store);
      weights[fused] = to_double(weight.value);
      tables[fused] = to_host(table.rounded_value);
      Index moved = 0;
      for (Index i = 0; i < before.size(); ++i) {
        const float x = to_float(before.data()[i]);
        CHECK(std::abs(to_float(tables[fused].data()[i]) - x) <= 0.011F + std::abs(x) * 0x1p-7F);
        moved += tables[fused].data()[i].bits != before.data()[i].bits;
      }
      CHECK(moved > before.size() / 3);
    }
    for (Index i = 0; i < tables[0].size(); ++i) REQUIRE(tables[0].data()[i].bits == tables[1].data()[i].bits);
    check_close(weights[1].view(), weights[0], value_tolerance<T>);
  }
}

#if !defined(REARM_TEST_CUDA)  // tiles are the CPU's
TEST_CASE_TEMPLATE("a tile's rounding is that of the whole, drawn one by one or in vector registers", T, float,
                   double) {
  const auto grad = random_matrix<T>(5, 300, 3);
  const RandomKey key{3, 4, 5};
  const functors::AdamUpdate<T> update{T(0.9), T(0.999), T(1e-8), T(0.99), T(0.01), T(1.5)};
  Matrix<T> value[2] = {random_matrix<T>(5, 300, 1), random_matrix<T>(5, 300, 1)};
  Matrix<BFloat16> m1[2] = {{5, 300}, {5, 300}};
  Matrix<BFloat16> m2[2] = {{5, 300}, {5, 300}};
  Matrix<BFloat16> rounded[2] = {{5, 300}, {5, 300}};
  Matrix<T> m[2] = {{5, 300}, {5, 300}};
  Matrix<T> v[2] = {{5, 300}, {5, 300}};
  for (int way = 0; way < 2; ++way)
    for (const bool table : {false, true}) {
      functors::AdamTarget<T> whole{update, value[way].view(), {}, {}, m1[way].view(), m2[way].view(), key, 0, 0, 300};
      if (table) whole = {update, {}, m[way].view(), v[way].view(), {}, {}, key, 0, 0, 300, rounded[way].view()};
      if (way == 0)
        for (Index i = 0; i < 5; ++i) whole.update_row(i, grad.row(i), SoleLane{});
      else
        for (const Index row : {0, 3})
          for (const Index col : {0, 128}) {
            const auto tile = whole.tile(row, row == 0 ? 3 : 2, col, col == 0 ? 128 : 172);
            for (Index i = 0; i < tile.rows(); ++i)
              tile.template update_row<cpu::MomentVectors>(i, grad.row(row + i) + col, SoleLane{});
          }
    }
  check_close(value[0].view(), to_double(value[1]), 0.0);
  int rounded_up = 0;
  for (Index i = 0; i < m1[0].size(); ++i) {
    CHECK(m1[0].data()[i].bits == m1[1].data()[i].bits);
    CHECK(m2[0].data()[i].bits == m2[1].data()[i].bits);
    CHECK(rounded[0].data()[i].bits == rounded[1].data()[i].bits);
    const auto exact = static_cast<float>((T(1) - T(0.9)) * grad.data()[i]);
    rounded_up += std::abs(to_float(m1[0].data()[i])) > std::abs(exact);
  }
  CHECK(rounded_up > 600);  // of 1,500: at random, about half
  CHECK(rounded_up < 900);
}
#endif

TEST_CASE_TEMPLATE("a factored table's bfloat16 moments stay within their rounding of the full ones", T, float,
                   double) {
  using B = TestBackend<T>;
  Matrix<double> tables[2];
  for (const bool rounded : {false, true}) {
    Context<B> ctx(test_options(2));
    Tape<B> tape(ctx);
    tape.set_fused_tables(true);
    ParameterStore<B> store;
    Parameter<B>& weight = store.add("weight", 6, 530);
    Parameter<B>& table = store.add(Parameter<B>::table("table", 1100, 530));
    set_value(table, 1);
    set_value(weight, 2);
    AdamW<B> optimiser({.learning_rate = 0.01, .weight_decay = 0.1, .bfloat16_moments = rounded});
    for (int step = 0; step < 3; ++step) {
      tape.reset();
      tape.backward(sum_of_squares(linear(tape.parameter(table), tape.parameter(weight))));
      optimiser.step(ctx, store);
    }
    tables[rounded ? 1 : 0] = to_double(table.value);
  }
  double difference = 0;
  for (Index i = 0; i < tables[0].size(); ++i)
    difference = std::max(difference, std::abs(tables[0].data()[i] - tables[1].data()[i]));
  CHECK(difference < 0.03 * 3 * 0.01);  // of what three steps move; one rounding is up to 0.8 %
  CHECK(difference > 0);
}
