/// @file adamw_test.cpp
/// The optimizer against the published update in plain loops.

#include "tests/support/matrices.hpp"
#include "tests/support/scalars.hpp"

#include <rearm/autodiff/project.hpp>
#include <rearm/optim/adamw.hpp>

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace optim_adamw_test {

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
      const double g = grad.data()[i] + s.l2 * value.data()[i];
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
Matrix<double> to_double(const Matrix<T>& x) {
  return tabulate(x.rows(), x.cols(), [&](Index i, Index j) { return static_cast<double>(x(i, j)); });
}
Matrix<double> to_double(const Matrix<BFloat16>& x) {
  return tabulate(x.rows(), x.cols(), [&](Index i, Index j) { return static_cast<double>(to_float(x(i, j))); });
}

/// The two moments that an optimizer has of a parameter or table; empty where it has none.
struct Moments {
  Matrix<double> m, v;
  bool rounded = false;
};
template <Backend B>
Moments moments_of(AdamW<B>& optimizer, ParameterStore<B>& store, const std::string& name) {
  Moments out;
  optimizer.for_each_moment(store, [&](const auto& x, auto m, auto v) {
    if (x.name == name) out = {to_double(to_host(m)), to_double(to_host(v)), sizeof *m.data == 2};
  });
  return out;
}

/// A gradient as a backward pass would leave it, different at each step.
template <class T>
void set_gradient(Parameter<TestBackend<T>>& p, std::uint32_t stream) {
  const Matrix<T> gradient = random_matrix<T>(p.rows(), p.cols(), stream);
  TestMemory::copy_from_host(p.grad().data, gradient.data(), sizeof(T) * std::size_t(gradient.size()));
  p.has_grad = true;
}

template <class X>
void set_value(X& p, std::uint32_t stream) {
  set(p, random_matrix<typename X::T>(p.rows(), p.cols(), stream));
}

/// A table stored in bfloat16: what it holds, and putting x there, rounded to nearest.
template <Backend B>
Matrix<BFloat16> stored_in(const FeatureTable<B>& table) {
  return table.with_values([](auto there) {
    if constexpr (std::is_same_v<decltype(there), ConstView<BFloat16>>) return to_host(there);
    return Matrix<BFloat16>();
  });
}
template <Backend B>
void store_rounded(FeatureTable<B>& table, const Matrix<double>& x) {
  table.with_values([&](auto there) {
    if constexpr (std::is_same_v<decltype(there), MatrixView<BFloat16>>)
      fill_on_host<TestMemory>(there, [&](Index begin, MatrixView<BFloat16> rows) {
        for (Index i = 0; i < rows.size(); ++i)
          rows.data[i] = round_to_nearest(static_cast<float>(x.data()[begin * x.cols() + i]));
      });
  });
}

}  // namespace

TEST_CASE_TEMPLATE("five steps equal the published update, with and without decay of both kinds", T,
                   REARM_TEST_SCALARS) {
  using B = TestBackend<T>;
  for (const double decay : {0.0, 0.1}) {
    const AdamSettings settings{0.02, 0.9, 0.999, 1e-8, decay, 3 * decay};
    Context<B> ctx(test_options(2));
    ParameterStore<B> store;
    Parameter<B>& a = store.add("a", 130, 7);
    Parameter<B>& b = store.add("b", 1, 3);
    b.learning_rate_scale = 5.0;
    set_value(a, 1);
    set_value(b, 2);
    Naive naive_a(to_double(values_of(a)));
    Naive naive_b(to_double(values_of(b)));
    AdamW<B> optimizer(settings);
    for (int t = 1; t <= 5; ++t) {
      set_gradient(a, static_cast<std::uint32_t>(10 + t));
      set_gradient(b, static_cast<std::uint32_t>(20 + t));
      naive_a.step(to_double(to_host(a.grad())), settings, 1.0, t);
      naive_b.step(to_double(to_host(b.grad())), settings, 5.0, t);
      optimizer.step(ctx, store);
      CHECK(optimizer.step_count() == t);
      CHECK_FALSE(a.has_grad);
    }
    check_close(values_of(a).view(), naive_a.value);
    check_close(values_of(b).view(), naive_b.value);
    const Moments moments = moments_of(optimizer, store, "a");
    check_close(moments.m.view(), naive_a.m, value_tolerance<T>);
    check_close(moments.v.view(), naive_a.v, value_tolerance<T>);
    check_close(moments_of(optimizer, store, "b").v.view(), naive_b.v, value_tolerance<T>);
  }
}

