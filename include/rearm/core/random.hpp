#pragma once
/// @file random.hpp
/// Counter-based random numbers (Philox-4x32, Random123): a number is a pure function of
/// (seed, stream, step, index), so results never depend on the number of threads or the order of draws.
/// Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11.

#include <rearm/core/macros.hpp>
#include <rearm/core/matrix_view.hpp>

#include <Random123/philox.h>

#include <cmath>
#include <cstdint>
#include <numbers>

namespace rearm::REARM_ABI {

/// Four independent 32-bit words.
struct RandomBits {
  std::uint32_t word[4];
};

/// One stream of random numbers: `seed` identifies the run, `stream` the purpose (an operator, a table), `step` the
/// time. With `step_from`, the number there is added to the step when a draw is made, so that work recorded once on a
/// device draws new numbers each time it is replayed.
struct RandomKey {
  std::uint64_t seed = 0;
  std::uint32_t stream = 0;
  std::uint32_t step = 0;
  const std::uint32_t* step_from = nullptr;

  REARM_HD std::uint32_t current_step() const { return step_from != nullptr ? step + *step_from : step; }

  /// The 128 random bits at position `index`.
  REARM_HD RandomBits bits(std::uint64_t index) const { return draw<10>(index); }
  /// The same for dropout and stochastic rounding, where drawing takes as long as applying: eight rounds, the fewest
  /// without a known flaw (Random123's notes on Philox4x32_R).
  REARM_HD RandomBits noise(std::uint64_t index) const { return draw<noise_rounds>(index); }
  static constexpr int noise_rounds = 8;
  /// Uniform in [0, 1), 53 bits.
  REARM_HD double uniform(std::uint64_t index) const {
    const RandomBits b = bits(index);
    const std::uint64_t mantissa = ((static_cast<std::uint64_t>(b.word[0]) << 32) | b.word[1]) >> 11;
    return static_cast<double>(mantissa) * 0x1.0p-53;
  }
  /// Standard normal (Box-Muller).
  REARM_HD double normal(std::uint64_t index) const {
    const RandomBits b = bits(index);
    const double radius_bits = (static_cast<double>(b.word[0]) + 1.0) * 0x1.0p-32;
    const double angle = 2.0 * std::numbers::pi * (static_cast<double>(b.word[1]) * 0x1.0p-32);
    return std::sqrt(-2.0 * std::log(radius_bits)) * std::cos(angle);
  }
  /// Uniform integer in [0, n), n >= 1 (multiply-shift on 64 bits; bias below n / 2^64).
  REARM_HD std::uint32_t below(std::uint64_t index, std::uint32_t n) const {
    const RandomBits b = bits(index);
    const std::uint64_t high = static_cast<std::uint64_t>(b.word[0]) * n;
    const std::uint64_t low = (static_cast<std::uint64_t>(b.word[1]) * n) >> 32;
    return static_cast<std::uint32_t>((high + low) >> 32);
  }
  RandomKey at_step(std::uint32_t new_step) const { return {seed, stream, new_step, step_from}; }
  RandomKey for_stream(std::uint32_t new_stream) const { return {seed, new_stream, step, step_from}; }

 private:
  template <int Rounds>
  REARM_HD RandomBits draw(std::uint64_t index) const {
    const philox4x32_ctr_t counter{
        {static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), stream, current_step()}};
    const philox4x32_key_t key{{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)}};
    const philox4x32_ctr_t out = philox4x32_R(Rounds, counter, key);
    return {{out.v[0], out.v[1], out.v[2], out.v[3]}};
  }
};

}  // namespace rearm::REARM_ABI
