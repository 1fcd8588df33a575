#pragma once
/// @file half.hpp
/// IEEE 754 binary16 as stored in files, without compiler extensions.

#include <rearm/core/macros.hpp>

#include <bit>
#include <cstdint>

namespace rearm::REARM_ABI {

/// The value of 16 stored bits; exact, subnormals, infinities and NaN included.
inline float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1FU;
  const std::uint32_t mantissa = half & 0x3FFU;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1.0p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t wide = exponent == 31 ? 0xFFU : exponent + 112U;
  return std::bit_cast<float>(sign | (wide << 23) | (mantissa << 13));
}

}  // namespace rearm::REARM_ABI
