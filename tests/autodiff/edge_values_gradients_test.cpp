/// @file edge_values_gradients_test.cpp
/// Finite differences of sparse matrices whose values are computed, and gradients of 0.

#include "tests/support/gradient_check.hpp"

#include <rearm/optim/adamw.hpp>

namespace autodiff_edge_values_gradients_test {

using namespace rearm;
using namespace rearm::test;

using Vars = std::vector<DoubleVar>;
using Pattern = SparsePattern<TestMemory>;

TEST_CASE("gradients of sddmm") {
  const Pattern at(random_csr<double>(9, 6, 0.4, 1));
  const Pattern square(random_csr<double>(9, 9, 0.4, 2));
  for (const Index width : {1, 3, 65}) {
    auto a = random_parameter(9, width, 1);
    auto b = random_parameter(6, width, 2);
    check_gradients({&a, &b}, [&](DoubleTape&, const Vars& v) { return sddmm(at, v[0], v[1]); });
    check_gradients({&a}, [&](DoubleTape&, const Vars& v) { return sddmm(square, v[0], v[0]); });
    check_gradients({&b}, [&](DoubleTape& tape, const Vars& v) { return sddmm(at, tape.constant(a.value()), v[0]); });
  }
}

TEST_CASE("gradients of spmm with computed values, and of row sums") {
  const Csr<double> places = random_csr<double>(9, 6, 0.4, 1);
  const Pattern at(places);
  for (const Index width : {1, 3, 65}) {
    auto values = random_parameter(places.nonzeros(), 1, 1);
    auto x = random_parameter(6, width, 2);
    check_gradients({&values, &x}, [&](DoubleTape&, const Vars& v) { return spmm(at, v[0], v[1]); });
    check_gradients({&values},
                    [&](DoubleTape& tape, const Vars& v) { return spmm(at, v[0], tape.constant(x.value())); });
    check_gradients({&x},
                    [&](DoubleTape& tape, const Vars& v) { return spmm(at, tape.constant(values.value()), v[0]); });
    check_gradients({&values}, [&](DoubleTape&, const Vars& v) { return row_sums(at, v[0]); });
  }
}

TEST_CASE("gradients through a graph of cosines with normalized rows") {
  Csr<double> places = random_csr<double>(8, 8, 0.5, 3);
  const Pattern at(places);
  auto c = tabulate(8, 3, [](Index i, Index j) { return 1 + 0.1 * static_cast<double>((3 * i + 5 * j) % 7); });
  DoubleParameter features("features", 8, 3);
  set(features, c);
  auto x = random_parameter(8, 4, 2);
  check_gradients({&features, &x}, [&](DoubleTape&, const Vars& v) {
    const DoubleVar unit = row_normalize(v[0], 1e-12);
    const DoubleVar cosines = sddmm(at, unit, unit);
    const DoubleVar scale = inverse_sqrt(row_sums(at, cosines));
    return spmm(at, cosines, v[1] * scale) * scale;
  });
}

TEST_CASE("a gradient of 0 lets an optimizer go on by its moments, and none where there is another") {
  Sandbox<double> s;
  ParameterStore<Double> store;
  DoubleParameter& read = store.add("read", 2, 3);
  DoubleParameter& unread = store.add("unread", 2, 3);
  DoubleParameter& left = store.add("left", 2, 3);
  DoubleParameter& frozen = store.add("frozen", 2, 3);
  DoubleTable& table = store.add_table("table", 5, 4);
  DoubleParameter& weight = store.add("weight", 3, 4);
  frozen.trainable = false;
  randomize(store);
  AdamW<Double> optimizer({.learning_rate = 0.1});
  for (int step = 0; step < 3; ++step) {
    s.tape.reset();
    DoubleVar loss = sum_of_squares(s.tape.parameter(read));
    if (step == 0)
      for (const DoubleVar x :
           {s.tape.parameter(unread), s.tape.parameter(left), s.tape.parameter(frozen), project(s.tape, table, weight)})
        loss = add(loss, sum_of_squares(x));
    const Matrix<double> before[] = {to_host(unread.value()), to_host(left.value()), values_of(table)};
    if (step > 0) {
      zero_gradient(loss, read);
      zero_gradient(loss, unread);
      zero_gradient(loss, frozen);
      zero_gradient(loss, table);
    }
    s.tape.backward(loss, AfterBackward::release);
    const auto read_values = to_host(read.value()), read_gradient = to_host(read.grad());
    check_close(read_gradient.view(), tabulate(2, 3, [&](Index i, Index j) { return 2 * read_values(i, j); }));
    CHECK(unread.has_grad);
    CHECK(left.has_grad == (step == 0));
    CHECK_FALSE(frozen.has_grad);
    CHECK(table.has_grad());
    if (step > 0)
      for (const Matrix<double>& gradient : {gradient_of(unread), gradient_of(table)})
        for (Index i = 0; i < gradient.size(); ++i) CHECK(gradient.data()[i] == 0.0);
    optimizer.step(s.ctx, store);
    const Matrix<double> after[] = {to_host(unread.value()), to_host(left.value()), values_of(table)};
    const auto moved = [&](int x) { return after[x](1, 1) != before[x](1, 1); };
    CHECK(moved(0));
    CHECK(moved(1) == (step == 0));
    CHECK(moved(2));
  }
}

}  // namespace autodiff_edge_values_gradients_test
