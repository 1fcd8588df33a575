/// @file exp_test.cpp
/// The branch-free exponential against the library's.

#include <rearm/functors/exp.hpp>
#include <rearm/functors/map.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace functors_exp_test {

using namespace rearm;
using functors::fast_exp;

TEST_CASE("fast_exp of a float is within 1.2e-7 of e^x on [-87, 88]") {
  double worst = 0;
  for (int i = -870'000; i <= 880'000; ++i) {
    const float x = static_cast<float>(i) * 1e-4F;
    const double want = std::exp(static_cast<double>(std::clamp(x, -87.0F, 88.0F)));
    worst = std::max(worst, std::abs(static_cast<double>(fast_exp(x)) - want) / want);
  }
  CAPTURE(worst);
  CHECK(worst <= 1.2e-7);
  CHECK(fast_exp(0.0F) == 1.0F);
}

TEST_CASE("fast_exp clamps what a float cannot hold") {
  CHECK(fast_exp(-1e30F) == fast_exp(-87.0F));
  CHECK(fast_exp(-1e30F) < 2e-38F);
  CHECK(std::isfinite(fast_exp(1e30F)));
  CHECK(fast_exp(1e30F) == fast_exp(88.0F));
}

TEST_CASE("fast_exp of a NaN is a NaN") {
  CHECK(std::isnan(fast_exp(std::numeric_limits<float>::quiet_NaN())));
  CHECK(std::isnan(fast_exp(-std::numeric_limits<float>::quiet_NaN())));
}

TEST_CASE("fast_exp of a double is std::exp") {
  for (const double x : {-800.0, -3.5, 0.0, 1e-9, 700.0}) CHECK(fast_exp(x) == std::exp(x));
}

TEST_CASE("softplus neither overflows nor loses small values") {
  CHECK(functors::softplus(1000.0) == 1000.0);
  CHECK(functors::softplus(-1000.0) == 0.0);
  CHECK(functors::softplus(0.0) == doctest::Approx(std::log(2.0)));
  CHECK(functors::softplus(-40.0) == doctest::Approx(std::exp(-40.0)).epsilon(1e-12));
  CHECK(functors::softplus(100.0F) == 100.0F);
}

TEST_CASE("sigmoid and tanh of a float are within 3e-7 of what they are, and keep a NaN") {
  double worst_sigmoid = 0;
  double worst_tanh = 0;
  for (int i = -870'000; i <= 870'000; ++i) {
    const float x = static_cast<float>(i) * 1e-4F;
    const auto wide = static_cast<double>(x);
    const double sigmoid = 1.0 / (1.0 + std::exp(-wide));
    worst_sigmoid =
        std::max(worst_sigmoid, std::abs(static_cast<double>(functors::Sigmoid::value(x)) - sigmoid) / sigmoid);
    if (i == 0) continue;
    const double tanh = std::tanh(wide);
    worst_tanh = std::max(worst_tanh, std::abs((static_cast<double>(functors::Tanh::value(x)) - tanh) / tanh));
  }
  CAPTURE(worst_sigmoid);
  CAPTURE(worst_tanh);
  CHECK(worst_sigmoid <= 3e-7);
  CHECK(worst_tanh <= 3e-7);
  CHECK(functors::Tanh::value(0.0F) == 0.0F);
  CHECK(functors::Tanh::value(1e-20F) == 1e-20F);
  CHECK(functors::Tanh::value(-1e30F) == -1.0F);
  CHECK(functors::Sigmoid::value(1e30F) == 1.0F);
  CHECK(functors::Sigmoid::value(-1e30F) < 1e-38F);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(std::isnan(functors::Tanh::value(nan)));
  CHECK(std::isnan(functors::Sigmoid::value(nan)));
}

}  // namespace functors_exp_test
