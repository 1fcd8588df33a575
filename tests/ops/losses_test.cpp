/// @file losses_test.cpp
/// BPR and InfoNCE against plain loops, and at the ends of their range.

#include "tests/support/matrices.hpp"
#include "tests/support/scalars.hpp"

namespace ops_losses_test {

using namespace rearm;
using namespace rearm::test;

namespace {

/// Rows of length one.
template <class T>
Strided<T> unit_rows(Index n, Index d, std::uint32_t stream) {
  Strided<T> m(n, d, stream);
  const MatrixView<T> x = m.view();
  for (Index i = 0; i < n; ++i) {
    const double norm = std::sqrt(sum_of(d, [&](Index j) { return std::pow(static_cast<double>(x(i, j)), 2); }));
    for (Index j = 0; j < d; ++j) x(i, j) = static_cast<T>(static_cast<double>(x(i, j)) / norm);
  }
  return m;
}

}  // namespace

TEST_CASE_TEMPLATE("bpr is the mean softplus of the negated margins", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  for (const Index n : {0, 1, 300})
    for (const Index width : {1, 7, 65}) {
      Strided<T> u(n, width, 1);
      Strided<T> p(n, width, 2);
      Strided<T> m(n, width, 3);
      const auto at = [](Strided<T>& x, Index i, Index j) { return static_cast<double>(x.view()(i, j)); };
      check_close(bpr(s(u.view()), s(p.view()), s(m.view()), T(0.125)), tabulate(1, 1, [&](Index, Index) {
                    return 0.125 * sum_of(n, [&](Index i) {
                             const double margin =
                                 sum_of(width, [&](Index j) { return at(u, i, j) * (at(p, i, j) - at(m, i, j)); });
                             return -std::log(1 / (1 + std::exp(-margin)));
                           });
                  }));
    }
  Matrix<T> a(2, 3);
  Matrix<T> b(3, 3);
  CHECK_THROWS_WITH_AS(bpr(s(a.view()), s(a.view()), s(b.view()), T(1)), "bpr: negative is 3x3 but must be 2x3",
                       ShapeError);
}

TEST_CASE_TEMPLATE("bpr of huge margins is finite, and so are its gradients", T, REARM_TEST_SCALARS) {
  using B = TestBackend<T>;
  Sandbox<T> s;
  Parameter<B> user("user", 2, 1);
  Matrix<T> positive(2, 1);
  Matrix<T> negative(2, 1);
  put(user.value(), 0, 100);
  put(user.value(), 1, -100);
  positive(0, 0) = positive(1, 0) = T(90);
  const auto loss = bpr(s.tape.parameter(user), s(positive.view()), s(negative.view()), T(1));
  CHECK(scalar(loss) == doctest::Approx(9000.0));  // margins 9000 and -9000
  s.tape.backward(loss);
  const Matrix<T> grad = to_host(user.grad());
  CHECK(grad(0, 0) == doctest::Approx(0.0));
  CHECK(grad(1, 0) == doctest::Approx(-90.0));
}

TEST_CASE_TEMPLATE("info_nce equals the n x n similarities written out", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  for (const Index n : {1, 5, 64, 65, 200})
    for (const Index d : {1, 7, 65})
      for (const double temperature : {0.03, 0.5}) {
        CAPTURE(n);
        CAPTURE(d);
        Strided<T> a = unit_rows<T>(n, d, 1);
        Strided<T> b = unit_rows<T>(n, d, 2);
        const double t = static_cast<double>(T(temperature));
        const auto logit = [&](Index r, Index c) {
          return sum_of(d,
                        [&](Index j) {
                          return static_cast<double>(a.view()(r, j)) * static_cast<double>(b.view()(c, j));
                        }) /
                 t;
        };
        check_close(info_nce(s(a.view()), s(b.view()), T(temperature), T(2)), tabulate(1, 1, [&](Index, Index) {
                      return 2 * sum_of(n, [&](Index r) {
                               return std::log(sum_of(n, [&](Index c) { return std::exp(logit(r, c)); })) - logit(r, r);
                             });
                    }));
      }
  Strided<T> a = unit_rows<T>(4, 3, 1);
  Strided<T> b = unit_rows<T>(5, 3, 2);
  CHECK_THROWS_WITH_AS(info_nce(s(a.view()), s(b.view()), T(1), T(1)),
                       "info_nce: second operand is 5x3 but must be 4x3", ShapeError);
  CHECK_THROWS_AS(info_nce(s(a.view()), s(a.view()), T(0), T(1)), ConfigError);
  CHECK_THROWS_AS(info_nce(s(a.view()), s(a.view()), T(-1), T(1)), ConfigError);
}

TEST_CASE_TEMPLATE("info_nce against more rows, one left out for each", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  for (const Index n : {1, 5, 65}) {
    CAPTURE(n);
    const Index m = 2 * n + 3, left_out = n + 2;
    Strided<T> a = unit_rows<T>(n, 7, 1), b = unit_rows<T>(m, 7, 2);
    const auto logit = [&](Index r, Index c) {
      return 2 * sum_of(7, [&](Index j) {
               return static_cast<double>(a.view()(r, j)) * static_cast<double>(b.view()(c, j));
             });
    };
    const auto term = [&](Index r, Index c) { return c == left_out + r ? 0.0 : std::exp(logit(r, c)); };
    const auto scale = info_nce_scale(T(0.5), T(3), true, nullptr, left_out);
    check_close(info_nce(s(a.view()), s(b.view()), scale), tabulate(1, 1, [&](Index, Index) {
                  return 3 / static_cast<double>(n) * sum_of(n, [&](Index r) {
                           return std::log(sum_of(m, [&](Index c) { return term(r, c); })) - logit(r, r);
                         });
                }));
    const auto refused = [&](Index of_a, Index of_b, Index left) {
      Strided<T> x = unit_rows<T>(of_a, 7, 1), y = unit_rows<T>(of_b, 7, 2);
      const auto other = info_nce_scale(T(0.5), T(3), true, nullptr, left);
      CHECK_THROWS_AS(info_nce(s(x.view()), s(y.view()), other), ShapeError);
    };
    refused(n, m, n + 4);  // beyond b
    refused(n + 1, m, n);  // what is left out would be its own
    refused(n, m, 0);
  }
}

TEST_CASE_TEMPLATE("info_nce of a batch's rows against all of the others", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  for (const Index m : {1, 30, 200}) {
    CAPTURE(m);
    const Index n = 65;
    const Index d = 7;
    std::vector<Id> rows;  // some of them twice, and in no order
    for (Index r = 0; r < n; ++r) rows.push_back(static_cast<Id>((37 * r) % m));
    const auto there = upload(rows);
    const IndexList ids = make_index_list(s.ctx, there.span(), m);
    Strided<T> a = unit_rows<T>(n, d, 1);
    Strided<T> b = unit_rows<T>(m, d, 2);
    const auto logit = [&](Index r, Index c) {
      return sum_of(
                 d,
                 [&](Index j) { return static_cast<double>(a.view()(r, j)) * static_cast<double>(b.view()(c, j)); }) *
             4;
    };
    check_close(info_nce(s(a.view()), s(b.view()), ids, info_nce_scale(T(0.25), T(3))),
                tabulate(1, 1, [&](Index, Index) {
                  return 3 * sum_of(n, [&](Index r) {
                           return std::log(sum_of(m, [&](Index c) { return std::exp(logit(r, c)); })) -
                                  logit(r, rows[static_cast<std::size_t>(r)]);
                         });
                }));
    Strided<T> longer = unit_rows<T>(n + 1, d, 1);
    CHECK_THROWS_AS(info_nce(s(longer.view()), s(b.view()), ids, info_nce_scale(T(0.25), T(3))), ShapeError);
    Strided<T> wider = unit_rows<T>(m, d + 1, 1);
    CHECK_THROWS_AS(info_nce(s(a.view()), s(wider.view()), ids, info_nce_scale(T(0.25), T(3))), ShapeError);
  }
}

}  // namespace ops_losses_test
