#pragma once
/// @file philox.hpp
/// Many Philox draws at once, in vector registers: the same numbers as RandomKey::noise one by one (Random123's
/// constants and rounds; tested against it).

#include <rearm/backend/cpu/lanes.hpp>
#include <rearm/core/random.hpp>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace rearm::cpu {

/// Eight words in lanes of 64 bits. Their upper halves are left as they come: only products of lower halves are taken.
using PhiloxWords = LaneType<std::uint64_t, 8>::type;

/// Products of the lower halves.
inline void multiply_words(const PhiloxWords& x, std::uint32_t constant, PhiloxWords& product) {
#if defined(__AVX512F__)
  product = (PhiloxWords)_mm512_maskz_mul_epu32(0xFF, (__m512i)x, _mm512_set1_epi64(constant));
#else
  product = (x & 0xFFFFFFFFU) * std::uint64_t{constant};
#endif
}

/// word[w][l] = word w of the draw number first + l * stride.
inline void philox_block(const RandomKey& key, std::uint64_t first, std::uint64_t stride, Lanes<std::uint32_t>* word) {
  for (int part = 0; part < n_lanes; part += 8) {
    PhiloxWords x0{}, x1{}, x2{}, x3{};
    for (int l = 0; l < 8; ++l) x0[l] = first + static_cast<std::uint64_t>(part + l) * stride;
    x1 = x0 >> 32;
    x2 += key.stream;
    x3 += key.current_step();
    auto k0 = static_cast<std::uint32_t>(key.seed);
    auto k1 = static_cast<std::uint32_t>(key.seed >> 32);
    for (int round = 0; round < RandomKey::noise_rounds; ++round) {
      PhiloxWords p0, p1;
      multiply_words(x0, PHILOX_M4x32_0, p0);
      multiply_words(x2, PHILOX_M4x32_1, p1);
      x0 = (p1 >> 32) ^ x1 ^ std::uint64_t{k0};
      x2 = (p0 >> 32) ^ x3 ^ std::uint64_t{k1};
      x1 = p1;
      x3 = p0;
      k0 += PHILOX_W32_0;
      k1 += PHILOX_W32_1;
    }
    const PhiloxWords* const words[4] = {&x0, &x1, &x2, &x3};
    for (int w = 0; w < 4; ++w) {
      const auto low = __builtin_convertvector(*words[w], LaneType<std::uint32_t, 8>::type);
      std::memcpy(reinterpret_cast<char*>(word + w) + std::ptrdiff_t{part} * 4, &low, sizeof low);
    }
  }
}

}  // namespace rearm::cpu
