/// @file exp_test.cpp
/// The branch-free exponential against the library's.

#include <rearm/functors/bpr.hpp>
#include <rearm/functors/exp.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

using namespace rearm;

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
