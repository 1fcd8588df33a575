#pragma once
/// @file bfloat16.hpp
/// The upper half of a float as a storage type, rounded at random so that sums of small steps are kept on average.

#include <rearm/core/macros.hpp>

#include <cstdint>

namespace rearm::REARM_ABI {

/// Sign, eight bits of exponent, seven of mantissa. For storage alone: computing is done in float.
struct BFloat16 {
  std::uint16_t bits = 0;
};

REARM_HD inline float to_float(BFloat16 x) {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(x.bits) << 16);
}

/// x rounded up with the probability of its distance from below, 16 bits fine: over uniform `random` (its lower 16
/// bits) the mean is x, exactly. Infinities and NaN stay what they are. Gupta et al., "Deep learning with limited
/// numerical precision", ICML'15.
REARM_HD inline BFloat16 round_at_random(float x, std::uint32_t random) {
  const auto bits = __builtin_bit_cast(std::uint32_t, x);
  const std::uint32_t finite = (bits & 0x7F800000U) != 0x7F800000U ? 0xFFFFU : 0U;
  const std::uint32_t quiet = (bits & 0x7FFFFFFFU) > 0x7F800000U ? 0x400000U : 0U;
  return {static_cast<std::uint16_t>(((bits + (random & finite)) | quiet) >> 16)};
}

/// x rounded to the nearest, ties to the even one. Infinities and NaN stay what they are.
REARM_HD inline BFloat16 round_to_nearest(float x) {
  const auto bits = __builtin_bit_cast(std::uint32_t, x);
  return round_at_random(x, 0x7FFFU + ((bits >> 16) & 1U));
}

}  // namespace rearm::REARM_ABI
