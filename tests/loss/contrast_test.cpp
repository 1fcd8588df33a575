/// @file contrast_test.cpp
/// Contrast between one, two and three modalities: values in plain loops, finite differences.

#include "tests/support/modalities.hpp"

#include <rearm/loss/contrast.hpp>

namespace loss_contrast_test {

using namespace rearm;
using namespace rearm::test;

namespace {

double cosine_of(const Matrix<double>& a, Index i, const Matrix<double>& b, Index j) {
  const auto dot = [](const Matrix<double>& x, Index r, const Matrix<double>& y, Index c) {
    return sum_of(x.cols(), [&](Index k) { return x(r, k) * y(c, k); });
  };
  return dot(a, i, b, j) / std::sqrt(dot(a, i, a, i) * dot(b, j, b, j));
}

}  // namespace

TEST_CASE("one modality has no contrast") {
  Sandbox<double> s;
  auto one = modalities(1, 4, 3);
  CHECK(modality_contrast<Double>(vars_of(s.tape, one), 0.2, 1.0).empty());
}

TEST_CASE("modality_contrast: value and gradients") {
  for (const std::size_t count : {2U, 3U}) {
    auto in = modalities(count, 9, 4);
    const auto x = values_of(in);
    Sandbox<double> s;
    const double want = mean_over_pairs(x, [&](std::size_t a, std::size_t b) {
      return 0.7 * sum_of(9, [&](Index r) {
               const double denominator =
                   sum_of(9, [&](Index c) { return std::exp(cosine_of(x[a], r, x[b], c) / 0.2); });
               return std::log(denominator) - cosine_of(x[a], r, x[b], r) / 0.2;
             });
    });
    CHECK(scalar(modality_contrast<Double>(vars_of(s.tape, in), 0.2, 0.7)) == doctest::Approx(want).epsilon(1e-12));
    check_gradients(pointers(in), [](DoubleTape&, const auto& v) { return modality_contrast<Double>(v, 0.2, 0.7); });
  }
}

}  // namespace loss_contrast_test