TEST_CASE("the learning rate and the step count can be set: a schedule, and resuming") {
  using B = TestBackend<double>;
  const AdamSettings settings{0.02, 0.9, 0.999, 1e-8, 0.1};
  Context<B> ctx(test_options(1));
  ParameterStore<B> store;
  Parameter<B>& a = store.add("a", 3, 4);
  set_value(a, 1);
  Naive naive(to_double(values_of(a)));
  AdamSettings scheduled = settings;
  AdamW<B> last(settings);
  for (int t = 1; t <= 4; ++t) {
    AdamW<B> optimizer(settings);  // a new one each time, told where the last one stood
    optimizer.prepare(store);
    if (t > 1) {
      const Moments before = moments_of(last, store, "a");
      optimizer.for_each_moment(store, [&](const auto&, auto m, auto v) {
        if constexpr (std::is_same_v<decltype(m), MatrixView<double>>) {
          for (Index i = 0; i < m.size(); ++i) put(m, i, before.m.data()[i]);
          for (Index i = 0; i < v.size(); ++i) put(v, i, before.v.data()[i]);
        }
      });
    }
    optimizer.set_step_count(t - 1);
    scheduled.learning_rate = 0.02 / t;
    optimizer.set_learning_rate(scheduled.learning_rate);
    CHECK(optimizer.settings().learning_rate == scheduled.learning_rate);
    set_gradient(a, static_cast<std::uint32_t>(10 + t));
    naive.step(to_double(to_host(a.grad())), scheduled, 1.0, t);
    optimizer.step(ctx, store);
    last = std::move(optimizer);
  }
  check_close(values_of(a).view(), naive.value);
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
  AdamW<B> optimizer(AdamSettings{0.1, 0.9, 0.999, 1e-8, 0.5, 0.5});
  for (Parameter<B>& p : store) set_gradient(p, 2);
  optimizer.step(ctx, store);
  const Matrix<double> value = values_of(skipped);
  const Moments before = moments_of(optimizer, store, "skipped");
  CHECK(value(0, 0) != random_matrix<double>(2, 3, 1)(0, 0));
  set_gradient(used, 3);
  optimizer.step(ctx, store);
  check_close(values_of(skipped).view(), value, 0.0);
  const Moments after = moments_of(optimizer, store, "skipped");
  CHECK(before.m(0, 0) != 0);
  check_close(after.m.view(), before.m, 0.0);
  check_close(after.v.view(), before.v, 0.0);
  CHECK(values_of(used)(0, 0) != value(0, 0));
  check_close(values_of(frozen).view(), random_matrix<double>(2, 3, 1), 0.0);
  CHECK(moments_of(optimizer, store, "frozen").m.empty());
}

TEST_CASE_TEMPLATE("matrices of any shape are updated together as each by itself", T, REARM_TEST_SCALARS) {
  using B = TestBackend<T>;
  // Around the width of a piece: several rows in one, one row, a row in several; more of them than one kernel's
  // arguments would hold.
  constexpr Index shapes[][2] = {{1, 1},   {3, 1},    {1000, 1}, {7, 64},   {100, 64}, {9, 511}, {9, 512},
                                 {9, 513}, {2, 1500}, {1, 4097}, {513, 65}, {0, 5},    {5, 0},   {2, 256}};
  for (const bool rounded : {false, true}) {
    const AdamSettings settings{.learning_rate = 0.02, .weight_decay = 0.1, .bfloat16_moments = rounded};
    Context<B> ctx(test_options(2));
    ParameterStore<B> together;
    for (int i = 0; i < (sanitized ? 1 : 4); ++i)
      for (const auto& shape : shapes) {
        auto& p = together.add(detail::message("p", i, "-", shape[0], "-", shape[1]), shape[0], shape[1]);
        p.learning_rate_scale = 1 + i;
      }
    const auto prepare = [](Parameter<B>& p, bool first) {
      if (first) set_value(p, parameter_stream(p.name));
      set_gradient(p, parameter_stream(p.name) + 1);
    };
    AdamW<B> optimizer(settings);
    for (int t = 0; t < 2; ++t) {
      for (Parameter<B>& p : together) prepare(p, t == 0);
      optimizer.step(ctx, together);
    }
    for (Parameter<B>& p : together) {
      CAPTURE(p.name);
      ParameterStore<B> alone;
      Parameter<B>& twin = alone.add(p.name, p.rows(), p.cols());
      twin.learning_rate_scale = p.learning_rate_scale;
      AdamW<B> own(settings);
      for (int t = 0; t < 2; ++t) {
        prepare(twin, t == 0);
        own.step(ctx, alone);
      }
      if (p.value().empty()) continue;
      check_close(values_of(p).view(), to_double(values_of(twin)), 0.0);
      const Moments a = moments_of(optimizer, together, p.name), b = moments_of(own, alone, p.name);
      check_close(a.m.view(), b.m, 0.0);
      check_close(a.v.view(), b.v, 0.0);
    }
  }
}

