// bfloat16 as storage: what random rounding keeps.
#include <rearm/core/bfloat16.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <initializer_list>
#include <limits>

namespace core_bfloat16_test {

using namespace rearm;

TEST_CASE("the mean over all roundings is the number itself, and both neighbors are within a unit of it") {
  for (const float x : {1.0F, 1.2345678F, -3.1415927F, 6.02e-31F, -1.7e30F, 1e-40F, 0.0F}) {
    double sum = 0;
    for (std::uint32_t random = 0; random < 65536; ++random) {
      const float rounded = to_float(round_at_random(x, random | 0xABCD0000U));
      CHECK(std::abs(rounded - x) <= std::ldexp(std::abs(x), -7) + 1e-40F);
      sum += static_cast<double>(rounded);
    }
    CHECK(sum / 65536 == doctest::Approx(static_cast<double>(x)).epsilon(1e-9));
  }
}

TEST_CASE("the nearest is half a unit away at most, of two as near the even one") {
  CHECK(to_float(round_to_nearest(1.0F + 0x1p-8F)) == 1.0F);
  CHECK(to_float(round_to_nearest(1.0F + 0x1.8p-7F)) == 1.0F + 0x1p-6F);
  CHECK(to_float(round_to_nearest(-1.0F - 0x1.002p-8F)) == -1.0F - 0x1p-7F);
  CHECK(to_float(round_to_nearest(0.0F)) == 0.0F);
  for (std::uint32_t i = 0; i < 1000; ++i) {
    const float x = __builtin_bit_cast(float, 0x3F800000U + 8388 * i);
    CHECK(std::abs(to_float(round_to_nearest(x)) - x) <= 0x1p-8F);
  }
  CHECK(to_float(round_to_nearest(std::numeric_limits<float>::infinity())) == std::numeric_limits<float>::infinity());
  CHECK(std::isnan(to_float(round_to_nearest(std::numeric_limits<float>::quiet_NaN()))));
}

TEST_CASE("infinities and NaN stay what they are, with every random word") {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  for (const std::uint32_t random : {0U, 1U, 0x8000U, 0xFFFFFFFFU}) {
    CHECK(to_float(round_at_random(infinity, random)) == infinity);
    CHECK(to_float(round_at_random(-infinity, random)) == -infinity);
    for (const std::uint32_t nan : {0x7FC00000U, 0x7F800001U, 0xFFFFFFFFU})
      CHECK(std::isnan(to_float(round_at_random(__builtin_bit_cast(float, nan), random))));
  }
}

}  // namespace core_bfloat16_test
