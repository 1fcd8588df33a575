/// @file normalize_test.cpp
/// Norms, LayerNorm, softmax along either axis, log-sum-exp and cosine against plain loops.

#include "tests/support/matrices.hpp"
#include "tests/support/scalars.hpp"

namespace ops_normalize_test {

using namespace rearm;
using namespace rearm::test;

namespace {

template <class T>
double norm(ConstView<T> x, Index i) {
  return std::sqrt(sum_of(x.cols, [&](Index j) { return std::pow(static_cast<double>(x(i, j)), 2); }));
}

constexpr Index row_counts[] = {0, 1, 70};
constexpr Index widths[] = {1, 3, 7, 64, 65};

}  // namespace

TEST_CASE_TEMPLATE("row_normalize and row_scale_detached, zero rows included", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  for (const Index n : row_counts)
    for (const Index width : widths) {
      Strided<T> x(n, width, 1);
      for (Index j = 0; j < width && n > 1; ++j) x.view()(1, j) = T(0);
      const auto expected = [&](auto divisor) {
        return tabulate(n, width, [&](Index i, Index j) {
          return static_cast<double>(x.view()(i, j)) / divisor(norm<T>(x.view(), i));
        });
      };
      check_close(row_normalize(s(x.view()), T(1e-12)),
                  expected([](double length) { return std::max(length, 1e-12); }));
      check_close(row_normalize(s(x.view()), T(3)), expected([](double length) { return std::max(length, 3.0); }));
      check_close(row_scale_detached(s(x.view()), T(0.5)), expected([](double length) { return length + 0.5; }));
    }
}

TEST_CASE_TEMPLATE("layer_norm", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  for (const Index n : row_counts)
    for (const Index width : widths) {
      Strided<T> x(n, width, 1);
      Strided<T> gamma(1, width, 2);
      Strided<T> beta(1, width, 3);
      const auto w = static_cast<double>(width);
      check_close(layer_norm(s(x.view()), s(gamma.view()), s(beta.view()), T(1e-5)),
                  tabulate(n, width, [&](Index i, Index j) {
                    const auto at = [&](Index c) { return static_cast<double>(x.view()(i, c)); };
                    const double mean = sum_of(width, at) / w;
                    const double variance = sum_of(width, [&](Index c) { return std::pow(at(c) - mean, 2); }) / w;
                    return static_cast<double>(gamma.view()(0, j)) * (at(j) - mean) / std::sqrt(variance + 1e-5) +
                           static_cast<double>(beta.view()(0, j));
                  }));
    }
  Matrix<T> x(2, 3);
  Matrix<T> wrong(1, 4);
  CHECK_THROWS_WITH_AS(layer_norm(s(x.view()), s(wrong.view()), s(wrong.view()), T(1e-5)),
                       "layer_norm: gamma is 1x4 but must be 1x3", ShapeError);
}

TEST_CASE_TEMPLATE("softmax along the first axis, the last axis and the whole row", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  struct Case {
    Index d, k;
  };
  for (const Index n : row_counts)
    for (const Case c : {Case{1, 1}, Case{3, 2}, Case{1, 7}, Case{7, 1}, Case{13, 5}, Case{64, 3}, Case{3, 64},
                         Case{40, 7}, Case{2, 300}}) {
      if (c.d * c.k > 100 && n > 20) continue;
      const Index width = c.d * c.k;
      Strided<T> x(n, width, 1, 3.0);
      const auto e = [&](Index i, Index j) { return std::exp(static_cast<double>(x.view()(i, j))); };
      check_close(softmax(s(x.view()), {c.d, c.k}), tabulate(n, width, [&](Index i, Index j) {
                    return e(i, j) / sum_of(c.d, [&](Index a) { return e(i, a * c.k + j % c.k); });
                  }));
      check_close(softmax(s(x.view()), {c.k, 1}), tabulate(n, width, [&](Index i, Index j) {
                    return e(i, j) / sum_of(c.k, [&](Index a) { return e(i, j / c.k * c.k + a); });
                  }));
      check_close(softmax(s(x.view()), {width, 1}), tabulate(n, width, [&](Index i, Index j) {
                    return e(i, j) / sum_of(width, [&](Index a) { return e(i, a); });
                  }));
    }
  Matrix<T> x(2, 6);
  CHECK_THROWS_WITH_AS(softmax(s(x.view()), {4, 1}), "softmax: rows of 2x6 are not made of blocks of 4 x 1",
                       ShapeError);
  CHECK_THROWS_AS(softmax(s(x.view()), {0, 1}), ShapeError);
  // Groups e^80 and more apart: each keeps its own shares.
  Matrix<T> far(1, 4);
  far(0, 0) = T(-500);
  far(0, 1) = T(300);
  far(0, 2) = T(-501);
  far(0, 3) = T(300);
  const Matrix<T> shares = to_host(softmax(s(far.view()), {2, 2}));
  CHECK(shares(0, 0) == doctest::Approx(1 / (1 + std::exp(-1.0))));
  CHECK(shares(0, 3) == doctest::Approx(0.5));
  x(0, 0) = T(1e4);  // no overflow: all the weight goes there
  CHECK(to_host(softmax(s(x.view()), {6, 1}))(0, 0) == doctest::Approx(1.0));
}

TEST_CASE_TEMPLATE("log_sum_exp", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  for (const Index n : row_counts)
    for (const Index width : widths) {
      Strided<T> x(n, width, 1, 3.0);
      check_close(
          log_sum_exp(s(x.view())), tabulate(n, 1, [&](Index i, Index) {
            return std::log(sum_of(width, [&](Index j) { return std::exp(static_cast<double>(x.view()(i, j))); }));
          }));
    }
  Matrix<T> x(2, 3);
  x(0, 1) = T(5000);
  x(1, 0) = x(1, 1) = x(1, 2) = T(-5000);
  const Matrix<T> y = to_host(log_sum_exp(s(x.view())));
  CHECK(y(0, 0) == doctest::Approx(5000.0));
  CHECK(y(1, 0) == doctest::Approx(-5000.0 + std::log(3.0)));
  Matrix<T> none(2, 0);
  CHECK_THROWS_AS(log_sum_exp(s(none.view())), ShapeError);
}

TEST_CASE_TEMPLATE("cosine", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  for (const Index n : row_counts)
    for (const Index width : widths) {
      Strided<T> a(n, width, 1);
      Strided<T> b(n, width, 2);
      for (Index j = 0; j < width && n > 1; ++j) a.view()(1, j) = T(0);
      for (const double eps : {1e-8, 2.0})
        check_close(cosine(s(a.view()), s(b.view()), T(eps)), tabulate(n, 1, [&](Index i, Index) {
                      return sum_of(width,
                                    [&](Index j) {
                                      return static_cast<double>(a.view()(i, j)) * static_cast<double>(b.view()(i, j));
                                    }) /
                             (std::max(norm<T>(a.view(), i), eps) * std::max(norm<T>(b.view(), i), eps));
                    }));
    }
  Matrix<T> a(2, 3);
  Matrix<T> b(2, 4);
  CHECK_THROWS_WITH_AS(cosine(s(a.view()), s(b.view()), T(1)), "cosine: second operand is 2x4 but must be 2x3",
                       ShapeError);
}

}  // namespace ops_normalize_test
