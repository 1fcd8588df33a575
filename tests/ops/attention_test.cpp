/// @file attention_test.cpp
/// Rank-one attention and the low-rank product against plain loops.

#include "tests/support/matrices.hpp"
#include "tests/support/scalars.hpp"

namespace ops_attention_test {

using namespace rearm;
using namespace rearm::test;

TEST_CASE_TEMPLATE("rank_one_attention equals the d x d softmax written out", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  const RandomKey key{3, 9, 1};
  for (const Index n : {0, 1, 20})
    for (const Index d : {1, 3, 7, 64, 65})
      for (const double p : {0.0, 0.4, 1.0}) {
        CAPTURE(d);
        CAPTURE(p);
        Strided<T> q(n, d, 1);
        Strided<T> k(n, d, 2);
        Strided<T> v(n, d, 3);
        const auto at = [](Strided<T>& m, Index i, Index j) { return static_cast<double>(m.view()(i, j)); };
        check_close(rank_one_attention(s(q.view()), s(k.view()), s(v.view()), T(0.5), p, key),
                    tabulate(n, d, [&](Index i, Index a) {
                      double sum = 0;
                      double value = 0;
                      for (Index b = 0; b < d; ++b) {
                        const double weight = std::exp(0.5 * at(q, i, a) * at(k, i, b));
                        const double m = p == 0 ? 1.0 : p == 1 ? 0.0 : dropout_multiplier(key, p, i * d + a, d, b);
                        sum += weight;
                        value += weight * m * at(v, i, b);
                      }
                      return value / sum;
                    }));
        s.tape.reset();
      }
}

TEST_CASE_TEMPLATE("scalar_projections and their gradients equal plain loops", T, REARM_TEST_SCALARS) {
  Context<TestBackend<T>> ctx(test_options());
  for (const Index n : {0, 1, 70})
    for (const Index d : {1, 3, 64, 65}) {
      const Matrix<T> x = random_matrix<T>(n, d, 1), y = random_matrix<T>(n, d, 2), w = random_matrix<T>(3, 1, 3),
                      b = random_matrix<T>(3, 1, 4);
      const Matrix<T> g[3] = {random_matrix<T>(n, d, 5), random_matrix<T>(n, d, 6), random_matrix<T>(n, d, 7)};
      const auto at = [](const Matrix<T>& m, Index i, Index j) { return static_cast<double>(m(i, j)); };
      const auto x_there = upload(x), y_there = upload(y), w_there = upload(w), b_there = upload(b);
      TestMatrix<T> out[3] = {TestMatrix<T>(n, d), TestMatrix<T>(n, d), TestMatrix<T>(n, d)};
      scalar_projections(ctx, x_there.view(), y_there.view(), w_there.view(), b_there.view(), out[0].view(),
                         out[1].view(), out[2].view());
      for (const Index s : {0, 1, 2})
        check_close(out[s], tabulate(n, d, [&](Index i, Index j) {
                      return at(w, s, 0) * at(s == 0 ? x : y, i, j) + at(b, s, 0);
                    }));

      const TestMatrix<T> g_there[3] = {upload(g[0]), upload(g[1]), upload(g[2])};
      TestMatrix<T> d_x(n, d), d_y = upload(y), d_w(3, 1), d_b = upload(b);
      scalar_projections_backward(ctx, x_there.view(), y_there.view(), w_there.view(), g_there[0].view(),
                                  g_there[1].view(), g_there[2].view(), d_x.view(), add_to(d_y.view()), d_w.view(),
                                  add_to(d_b.view()));
      check_close(d_x, tabulate(n, d, [&](Index i, Index j) { return at(w, 0, 0) * at(g[0], i, j); }));
      check_close(d_y, tabulate(n, d, [&](Index i, Index j) {
                    return at(y, i, j) + at(w, 1, 0) * at(g[1], i, j) + at(w, 2, 0) * at(g[2], i, j);
                  }));
      const auto sum = [&](Index s, bool weighted) {
        double total = 0;
        for (Index i = 0; i < n; ++i)
          for (Index j = 0; j < d; ++j) total += at(g[s], i, j) * (weighted ? at(s == 0 ? x : y, i, j) : 1.0);
        return total;
      };
      const double slack = std::is_same_v<T, float> ? 1e-3 : 1e-11;  // sums of up to 4,550 numbers
      const Matrix<T> got_w = to_host(d_w), got_b = to_host(d_b);
      for (const Index s : {0, 1, 2}) {
        CHECK(std::abs(static_cast<double>(got_w(s, 0)) - sum(s, true)) <= slack);
        CHECK(std::abs(static_cast<double>(got_b(s, 0)) - at(b, s, 0) - sum(s, false)) <= slack);
      }
    }
}

TEST_CASE_TEMPLATE("rank_one_attention stays finite for large logits", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  Strided<T> q(3, 9, 1, 100.0);
  Strided<T> k(3, 9, 2, 100.0);
  Strided<T> v(3, 9, 3);
  const Matrix<T> out = to_host(rank_one_attention(s(q.view()), s(k.view()), s(v.view()), T(1), 0.0, RandomKey{}));
  for (Index i = 0; i < 3; ++i)
    for (Index a = 0; a < 9; ++a) {
      // One weight takes all: the value at the key that is largest in the query's direction.
      Index best = 0;
      for (Index b = 1; b < 9; ++b)
        if (q.view()(i, a) * k.view()(i, b) > q.view()(i, a) * k.view()(i, best)) best = b;
      CHECK(out(i, a) == doctest::Approx(static_cast<double>(v.view()(i, best))).epsilon(0.01));
    }
}

TEST_CASE("rank_one_attention refuses shapes, widths and probabilities by name") {
  Sandbox<double> s;
  Matrix<double> q(2, 3);
  Matrix<double> k(2, 4);
  Matrix<double> wide(1, max_attention_width + 1);
  Matrix<double> none(2, 0);
  const auto call = [&](Matrix<double>& a, Matrix<double>& b, double p) {
    rank_one_attention(s(a.view()), s(b.view()), s(a.view()), 1.0, p, RandomKey{});
  };
  CHECK_THROWS_WITH_AS(call(q, k, 0.0), "rank_one_attention: k is 2x4 but must be 2x3", ShapeError);
  CHECK_THROWS_WITH_AS(call(wide, wide, 0.0), "rank_one_attention: rows of 1x1025 must have 1 to 1024 entries",
                       ShapeError);
  CHECK_THROWS_AS(call(none, none, 0.0), ShapeError);
  CHECK_THROWS_AS(call(q, q, 1.5), ConfigError);
  CHECK_THROWS_AS(call(q, q, std::nan("")), ConfigError);
}

TEST_CASE_TEMPLATE("low_rank_product applies each row's two thin matrices in either order", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  for (const Index n : {0, 1, 70})
    for (const Index d : {1, 3, 7, 65})
      for (const Index k : {1, 2, 5}) {
        Strided<T> x(n, d, 1);
        Strided<T> w1(n, d * k, 2);
        Strided<T> w2(n, k * d, 3);
        const auto at = [](Strided<T>& m, Index i, Index j) { return static_cast<double>(m.view()(i, j)); };
        check_close(low_rank_product(s(x.view()), s(w1.view()), s(w2.view()), LowRankOrder::left_to_right),
                    tabulate(n, d, [&](Index i, Index b) {
                      return sum_of(k, [&](Index j) {
                        return sum_of(d, [&](Index a) { return at(x, i, a) * at(w1, i, a * k + j); }) *
                               at(w2, i, j * d + b);
                      });
                    }));
        check_close(low_rank_product(s(x.view()), s(w1.view()), s(w2.view()), LowRankOrder::right_to_left),
                    tabulate(n, d, [&](Index i, Index b) {
                      return sum_of(k, [&](Index j) {
                        return sum_of(d, [&](Index a) { return at(x, i, a) * at(w2, i, j * d + a); }) *
                               at(w1, i, b * k + j);
                      });
                    }));
      }
  Matrix<T> x(2, 3);
  Matrix<T> w(2, 6);
  Matrix<T> wrong(2, 7);
  CHECK_THROWS_WITH_AS(low_rank_product(s(x.view()), s(w.view()), s(wrong.view()), LowRankOrder::left_to_right),
                       "low_rank_product: W2 is 2x7 but must be 2x6", ShapeError);
  CHECK_THROWS_AS(low_rank_product(s(x.view()), s(wrong.view()), s(w.view()), LowRankOrder::left_to_right), ShapeError);
}

}  // namespace ops_attention_test
