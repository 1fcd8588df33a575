/// @file modality_losses_test.cpp
/// Contrast and orthogonality between one, two and three modalities: values in plain loops, finite differences.

#include "tests/support/gradient_check.hpp"

#include <rearm/loss/contrast.hpp>
#include <rearm/loss/orthogonal.hpp>

using namespace rearm;
using namespace rearm::test;

using Vars = std::vector<DoubleVar>;

namespace {

std::vector<DoubleParameter> modalities(std::size_t count, Index n, Index d) {
  std::vector<DoubleParameter> out;
  for (std::size_t m = 0; m < count; ++m) out.push_back(random_parameter(n, d, static_cast<std::uint32_t>(m + 1)));
  return out;
}
std::vector<DoubleParameter*> pointers(std::vector<DoubleParameter>& in) {
  std::vector<DoubleParameter*> out;
  for (DoubleParameter& p : in) out.push_back(&p);
  return out;
}
double pair_count(std::size_t m) { return static_cast<double>(m * (m - 1) / 2); }

Vars vars_of(DoubleTape& tape, std::vector<DoubleParameter>& in) {
  Vars out;
  for (DoubleParameter& p : in) out.push_back(tape.parameter(p));
  return out;
}

std::vector<Matrix<double>> values_of(const std::vector<DoubleParameter>& in) {
  std::vector<Matrix<double>> out;
  for (const DoubleParameter& p : in) out.push_back(to_host(p.value));
  return out;
}

/// Sum of f(a, b) over pairs a < b, divided by their number.
template <class F>
double mean_over_pairs(const std::vector<Matrix<double>>& in, const F& f) {
  double sum = 0;
  for (std::size_t a = 0; a < in.size(); ++a)
    for (std::size_t b = a + 1; b < in.size(); ++b) sum += f(a, b);
  return sum / pair_count(in.size());
}

double cosine_of(const Matrix<double>& a, Index i, const Matrix<double>& b, Index j) {
  const auto dot = [](const Matrix<double>& x, Index r, const Matrix<double>& y, Index c) {
    return sum_of(x.cols(), [&](Index k) { return x(r, k) * y(c, k); });
  };
  return dot(a, i, b, j) / std::sqrt(dot(a, i, a, i) * dot(b, j, b, j));
}

Matrix<double> centred(const Matrix<double>& x) {
  return tabulate(x.rows(), x.cols(), [&](Index i, Index j) {
    return x(i, j) - sum_of(x.rows(), [&](Index r) { return x(r, j); }) / static_cast<double>(x.rows());
  });
}
/// What the authors divide a centred row by.
std::vector<double> divisors(const Matrix<double>& x) {
  const Matrix<double> c = centred(x);
  std::vector<double> out;
  for (Index i = 0; i < x.rows(); ++i)
    out.push_back(std::sqrt(sum_of(x.cols(), [&](Index j) { return c(i, j) * c(i, j); })) + 1e-6);
  return out;
}
/// Mean of the squared entries of V^T T, rows centred and divided by the given numbers.
double frozen_orthogonality(const Matrix<double>& v, const std::vector<double>& by_v, const Matrix<double>& t,
                            const std::vector<double>& by_t) {
  const Matrix<double> cv = centred(v);
  const Matrix<double> ct = centred(t);
  return sum_of(v.cols(),
                [&](Index a) {
                  return sum_of(v.cols(), [&](Index b) {
                    return std::pow(sum_of(v.rows(),
                                           [&](Index i) {
                                             const auto at = static_cast<std::size_t>(i);
                                             return cv(i, a) / by_v[at] * ct(i, b) / by_t[at];
                                           }),
                                    2);
                  });
                }) /
         static_cast<double>(v.cols() * v.cols());
}

}  // namespace

TEST_CASE("one modality has neither contrast nor orthogonality") {
  Sandbox<double> s;
  auto one = modalities(1, 4, 3);
  const Vars vars = vars_of(s.tape, one);
  CHECK(modality_contrast<Double>(vars, 0.2, 1.0).empty());
  CHECK(modality_orthogonality<Double>(vars, Variant::reference, 1.0).empty());
  CHECK(modality_orthogonality<Double>(vars, Variant::paper, 1.0).empty());
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
    check_gradients(pointers(in), [](DoubleTape&, const Vars& v) { return modality_contrast<Double>(v, 0.2, 0.7); });
  }
}

TEST_CASE("modality_orthogonality as printed: value and gradients") {
  for (const std::size_t count : {2U, 3U}) {
    auto in = modalities(count, 9, 4);
    const auto x = values_of(in);
    Sandbox<double> s;
    const double want = mean_over_pairs(x, [&](std::size_t a, std::size_t b) {
      return 0.7 * sum_of(9, [&](Index i) {
               return std::pow(sum_of(4, [&](Index j) { return x[a](i, j) * x[b](i, j); }), 2);
             });
    });
    CHECK(scalar(modality_orthogonality<Double>(vars_of(s.tape, in), Variant::paper, 0.7)) ==
          doctest::Approx(want).epsilon(1e-12));
    check_gradients(pointers(in),
                    [](DoubleTape&, const Vars& v) { return modality_orthogonality<Double>(v, Variant::paper, 0.7); });
  }
}

TEST_CASE("the authors' modality_orthogonality: value, and gradients with the divisors held") {
  for (const std::size_t count : {2U, 3U}) {
    auto in = modalities(count, 9, 4);
    std::vector<std::vector<double>> held;
    for (const Matrix<double>& x : values_of(in)) held.push_back(divisors(x));
    const auto want = [&] {
      const auto x = values_of(in);
      return mean_over_pairs(
          x, [&](std::size_t a, std::size_t b) { return 0.7 * frozen_orthogonality(x[a], held[a], x[b], held[b]); });
    };
    Sandbox<double> s;
    const DoubleVar loss = modality_orthogonality<Double>(vars_of(s.tape, in), Variant::reference, 0.7);
    CHECK(scalar(loss) == doctest::Approx(want()).epsilon(1e-12));
    s.tape.backward(loss);
    for (DoubleParameter& p : in) check_gradient(p.name, gradient_of(p), central_differences(p.value, want));
  }
}
