#pragma once
/// @file exp.hpp
/// An exponential without branches or calls, so that loops over it become vector instructions.

#include <rearm/core/macros.hpp>

#include <cmath>
#include <cstdint>

namespace rearm::REARM_ABI::functors {

/// x <- e^x for V a float or a vector of floats, with entries in [-87, 88] or NaN; `Bits` is the unsigned integer, or
/// vector of them, of V's size. By reference, since the calling convention of a vector by value depends on the machine.
template <class Bits, class V>
REARM_HD inline void exp_in_place(V& x) {
  // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer and leaves it in the low mantissa bits.
  const V shifted = x * 1.44269504F + 12582912.0F;
  const V n = shifted - 12582912.0F;
  const V r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  V p = r * 1.38143206e-3F + 8.36885069e-3F;
  p = p * r + 4.16684002e-2F;
  p = p * r + 1.66665196e-1F;
  p = p * r + 4.99999940e-1F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  // Taken from the bits, not converted, so that NaN stays NaN.
  const Bits exponent = __builtin_bit_cast(Bits, shifted) - 0x4B400000U;
  const Bits power = (exponent + 127U) << 23U;
  x = p * __builtin_bit_cast(V, power);
}

/// e^x. float: Cody-Waite reduction and a degree-6 minimax polynomial, relative error below 1.2e-7 on [-87, 88];
/// arguments outside are clamped (underflow gives about 1e-38, not 0), NaN gives NaN. double: std::exp.
REARM_HD inline float fast_exp(float x) {
  x = x < -87.0F ? -87.0F : x;
  x = x > 88.0F ? 88.0F : x;
  exp_in_place<std::uint32_t>(x);
  return x;
}
REARM_HD inline double fast_exp(double x) { return std::exp(x); }

}  // namespace rearm::REARM_ABI::functors