TEST_CASE_TEMPLATE("a table is updated like a parameter, whose gradient is stored", T, REARM_TEST_SCALARS) {
  using B = TestBackend<T>;
  // More than a tile of rows, of columns and of the inner dimension (a device's tiles are smaller); the projection's
  // weight is trained too, and updated after the table.
  constexpr bool on_host = TestMemory::host_accessible;
  constexpr Index rows = on_host ? 1100 : 150;
  // A loss of all rows, and one of some: none of the second 128 and of the last.
  const std::vector<Id> some = {5, 90, 90, 2, 127, static_cast<Id>(rows - 10)};
  const Buffer<Id, TestMemory> some_there(some);
  const Index widths[] = {5, on_host ? 530 : 150};
  for (int kind = 0; kind < 4; ++kind) {
    const Index width = widths[kind / 2];
    const bool all = kind % 2 == 0;
    CAPTURE(width);
    CAPTURE(all);
    Matrix<double> tables[3];
    Matrix<double> weights[3];
    for (const int mode : {0, 1, 2}) {  // a parameter, a table, a table that updates with the weight's gradient
      Context<B> ctx(test_options(2));
      Tape<B> tape(ctx);
      ParameterStore<B> store;
      Parameter<B>& weight = store.add("weight", 20, width);
      set_value(weight, 2);
      Parameter<B>* const stored = mode == 0 ? &store.add("table", rows, width) : nullptr;
      FeatureTable<B>* const table = mode == 0 ? nullptr : &store.add_table("table", rows, width);
      if (stored != nullptr) set_value(*stored, 1);
      if (table != nullptr) set_value(*table, 1);
      if (table != nullptr) table->fuses_weight_gradient = mode == 2;
      AdamW<B> optimizer(AdamSettings{0.01, 0.9, 0.999, 1e-8, 0.1, 0.05});
      for (int step = 0; step < (sanitized ? 1 : 3); ++step) {
        tape.reset();
        const Var<B> w = tape.parameter(weight);  // has a second use, whose gradient is added
        const Var<B> y = stored != nullptr ? linear(tape.parameter(*stored), w) : project(tape, *table, weight);
        const Var<B> read = all ? y : gather(y, make_index_list(ctx, some_there.span(), rows));
        tape.backward(add(sum_of_squares(read), sum_of_squares(w), T(3)));
        optimizer.step(ctx, store);
        CHECK_FALSE(weight.has_grad);
        if (table != nullptr) CHECK_FALSE(table->has_grad());
      }
      tables[mode] = to_double(stored != nullptr ? values_of(*stored) : values_of(*table));
      weights[mode] = to_double(values_of(weight));
    }
    for (const int mode : {1, 2}) {
      check_close(tables[mode].view(), tables[0], value_tolerance<T>);
      check_close(weights[mode].view(), weights[0], value_tolerance<T>);
    }
  }
}

TEST_CASE_TEMPLATE("moments in bfloat16 keep their mean where rounding to nearest would stand still", T,
                   REARM_TEST_SCALARS) {
  using B = TestBackend<T>;
  Context<B> ctx(test_options(2));
  ParameterStore<B> store;
  Parameter<B>& p = store.add("a", 70, 130);
  AdamW<B> optimizer(AdamSettings{.learning_rate = 1e-3, .bfloat16_moments = true});
  constexpr int steps = 1000;
  for (int t = 0; t < steps; ++t) {
    fill(ctx, T(0.5), p.grad());
    p.has_grad = true;
    optimizer.step(ctx, store);
  }
  const Moments moments = moments_of(optimizer, store, "a");
  CHECK(moments.rounded);
  double mean = 0;
  for (Index i = 0; i < moments.v.size(); ++i) mean += moments.v.data()[i] / static_cast<double>(moments.v.size());
  // One step adds less than half a unit of the last place from 0.128 on; nearest would stop there.
  CHECK(mean == doctest::Approx(0.25 * (1 - std::pow(0.999, steps))).epsilon(5e-3));
  // Every element moves by nearly learning_rate a step: Adam of a constant gradient.
  const Matrix<T> value = values_of(p);
  for (Index i = 0; i < value.size(); ++i)
    CHECK(static_cast<double>(value.data()[i]) == doctest::Approx(-1.0).epsilon(0.05));
}

