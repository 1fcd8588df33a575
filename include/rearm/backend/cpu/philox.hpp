#pragma once
/// @file philox.hpp
/// Many Philox draws at once, in vector registers: the same numbers as RandomKey::noise one by one (Random123's
/// constants and rounds; tested against it).

#include <rearm/backend/cpu/simd.hpp>
#include <rearm/core/random.hpp>

#include <bit>
#include <cstdint>

namespace rearm::REARM_ABI::cpu {

/// Eight words in 64-bit entries. Their upper halves may hold anything: only lower halves are multiplied.
using PhiloxWords = VectorType<std::uint64_t, 8>::type;

/// Products of the lower halves.
inline void multiply_words(const PhiloxWords& x, std::uint32_t constant, PhiloxWords& product) {
#if defined(__AVX512F__)
  product = (PhiloxWords)_mm512_maskz_mul_epu32(0xFF, (__m512i)x, _mm512_set1_epi64(constant));
#else
  product = (x & 0xFFFFFFFFU) * std::uint64_t{constant};
#endif
}

/// word[w][l] = word w of the draw number first + l * stride.
inline void philox_block(const RandomKey& key, std::uint64_t first, std::uint64_t stride,
                         Vector16<std::uint32_t>* word) {
  PhiloxWords x[4][2] = {};  // word, half of the entries
  for (int half = 0; half < 2; ++half) {
    for (int l = 0; l < 8; ++l) x[0][half][l] = first + static_cast<std::uint64_t>(8 * half + l) * stride;
    x[1][half] = x[0][half] >> 32;
    x[2][half] += key.stream;
    x[3][half] += key.current_step();
  }
  auto k0 = static_cast<std::uint32_t>(key.seed);
  auto k1 = static_cast<std::uint32_t>(key.seed >> 32);
  for (int round = 0; round < RandomKey::noise_rounds; ++round) {
    for (int half = 0; half < 2; ++half) {
      PhiloxWords p0, p1;
      multiply_words(x[0][half], PHILOX_M4x32_0, p0);
      multiply_words(x[2][half], PHILOX_M4x32_1, p1);
      x[0][half] = (p1 >> 32) ^ x[1][half] ^ std::uint64_t{k0};
      x[2][half] = (p0 >> 32) ^ x[3][half] ^ std::uint64_t{k1};
      x[1][half] = p1;
      x[3][half] = p0;
    }
    k0 += PHILOX_W32_0;
    k1 += PHILOX_W32_1;
  }
  // The lower halves: the machine is little-endian.
  static_assert(std::endian::native == std::endian::little);
  for (int w = 0; w < 4; ++w)
    word[w] = __builtin_shufflevector((Vector16<std::uint32_t>)x[w][0], (Vector16<std::uint32_t>)x[w][1], 0, 2, 4, 6, 8,
                                      10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}

}  // namespace rearm::REARM_ABI::cpu
