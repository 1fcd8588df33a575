/// @file broadcast_test.cpp
/// Sums and products by element, the second operand whole, one row, one column or one number, against plain loops.

#include "tests/support/matrices.hpp"
#include "tests/support/scalars.hpp"

#include <rearm/autodiff/operators.hpp>

namespace ops_broadcast_test {

using namespace rearm;
using namespace rearm::test;

namespace {

/// The shapes that a second operand of n x width may have.
std::vector<std::pair<Index, Index>> broadcast_shapes(Index n, Index width) {
  return {{n, width}, {1, width}, {n, 1}, {1, 1}};
}

/// Entry (i, j) of `m` repeated to any shape.
template <class T>
double repeated_entry(Strided<T>& m, Index i, Index j) {
  return static_cast<double>(m.view()(m.view().rows == 1 ? 0 : i, m.view().cols == 1 ? 0 : j));
}

}  // namespace

TEST_CASE_TEMPLATE("add, mul and + - * by element, one operand repeated", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  for (const Index n : {0, 1, 5, 70})
    for (const Index width : {1, 3, 64, 65}) {
      Strided<T> a(n, width, 1);
      for (const auto& shape : broadcast_shapes(n, width)) {
        const Index rows = shape.first;
        const Index cols = shape.second;
        CAPTURE(n);
        CAPTURE(width);
        CAPTURE(rows);
        CAPTURE(cols);
        Strided<T> b(rows, cols, 2);
        const auto table = [&](const auto& f) {
          return tabulate(n, width, [&](Index i, Index j) {
            return f(static_cast<double>(a.view()(i, j)), repeated_entry(b, i, j));
          });
        };
        const auto x = s(a.view());
        const auto y = s(b.view());
        check_close(add(x, y, T(-2)), table([](double p, double q) { return p - 2 * q; }));
        check_close(mul(x, y), table([](double p, double q) { return p * q; }));
        check_close(x + y, table([](double p, double q) { return p + q; }));
        check_close(x - y, table([](double p, double q) { return p - q; }));
        check_close(x * y, table([](double p, double q) { return p * q; }));
        check_close(y + x, table([](double p, double q) { return p + q; }));
        check_close(y - x, table([](double p, double q) { return q - p; }));
        check_close(y * x, table([](double p, double q) { return p * q; }));
      }
      const auto of_a = [&](double factor) {
        return tabulate(n, width, [&](Index i, Index j) { return factor * static_cast<double>(a.view()(i, j)); });
      };
      check_close(T(3) * s(a.view()), of_a(3));
      check_close(s(a.view()) * T(3), of_a(3));
      check_close(-s(a.view()), of_a(-1));
    }
}

TEST_CASE_TEMPLATE("gradients of a repeated operand are sums, of many rows too", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  for (const Index n : {5, 300, 9000}) {
    const Index width = 17;
    Strided<T> a(n, width, 1);
    Strided<T> d_y(n, width, 2);
    const auto a_there = s.there(a.view());
    const auto d_y_there = s.there(d_y.view());
    for (const auto& shape : broadcast_shapes(n, width)) {
      const Index rows = shape.first;
      const Index cols = shape.second;
      CAPTURE(n);
      CAPTURE(rows);
      CAPTURE(cols);
      Strided<T> b(rows, cols, 3);
      const auto b_there = s.there(b.view());
      // Sums of what f gives, over all that an entry of b was repeated for.
      const auto sums = [&](const auto& f) {
        Matrix<double> total(rows, cols);
        for (Index i = 0; i < n; ++i)
          for (Index j = 0; j < width; ++j) total(rows == 1 ? 0 : i, cols == 1 ? 0 : j) += f(i, j);
        return total;
      };
      const auto grad = [&](Index i, Index j) { return static_cast<double>(d_y.view()(i, j)); };
      const auto product = [&](Index i, Index j) { return grad(i, j) * static_cast<double>(a.view()(i, j)); };
      const double tolerance = 10 * value_tolerance<T>;
      TestMatrix<T> d_a(n, width);
      TestMatrix<T> d_b(rows, cols);
      mul_backward(s.ctx, a_there, b_there, d_y_there, d_a.view(), d_b.view());
      check_close(d_a, tabulate(n, width, [&](Index i, Index j) { return grad(i, j) * repeated_entry(b, i, j); }));
      check_close(d_b, sums(product), tolerance);
      mul_backward(s.ctx, a_there, b_there, d_y_there, {}, add_to(d_b.view()));
      check_close(d_b, sums([&](Index i, Index j) { return 2 * product(i, j); }), tolerance);
      add_backward(s.ctx, T(0.5), d_y_there, {}, d_b.view());
      check_close(d_b, sums([&](Index i, Index j) { return 0.5 * grad(i, j); }), tolerance);
      add_backward(s.ctx, T(0.5), d_y_there, add_to(d_a.view()), add_to(d_b.view()));
      check_close(d_b, sums(grad), tolerance);
      check_close(d_a,
                  tabulate(n, width, [&](Index i, Index j) { return grad(i, j) * (1 + repeated_entry(b, i, j)); }));
    }
  }
}

TEST_CASE("sums and products by element name both shapes") {
  Sandbox<double> s;
  Matrix<double> a(4, 3);
  Matrix<double> b(2, 3);
  Matrix<double> column(3, 1);
  CHECK_THROWS_WITH_AS(
      add(s(a.view()), s(b.view())),
      "add: a is 4x3 but b is 2x3; it must have the same shape, or be one row, one column or one number", ShapeError);
  CHECK_THROWS_WITH_AS(
      mul(s(a.view()), s(column.view())),
      "mul: a is 4x3 but b is 3x1; it must have the same shape, or be one row, one column or one number", ShapeError);
  CHECK_THROWS_AS(s(a.view()) - s(b.view()), ShapeError);
  CHECK_THROWS_AS(s(b.view()) * s(a.view()), ShapeError);
}

}  // namespace ops_broadcast_test
