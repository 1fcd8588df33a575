/// @file elementwise_test.cpp
/// Concatenation, sums, means, activations and dropout against plain loops.

#include "tests/support/matrices.hpp"
#include "tests/support/scalars.hpp"

#include <span>

namespace ops_elementwise_test {

using namespace rearm;
using namespace rearm::test;

TEST_CASE_TEMPLATE("concat puts parts side by side or on top of each other", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  for (const Index n : {0, 1, 70}) {
    Strided<T> a(n, 1, 1);
    Strided<T> b(n, 7, 2);
    Strided<T> c(n, 65, 3);
    check_close(concat_columns({s(a.view()), s(b.view()), s(c.view())}), tabulate(n, 73, [&](Index i, Index j) {
                  return static_cast<double>(j < 1 ? a.view()(i, j) : j < 8 ? b.view()(i, j - 1) : c.view()(i, j - 8));
                }));
  }
  Strided<T> a(3, 7, 1);
  Strided<T> b(0, 7, 2);
  Strided<T> c(66, 7, 3);
  check_close(concat_rows({s(a.view()), s(b.view()), s(c.view())}), tabulate(69, 7, [&](Index i, Index j) {
                return static_cast<double>(i < 3 ? a.view()(i, j) : c.view()(i - 3, j));
              }));
  CHECK_THROWS_AS(concat_columns({s(a.view()), s(c.view())}), ShapeError);
  Strided<T> narrow(3, 6, 1);
  CHECK_THROWS_AS(concat_rows({s(a.view()), s(narrow.view())}), ShapeError);
  const Var<TestBackend<T>> three[] = {s(a.view()), s(a.view()), s(a.view())};
  const std::span<const Var<TestBackend<T>>> parts(three);
  CHECK_THROWS_WITH_AS(concat(parts, 2), "concat: 3 parts do not fill 2 rows of blocks", ShapeError);
  CHECK_THROWS_WITH_AS(concat(parts, 0), "concat: 3 parts do not fill 0 rows of blocks", ShapeError);
  CHECK_THROWS_WITH_AS(concat(parts.first(0)), "concat: 0 parts do not fill 1 rows of blocks", ShapeError);
}

TEST_CASE_TEMPLATE("add, scale, column_mean, sum_of_squares, row_dot", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  for (const Index n : {0, 1, 5, 300})
    for (const Index width : {1, 3, 7, 64, 65}) {
      CAPTURE(n);
      CAPTURE(width);
      Strided<T> x(n, width, 1);
      Strided<T> y(n, width, 2);
      Strided<T> row(1, width, 3);
      const auto at = [](Strided<T>& m, Index i, Index j) { return static_cast<double>(m.view()(i, j)); };
      check_close(add(s(x.view()), s(y.view()), T(-2)),
                  tabulate(n, width, [&](Index i, Index j) { return at(x, i, j) - 2 * at(y, i, j); }));
      check_close(add(s(x.view()), s(row.view()), T(3)),
                  tabulate(n, width, [&](Index i, Index j) { return at(x, i, j) + 3 * at(row, 0, j); }));
      check_close(scale(s(x.view()), T(0.25)),
                  tabulate(n, width, [&](Index i, Index j) { return 0.25 * at(x, i, j); }));
      check_close(row_dot(s(x.view()), s(y.view())), tabulate(n, 1, [&](Index i, Index) {
                    return sum_of(width, [&](Index j) { return at(x, i, j) * at(y, i, j); });
                  }));
      check_close(sum_of_squares(s(x.view()), T(0.1)), tabulate(1, 1, [&](Index, Index) {
                    return static_cast<double>(T(0.1)) * sum_of(n, [&](Index i) {
                             return sum_of(width, [&](Index j) { return at(x, i, j) * at(x, i, j); });
                           });
                  }));
      if (n == 0) {
        CHECK_THROWS_AS(column_mean(s(x.view())), ShapeError);
        continue;
      }
      check_close(column_mean(s(x.view())), tabulate(1, width, [&](Index, Index j) {
                    return sum_of(n, [&](Index i) { return at(x, i, j); }) / static_cast<double>(n);
                  }));
    }
}

TEST_CASE_TEMPLATE("column sums of any width and many rows, written and added", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  for (const Index n : {5, 70, 9000, 20000})
    for (const Index width : {1, 17, 200, 600}) {
      if (n * width > (sanitized ? 400'000 : 4'000'000)) continue;
      CAPTURE(n);
      CAPTURE(width);
      Strided<T> x(n, width, 1);
      const Matrix<double> want = tabulate(1, width, [&](Index, Index j) {
        return 0.5 * sum_of(n, [&](Index i) { return static_cast<double>(x.view()(i, j)); });
      });
      TestMatrix<T> sums(1, width);
      const auto there = s.there(x.view());
      column_sum(s.ctx, T(0.5), there, sums.view());
      check_close(sums, want);
      column_sum(s.ctx, T(0.5), there, add_to(sums.view()));
      check_close(sums, tabulate(1, width, [&](Index, Index j) { return 2 * want(0, j); }));
    }
}

TEST_CASE_TEMPLATE("prelu and scalar_affine", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  for (const Index n : {0, 1, 70})
    for (const Index width : {1, 3, 65}) {
      Strided<T> x(n, width, 1);
      if (n > 0) x.view()(0, 0) = T(0);
      Strided<T> w(1, 1, 2);
      Strided<T> b(1, 1, 3);
      const auto weight = static_cast<double>(w.view()(0, 0));
      const auto bias = static_cast<double>(b.view()(0, 0));
      check_close(prelu(s(x.view()), s(w.view())), tabulate(n, width, [&](Index i, Index j) {
                    const auto v = static_cast<double>(x.view()(i, j));
                    return v > 0 ? v : weight * v;
                  }));
      check_close(scalar_affine(s(x.view()), s(w.view()), s(b.view())), tabulate(n, width, [&](Index i, Index j) {
                    return weight * static_cast<double>(x.view()(i, j)) + bias;
                  }));
    }
  Strided<T> x(2, 3, 1);
  Strided<T> two(1, 2, 2);
  CHECK_THROWS_WITH_AS(prelu(s(x.view()), s(two.view())), "prelu: slope is 1x2 but must be 1x1", ShapeError);
  CHECK_THROWS_AS(scalar_affine(s(x.view()), s(two.view()), s(two.view())), ShapeError);
}

TEST_CASE_TEMPLATE("dropout keeps what the counters say, scaled by 1 / (1 - p)", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  const RandomKey key{11, 5, 3};
  for (const Index n : {0, 1, 70})
    for (const Index width : {1, 3, 7, 64, 65}) {
      Strided<T> x(n, width, 1);
      check_close(dropout(s(x.view()), 0.3, key), tabulate(n, width, [&](Index i, Index j) {
                    return dropout_multiplier(key, 0.3, i, width, j) * static_cast<double>(x.view()(i, j));
                  }));
      check_close(dropout(s(x.view()), 1.0, key), Matrix<double>(n, width), 0.0);
      if (n == 0) continue;
      const auto there = upload(std::vector<Id>{static_cast<Id>(n - 1), 0, static_cast<Id>(n - 1)});
      const IndexList rows = make_index_list(s.ctx, there.span(), n);
      const Matrix<T> want = to_host(gather(dropout(s(x.view()), 0.3, key), rows).value());
      check_close(gather_dropout(s(x.view()), rows, 0.3, key),
                  tabulate(3, width, [&](Index i, Index j) { return static_cast<double>(want(i, j)); }), 0.0);
    }
  Strided<T> x(4, 3, 1);
  const auto same = s(x.view());
  CHECK(dropout(same, 0.0, key).value().data == same.value().data);
  CHECK_THROWS_AS(dropout(same, -0.1, key), ConfigError);
  CHECK_THROWS_AS(dropout(same, 1.1, key), ConfigError);
  const IndexList three{nullptr, 3};
  CHECK_THROWS_WITH_AS(dropout(s.ctx, same.value(), 0.5, key, same.value(), &three),
                       "dropout: there are 3 ids for 4 rows", ShapeError);
}

TEST_CASE_TEMPLATE("add_gumbel adds what the counters say", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  const RandomKey key{11, 5, 3};
  for (const Index n : {0, 1, 70})
    for (const Index width : {1, 4, 7, 65}) {
      Strided<T> x(n, width, 1);
      const Index draws = (width + 3) / 4;
      check_close(add_gumbel(s(x.view()), key), tabulate(n, width, [&](Index i, Index j) {
                    const RandomBits bits = key.noise(static_cast<std::uint64_t>(i * draws + j % draws));
                    const double u = (static_cast<double>(bits.word[j / draws] / 512) + 0.5) / 8388608;
                    return static_cast<double>(x.view()(i, j)) - std::log(-std::log(u));
                  }));
    }
}

TEST_CASE("elementwise operators name both shapes") {
  Sandbox<double> s;
  Matrix<double> a(4, 3);
  Matrix<double> b(2, 3);
  CHECK_THROWS_WITH_AS(row_dot(s(a.view()), s(b.view())), "row_dot: second operand is 2x3 but must be 4x3", ShapeError);
}

}  // namespace ops_elementwise_test
