/// @file batch_norm_test.cpp
/// Batch normalization against plain loops, in training and in evaluation, and the moments that it keeps.

#include "tests/support/matrices.hpp"
#include "tests/support/scalars.hpp"

namespace ops_batch_norm_test {

using namespace rearm;
using namespace rearm::test;

TEST_CASE_TEMPLATE("batch_norm normalizes columns, by their moments or by the running ones", T, REARM_TEST_SCALARS) {
  using B = TestBackend<T>;
  Sandbox<T> s;
  for (const Index n : {2, 3, 600})
    for (const Index d : {1, 7, 65})
      for (const bool activated : {false, true}) {
        Strided<T> x(n, d, 1), gamma(1, d, 2), beta(1, d, 3);
        for (Index i = 0; i < n; ++i)
          for (Index j = 0; j < d; ++j) x.view()(i, j) += static_cast<T>(j);  // a mean of their own
        const auto at = [](Strided<T>& a, Index i, Index j) { return static_cast<double>(a.view()(i, j)); };
        Matrix<T> slope_here(1, 1);
        slope_here(0, 0) = T(0.25);
        const Var<B> slope = activated ? s(slope_here.view()) : Var<B>();
        auto mean = upload(random_matrix<T>(1, d, 4)), variance = upload(random_matrix<T>(1, d, 5));
        for (Index j = 0; j < d; ++j) put(variance, j, static_cast<T>(1 + j % 3));
        const Matrix<T> mean_before = to_host(mean), variance_before = to_host(variance);
        const RunningMoments<T> running{mean.data(), variance.data(), T(0.1)};
        const Matrix<double> means =
            tabulate(1, d, [&](Index, Index j) { return sum_of(n, [&](Index i) { return at(x, i, j); }) / double(n); });
        const Matrix<double> variances = tabulate(1, d, [&](Index, Index j) {
          return sum_of(n, [&](Index i) { return std::pow(at(x, i, j) - means(0, j), 2); }) / double(n);
        });
        const auto of_mean = [&](Index j) { return means(0, j); };
        const auto of_variance = [&](Index j) { return variances(0, j); };
        const auto want = [&](const auto& mu, const auto& var) {
          return tabulate(n, d, [&](Index i, Index j) {
            const double z = at(gamma, 0, j) * (at(x, i, j) - mu(j)) / std::sqrt(var(j) + 1e-5) + at(beta, 0, j);
            return z > 0 || !activated ? z : 0.25 * z;
          });
        };
        const double tolerance = 10 * value_tolerance<T>;  // two rows may lie close together
        const auto y = [&](bool training) {
          return batch_norm(s(x.view()), s(gamma.view()), s(beta.view()), slope, T(1e-5), running, training);
        };
        check_close(y(false),
                    want([&](Index j) { return double(mean_before(0, j)); },
                         [&](Index j) { return double(variance_before(0, j)); }),
                    tolerance);
        check_close(to_host(mean).view(), tabulate(1, d, [&](Index, Index j) { return double(mean_before(0, j)); }), 0);
        check_close(y(true), want(of_mean, of_variance), tolerance);
        check_close(mean,
                    tabulate(1, d, [&](Index, Index j) { return 0.9 * double(mean_before(0, j)) + 0.1 * of_mean(j); }));
        check_close(variance, tabulate(1, d, [&](Index, Index j) {
                      return 0.9 * double(variance_before(0, j)) + 0.1 * of_variance(j) * double(n) / double(n - 1);
                    }));
      }
  Matrix<T> x(1, 2), two(2, 2), row(1, 2);
  CHECK_THROWS_WITH_AS(batch_norm(s(x.view()), s(row.view()), s(row.view()), Var<B>(), T(1), {}, true),
                       "batch_moments: input is 1x2: needs two rows", ShapeError);
  CHECK_THROWS_WITH_AS(batch_norm(s(two.view()), s(two.view()), s(row.view()), Var<B>(), T(1), {}, true),
                       "batch_norm: gamma is 2x2 but must be 1x2", ShapeError);
}

}  // namespace ops_batch_norm_test