TEST_CASE_TEMPLATE("tables in bfloat16 move as they should where rounding to nearest would stand still", T,
                   REARM_TEST_SCALARS) {
  using B = TestBackend<T>;
  for (const bool rounded_moments : {false, true}) {
    Context<B> ctx(test_options(2));
    Tape<B> tape(ctx);
    ParameterStore<B> store;
    Parameter<B>& weight = store.add("weight", 1, 130);
    FeatureTable<B>& table = store.add_table("table", 70, 130, true);
    init_constant(weight, 1.0);
    weight.trainable = false;
    store_rounded(table, tabulate(70, 130, [](Index, Index) { return 1.0; }));
    AdamW<B> optimizer({.learning_rate = 1e-3, .bfloat16_moments = rounded_moments});
    constexpr int steps = 200;
    for (int t = 0; t < steps; ++t) {
      tape.reset();
      tape.backward(column_mean(project(tape, table, weight)));
      optimizer.step(ctx, store);
    }
    // Adam of a constant gradient: learning_rate a step, a fourth of a unit of the last place.
    const Matrix<BFloat16> value = stored_in(table);
    double mean = 0;
    for (Index i = 0; i < value.size(); ++i)
      mean += static_cast<double>(to_float(value.data()[i])) / static_cast<double>(value.size());
    CHECK(mean == doctest::Approx(1.0 - 1e-3 * steps).epsilon(5e-3));
    CHECK(moments_of(optimizer, store, "table").rounded == rounded_moments);
  }
}

TEST_CASE_TEMPLATE("a table in bfloat16 gives its weight the same gradient before and in the update", T,
                   REARM_TEST_SCALARS) {
  using B = TestBackend<T>;
  for (const auto& [width, all] : {std::pair<Index, bool>{5, true}, {530, true}, {530, false}}) {
    Matrix<BFloat16> tables[2];
    Matrix<double> weights[2];
    for (const bool fused : {false, true}) {
      Context<B> ctx(test_options(2));
      Tape<B> tape(ctx);
      ParameterStore<B> store;
      Parameter<B>& weight = store.add("weight", 6, width);
      FeatureTable<B>& table = store.add_table("table", 1100, width, true);
      table.fuses_weight_gradient = fused;
      set_value(weight, 2);
      store_rounded(table, to_double(random_matrix<float>(1100, width, 1)));
      const Matrix<BFloat16> before = stored_in(table);
      AdamW<B> optimizer({.learning_rate = 0.01, .weight_decay = 0.1});
      const Var<B> y = project(tape, table, weight);
      tape.backward(sum_of_squares(all ? y : y.rows(3, 200)));
      CHECK(weight.has_grad == !fused);
      optimizer.step(ctx, store);
      weights[fused] = to_double(values_of(weight));
      tables[fused] = stored_in(table);
      Index moved = 0;
      for (Index i = 0; i < before.size(); ++i) {
        const float x = to_float(before.data()[i]);
        CHECK(std::abs(to_float(tables[fused].data()[i]) - x) <= 0.011F + std::abs(x) * 0x1p-7F);
        moved += tables[fused].data()[i].bits != before.data()[i].bits;
      }
      CHECK(moved > (all ? before.size() : 200 * width) / 3);
    }
    for (Index i = 0; i < tables[0].size(); ++i) REQUIRE(tables[0].data()[i].bits == tables[1].data()[i].bits);
    check_close(weights[1].view(), weights[0], value_tolerance<T>);
  }
}

#if !defined(REARM_TEST_CUDA)  // tiles are the CPU's
TEST_CASE_TEMPLATE("a tile's rounding is that of the whole, drawn one by one or in vector registers", T,
                   REARM_TEST_SCALARS) {
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

TEST_CASE_TEMPLATE("a factored table's bfloat16 moments stay within their rounding of the full ones", T,
                   REARM_TEST_SCALARS) {
  using B = TestBackend<T>;
  Matrix<double> tables[2];
  for (const bool rounded : {false, true}) {
    Context<B> ctx(test_options(2));
    Tape<B> tape(ctx);
    ParameterStore<B> store;
    Parameter<B>& weight = store.add("weight", 6, 530);
    FeatureTable<B>& table = store.add_table("table", 1100, 530);
    table.fuses_weight_gradient = true;
    set_value(table, 1);
    set_value(weight, 2);
    AdamW<B> optimizer({.learning_rate = 0.01, .weight_decay = 0.1, .bfloat16_moments = rounded});
    for (int step = 0; step < (watched ? 2 : 3); ++step) {
      tape.reset();
      tape.backward(sum_of_squares(project(tape, table, weight)));
      optimizer.step(ctx, store);
    }
    tables[rounded ? 1 : 0] = to_double(values_of(table));
  }
  double difference = 0;
  for (Index i = 0; i < tables[0].size(); ++i)
    difference = std::max(difference, std::abs(tables[0].data()[i] - tables[1].data()[i]));
  CHECK(difference < 0.03 * 3 * 0.01);  // of what three steps move; one rounding is up to 0.8 %
  CHECK(difference > 0);
}

}  // namespace optim_adamw_test
