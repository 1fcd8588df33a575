/// @file dropout_test.cpp
/// How often dropout keeps, and that its backward drops the same places; the distribution of Gumbel noise.

#include "tests/support/matrices.hpp"
#include "tests/support/scalars.hpp"

namespace functors_dropout_test {

using namespace rearm;
using namespace rearm::test;

TEST_CASE_TEMPLATE("dropout keeps 1 - p of the entries and the mean", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  const Index rows = 1000;
  const Index cols = 99;
  Matrix<T> ones(rows, cols);
  std::fill_n(ones.data(), ones.size(), T(1));
  const auto size = static_cast<double>(ones.size());
  for (const double p : {0.1, 0.3, 0.6}) {
    const auto y = dropout(s(ones.view()), p, RandomKey{4, 5, 6}).value();
    double kept = 0;
    double sum = 0;
    for (Index i = 0; i < ones.size(); ++i) {
      kept += y.data[i] != T(0) ? 1.0 : 0.0;
      sum += static_cast<double>(y.data[i]);
    }
    const double deviation = std::sqrt(p * (1 - p) / size);
    CHECK(std::abs(kept / size - (1 - p)) < 4.5 * deviation);
    CHECK(std::abs(sum / size - 1) < 4.5 * deviation / (1 - p));
  }
}

TEST_CASE("the eight elements of a draw are dropped independently, and rows and steps differ") {
  const functors::DropoutMask mask = functors::DropoutMask::make(RandomKey{4, 5, 6}, 0.5);
  const functors::DropoutMask later = functors::DropoutMask::make(RandomKey{4, 5, 7}, 0.5);
  const Index n = 4000;
  for (Index j = 0; j < 8; ++j) {
    double together = 0;
    double next_row = 0;
    double next_step = 0;
    for (std::uint64_t i = 0; i < n; ++i) {
      const bool kept = mask.keep(i, j, 8);
      together += kept == mask.keep(i, (j + 1) % 8, 8) ? 1.0 : 0.0;
      next_row += kept == mask.keep(i + 1, j, 8) ? 1.0 : 0.0;
      next_step += kept == later.keep(i, j, 8) ? 1.0 : 0.0;
    }
    for (const double equal : {together, next_row, next_step})
      CHECK(std::abs(equal / n - 0.5) < 0.04);  // 5 standard errors
  }
}

TEST_CASE_TEMPLATE("the backward pass drops what the forward pass dropped", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  Parameter<CpuBackend<T>> x("x", 130, 37);
  std::fill_n(x.value().data, x.value().size(), T(1));
  const auto y = dropout(s.tape.parameter(x), 0.3, RandomKey{8, 1, 2});
  // The gradient of half the sum of squares is y, through the mask once more.
  s.tape.backward(sum_of_squares(y, T(0.5)));
  Index differ = 0;
  for (Index i = 0; i < x.value().size(); ++i)
    differ += (x.grad().data[i] != T(0)) != (y.value().data[i] != T(0)) ? 1 : 0;
  CHECK(differ == 0);
}

TEST_CASE_TEMPLATE("Gumbel noise is finite at both ends and has its distribution's moments", T, REARM_TEST_SCALARS) {
  CHECK(functors::GumbelRow<T>::noise(0) == doctest::Approx(-2.811541));            // -log(log(2^24))
  CHECK(functors::GumbelRow<T>::noise(0xFFFFFFFFU) == doctest::Approx(16.635532));  // log(2^24)
  Sandbox<T> s;
  const Index rows = 2000;
  const Index cols = 99;
  const Matrix<T> zero(rows, cols);
  const auto g = add_gumbel(s(zero.view()), RandomKey{4, 5, 6}).value();
  const auto next = add_gumbel(s(zero.view()), RandomKey{4, 5, 7}).value();
  const auto size = static_cast<double>(g.size());
  double mean = 0;
  double variance = 0;
  double with_next = 0;
  double with_neighbor = 0;
  constexpr double euler = 0.5772156649015329;
  for (Index i = 0; i < g.size(); ++i) {
    const double x = static_cast<double>(g.data[i]) - euler;
    mean += x / size;
    variance += x * x / size;
    with_next += x * (static_cast<double>(next.data[i]) - euler) / size;
    with_neighbor += i > 0 ? x * (static_cast<double>(g.data[i - 1]) - euler) / size : 0;
  }
  constexpr double sigma2 = 1.6449340668482264;  // pi^2 / 6
  CHECK(std::abs(mean) < 4.5 * std::sqrt(sigma2 / size));
  CHECK(std::abs(variance - sigma2) < 4.5 * sigma2 * std::sqrt(4.4 / size));  // the fourth moment is 5.4 sigma^4
  CHECK(std::abs(with_next) < 4.5 * sigma2 / std::sqrt(size));
  CHECK(std::abs(with_neighbor) < 4.5 * sigma2 / std::sqrt(size));
}

TEST_CASE("the attention's mask is the same forward and backward") {
  // With equal logits and values 1, out_a is the kept share of row a, and d_v_b that of column b.
  Sandbox<double> s;
  const Index d = 65;
  const RandomKey key{8, 1, 2};
  Matrix<double> zero(3, d);
  Parameter<CpuBackend<double>> v("v", 3, d);
  std::fill_n(v.value().data, v.value().size(), 1.0);
  const Matrix<double> ones = tabulate(d, 1, [](Index, Index) { return 1.0; });
  const auto logits = s(zero.view());
  const auto y = rank_one_attention(logits, logits, s.tape.parameter(v), 1.0, 0.4, key);
  s.tape.backward(scale(column_mean(gemm(Op::none, Op::none, 1.0, y, s(ones.view()))), 3.0));
  const auto m = [&](Index i, Index a, Index b) {
    return dropout_multiplier(key, 0.4, i * d + a, d, b) / static_cast<double>(d);
  };
  check_close(y.value(),
              tabulate(3, d, [&](Index i, Index a) { return sum_of(d, [&](Index b) { return m(i, a, b); }); }));
  check_close(v.grad(),
              tabulate(3, d, [&](Index i, Index b) { return sum_of(d, [&](Index a) { return m(i, a, b); }); }));
}

}  // namespace functors_dropout_test
