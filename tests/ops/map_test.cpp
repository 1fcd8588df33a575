/// @file map_test.cpp
/// The elementwise family against the standard library in double, one function after the other.

#include "tests/support/matrices.hpp"
#include "tests/support/scalars.hpp"

#include <rearm/autodiff/map.hpp>

#include <tuple>

namespace ops_map_test {

using namespace rearm;
using namespace rearm::test;

namespace {

double naive_map(functors::Sigmoid, double x) { return 1.0 / (1.0 + std::exp(-x)); }
double naive_map(functors::Tanh, double x) { return std::tanh(x); }
double naive_map(functors::Exp, double x) { return std::exp(x); }
double naive_map(functors::Log, double x) { return std::log(x); }
double naive_map(functors::Sqrt, double x) { return std::sqrt(x); }
double naive_map(functors::InverseSqrt, double x) { return x > 0 ? 1 / std::sqrt(x) : 0; }
double naive_map(functors::Square, double x) { return x * x; }
double naive_map(functors::Softplus, double x) { return std::log(1.0 + std::exp(x)); }
double naive_map(functors::Relu, double x) { return std::max(x, 0.0); }
double naive_map(functors::LeakyRelu f, double x) { return x > 0 ? x : f.below * x; }

template <class T, class F>
void check_map(const F& f) {
  CAPTURE(F::name);
  Sandbox<T> s;
  for (const Index n : {0, 1, 70})
    for (const Index width : {1, 3, 64, 65}) {
      Strided<T> x(n, width, 1, 3.0);
      if (std::isnan(naive_map(f, -1.0)))
        for (Index i = 0; i < x.storage.size(); ++i) x.storage.data()[i] = std::abs(x.storage.data()[i]) + T(0.01);
      check_close(map(s(x.view()), f), tabulate(n, width, [&](Index i, Index j) {
                    return naive_map(f, static_cast<double>(x.view()(i, j)));
                  }));
    }
}

}  // namespace

TEST_CASE_TEMPLATE("every function of the elementwise family is the standard library's", T, REARM_TEST_SCALARS) {
  std::apply([](const auto&... f) { (check_map<T>(f), ...); }, functors::Maps{});
  check_map<T>(functors::LeakyRelu{0.3});
}

TEST_CASE_TEMPLATE("map in place, on views, by name and with a function of one's own", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  const auto values = random_matrix<T>(5, 7, 1);
  TestMatrix<T> x = upload(values);
  const auto at = [&](Index i, Index j) { return static_cast<double>(values(i, j)); };
  map<functors::Tanh>(s.ctx, x.view(), x.view());
  check_close(x, tabulate(5, 7, [&](Index i, Index j) { return std::tanh(at(i, j)); }));
  check_close(square(s(values.view())), tabulate(5, 7, [&](Index i, Index j) { return at(i, j) * at(i, j); }));
  check_close(leaky_relu(s(values.view()), 0.2),
              tabulate(5, 7, [&](Index i, Index j) { return at(i, j) > 0 ? at(i, j) : 0.2 * at(i, j); }));
  TestMatrix<T> narrow(5, 6);
  CHECK_THROWS_WITH_AS(map<functors::Relu>(s.ctx, x.view(), narrow.view()), "map: output is 5x6 but must be 5x7",
                       ShapeError);
}

TEST_CASE_TEMPLATE("map_backward writes and adds d_y f'(x)", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  Strided<T> x(9, 33, 1);
  Strided<T> d_y(9, 33, 2);
  const auto x_there = s.there(x.view());
  const auto d_y_there = s.there(d_y.view());
  TestMatrix<T> d_x(9, 33);
  const auto want = [&](double times) {
    return tabulate(9, 33, [&](Index i, Index j) {
      return times * 2 * static_cast<double>(x.view()(i, j)) * static_cast<double>(d_y.view()(i, j));
    });
  };
  // square needs no y.
  map_backward<functors::Square>(s.ctx, x_there, x_there, d_y_there, d_x.view());
  check_close(d_x, want(1));
  map_backward<functors::Square>(s.ctx, x_there, x_there, d_y_there, add_to(d_x.view()));
  check_close(d_x, want(2));
}

}  // namespace ops_map_test
