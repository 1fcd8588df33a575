/// @file attention_test.cpp
/// The CPU's vectorized attention and random numbers against the generic functors.

#include "tests/support/matrices.hpp"
#include "tests/support/scalars.hpp"

#include <rearm/backend/cpu/philox.hpp>

#include <cmath>
#include <initializer_list>
#include <limits>

namespace backend_attention_test {

using namespace rearm;
using namespace rearm::test;

namespace {

template <class T>
Matrix<double> widen(ConstView<T> x) {
  return tabulate(x.rows, x.cols, [&](Index i, Index j) { return static_cast<double>(x(i, j)); });
}

/// Results of the operator and of the plain functors, forward and backward, agree.
template <class T>
void compare(Index n, Index d, double p) {
  CAPTURE(d);
  CAPTURE(p);
  Sandbox<T> s;
  Strided<T> q(n, d, 1);
  Strided<T> k(n, d, 2);
  Strided<T> v(n, d, 3);
  Strided<T> d_out(n, d, 4);
  const RandomKey key{1, 2, 3};
  const T scale = T(0.7);
  Matrix<T> out(n, d);
  rank_one_attention(s.ctx, q.view(), k.view(), v.view(), scale, p, key, out.view());
  Matrix<T> d_q(n, d);
  Matrix<T> d_k(n, d);
  Matrix<T> d_v(n, d);
  rank_one_attention_backward(s.ctx, q.view(), k.view(), v.view(), scale, p, key, out.view(), d_out.view(), d_q.view(),
                              d_k.view(), d_v.view());

  const functors::AttentionInput<T> in{q.view(),
                                       k.view(),
                                       v.view(),
                                       scale,
                                       p > 0,
                                       functors::DropoutMask::make(key, p),
                                       functors::DropoutMask::scale<T>(p)};
  Matrix<T> want(n, d);
  Matrix<T> want_q(n, d);
  Matrix<T> want_k(n, d);
  Matrix<T> want_v(n, d);
  const functors::AttentionRow<T> forward{in, want.view()};
  for (Index i = 0; i < n; ++i) forward(i, SoleLane{});
  const functors::AttentionBackwardRow<T> backward{
      in, want.view(), d_out.view(), want_q.view(), want_k.view(), want_v.view()};
  for (Index i = 0; i < n; ++i) backward(i, SoleLane{});
  check_close(out.view(), widen<T>(want.view()));
  check_close(d_q.view(), widen<T>(want_q.view()));
  check_close(d_k.view(), widen<T>(want_k.view()));
  check_close(d_v.view(), widen<T>(want_v.view()));
}

}  // namespace

TEST_CASE_TEMPLATE("attention equals the generic functors with and without dropout", T, REARM_TEST_SCALARS) {
  for (const double p : {0.0, 0.3, 0.6})
    for (const Index d : {1, 2, 3, 7, 8, 9, 17, 63, 64, 65, 128, 130}) compare<T>(d < 20 ? 20 : 3, d, p);
}

TEST_CASE("attention fits its buffers at the largest width") { compare<float>(1, max_attention_width, 0.3); }

TEST_CASE("the exponential of a Vector16 is fast_exp") {
  const float infinity = std::numeric_limits<float>::infinity();
  cpu::Vector16<float> x = {-infinity, -1e30F, -100.0F, -87.0F, -86.9F, -20.5F, -1.0F, -1e-6F,
                            0.0F,      1e-6F,  0.3F,    0.7F,   1.0F,   20.5F,  87.0F, 88.0F};
  const cpu::Vector16<float> arguments = x;
  cpu::exp_entries(x);
  for (int l = 0; l < cpu::simd_width; ++l) {
    const float want = functors::fast_exp(arguments[l]);
    CAPTURE(arguments[l]);
    CHECK(std::abs(x[l] - want) <= 2e-7F * want);
  }
  cpu::Vector16<float> nan = cpu::Vector16<float>{} + std::numeric_limits<float>::quiet_NaN();
  cpu::exp_entries(nan);
  CHECK(std::isnan(nan[3]));
}

TEST_CASE("a block of Philox draws is the draws one by one") {
  cpu::Vector16<std::uint32_t> word[4];
  for (const std::uint64_t stride : {std::uint64_t{1}, std::uint64_t{8}})
    for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{77}, (std::uint64_t{1} << 32) - 5}) {
      const RandomKey key{0x123456789abcdef0ULL, 17, 4};
      cpu::philox_block(key, first, stride, word);
      Index differ = 0;
      for (int e = 0; e < cpu::simd_width; ++e) {
        const RandomBits bits = key.noise(first + static_cast<std::uint64_t>(e) * stride);
        for (int w = 0; w < 4; ++w) differ += word[w][e] != bits.word[w] ? 1 : 0;
      }
      CHECK(differ == 0);
    }
}

}  // namespace backend_attention_test
