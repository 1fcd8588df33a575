#pragma once
/// @file philox.hpp
/// Many consecutive Philox-4x32-10 draws at once, in loops that become vector instructions; the same numbers as
/// RandomKey::bits one by one (Random123's constants and rounds; tested against it).

#include <rearm/core/random.hpp>

#include <cstdint>

namespace rearm::cpu {

/// Draws made together.
inline constexpr int philox_lanes = 16;

/// word[w][l] = word w of the draw number first + l.
inline void philox_block(const RandomKey& key, std::uint64_t first, std::uint32_t (*word)[philox_lanes]) {
  alignas(64) std::uint32_t c0[philox_lanes], c1[philox_lanes], c2[philox_lanes], c3[philox_lanes];
  for (int l = 0; l < philox_lanes; ++l) {
    const std::uint64_t index = first + static_cast<std::uint64_t>(l);
    c0[l] = static_cast<std::uint32_t>(index);
    c1[l] = static_cast<std::uint32_t>(index >> 32);
    c2[l] = key.stream;
    c3[l] = key.step;
  }
  auto k0 = static_cast<std::uint32_t>(key.seed);
  auto k1 = static_cast<std::uint32_t>(key.seed >> 32);
  for (int round = 0; round < 10; ++round) {
#pragma omp simd
    for (int l = 0; l < philox_lanes; ++l) {
      const std::uint64_t p0 = std::uint64_t{PHILOX_M4x32_0} * c0[l];
      const std::uint64_t p1 = std::uint64_t{PHILOX_M4x32_1} * c2[l];
      const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1[l] ^ k0;
      const std::uint32_t n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3[l] ^ k1;
      c1[l] = static_cast<std::uint32_t>(p1);
      c3[l] = static_cast<std::uint32_t>(p0);
      c0[l] = n0;
      c2[l] = n2;
    }
    k0 += PHILOX_W32_0;
    k1 += PHILOX_W32_1;
  }
  for (int l = 0; l < philox_lanes; ++l) {
    word[0][l] = c0[l];
    word[1][l] = c1[l];
    word[2][l] = c2[l];
    word[3][l] = c3[l];
  }
}

}  // namespace rearm::cpu
