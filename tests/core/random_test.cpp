/// @file random_test.cpp
/// Philox: the published numbers, streams that differ, moments that fit.

#include <rearm/core/random.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

namespace core_random_test {

using namespace rearm;

namespace {

constexpr std::uint64_t n_draws = 200'000;

bool equal(const RandomBits& a, const RandomBits& b) { return std::equal(a.word, a.word + 4, b.word); }

}  // namespace

TEST_CASE("philox4x32-10 gives the published words") {
  // Random123, kat_vectors: counter and key all zero, all one bits, and the digits of pi.
  CHECK(equal(RandomKey{0, 0, 0}.bits(0), {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}));
  CHECK(
      equal(RandomKey{~0ULL, 0xffffffff, 0xffffffff}.bits(~0ULL), {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}));
  CHECK(equal(RandomKey{0x299f31d0a4093822, 0x13198a2e, 0x03707344}.bits(0x85a308d3243f6a88),
              {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}));
}

TEST_CASE("seed, stream, step and index each change the draw") {
  const RandomKey key{5, 6, 7};
  const RandomBits base = key.bits(8);
  CHECK(equal(base, RandomKey{5, 6, 7}.bits(8)));
  CHECK_FALSE(equal(base, key.bits(9)));
  CHECK_FALSE(equal(base, key.bits(8 + (1ULL << 32))));
  CHECK_FALSE(equal(base, key.at_step(8).bits(8)));
  CHECK_FALSE(equal(base, key.for_stream(7).bits(8)));
  CHECK_FALSE(equal(base, RandomKey{5 + (1ULL << 32), 6, 7}.bits(8)));
  CHECK(key.at_step(9).step == 9);
  CHECK(key.at_step(9).stream == 6);
  CHECK(key.for_stream(9).stream == 9);
  CHECK(key.for_stream(9).step == 7);
}

TEST_CASE("noise: every bit is set half the time and half of them change from draw to draw, step to step") {
  const RandomKey key{1, 2, 3};
  constexpr double deviation = 5;  // standard errors
  int set[128] = {};
  double changed[2] = {};
  for (std::uint64_t i = 0; i < n_draws; ++i) {
    const RandomBits now = key.noise(i);
    const RandomBits others[] = {key.noise(i + 1), key.at_step(4).noise(i)};
    for (int w = 0; w < 4; ++w) {
      for (int b = 0; b < 32; ++b) set[32 * w + b] += now.word[w] >> b & 1U;
      for (int o = 0; o < 2; ++o) changed[o] += std::popcount(now.word[w] ^ others[o].word[w]);
    }
  }
  for (const int count : set) CHECK(std::abs(count - n_draws / 2.0) < deviation * std::sqrt(n_draws) / 2);
  for (const double count : changed)
    CHECK(std::abs(count - 64.0 * n_draws) < deviation * std::sqrt(128.0 * n_draws) / 2);
  CHECK_FALSE(equal(key.noise(0), key.bits(0)));
}

TEST_CASE("uniform lies in [0, 1) and has mean 1/2, variance 1/12") {
  const RandomKey key{1, 2, 3};
  double sum = 0;
  double square = 0;
  for (std::uint64_t i = 0; i < n_draws; ++i) {
    const double u = key.uniform(i);
    if (!(u >= 0 && u < 1)) FAIL("uniform gave ", u);
    sum += u;
    square += u * u;
  }
  const double mean = sum / n_draws;
  CHECK(std::abs(mean - 0.5) < 0.003);  // 4.6 standard errors
  CHECK(std::abs(square / n_draws - mean * mean - 1.0 / 12) < 0.001);
}

TEST_CASE("normal has the first four moments of a standard normal") {
  const RandomKey key{1, 2, 3};
  double moments[4] = {};
  for (std::uint64_t i = 0; i < n_draws; ++i) {
    const double z = key.normal(i);
    for (int m = 0; m < 4; ++m) moments[m] += std::pow(z, m + 1) / n_draws;
  }
  CHECK(std::abs(moments[0]) < 0.01);
  CHECK(std::abs(moments[1] - 1) < 0.015);
  CHECK(std::abs(moments[2]) < 0.04);
  CHECK(std::abs(moments[3] - 3) < 0.1);
}

TEST_CASE("below reaches every value equally often and nothing else") {
  const RandomKey key{1, 2, 3};
  for (const std::uint32_t n : {1U, 2U, 7U, 1000U}) {
    std::vector<double> counts(n, 0.0);
    for (std::uint64_t i = 0; i < n_draws; ++i) counts.at(key.below(i, n)) += 1;
    const double expected = static_cast<double>(n_draws) / n;
    double chi2 = 0;
    for (const double c : counts) chi2 += (c - expected) * (c - expected) / expected;
    CHECK(chi2 <= n - 1 + 5 * std::sqrt(2.0 * n));
  }
  double mean = 0;
  for (std::uint64_t i = 0; i < n_draws; ++i) mean += key.below(i, 0xFFFFFFFF) / 4294967295.0 / n_draws;
  CHECK(std::abs(mean - 0.5) < 0.003);
}

}  // namespace core_random_test
