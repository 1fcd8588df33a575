#pragma once
/// @file lanes.hpp
/// Sixteen numbers in vector registers, by the vector types of gcc and clang: whatever the machine has, the compiler
/// makes them from it.

#include <rearm/functors/exp.hpp>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace rearm::cpu {

inline constexpr int n_lanes = 16;

template <class T, int N = n_lanes>
struct LaneType {
  typedef T type __attribute__((vector_size(N * sizeof(T))));  // NOLINT(modernize-use-using)
};

/// Passed by reference only: by value the calling convention depends on the machine.
template <class T>
using Lanes = typename LaneType<T>::type;
/// What comparing two Lanes<T> gives.
template <class T>
using LaneMask = Lanes<std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>>;

/// x <- e^x in every lane, none above 88, as fast_exp (functors/exp.hpp).
inline void exp_lanes(Lanes<float>& x) {
#if defined(__CUDACC__)  // nvcc refuses vectors in what is device code as well
  for (int l = 0; l < n_lanes; ++l) x[l] = fast_exp(x[l]);
#else
  const Lanes<float> low = Lanes<float>{} - 87.0F;
#if defined(__AVX512F__)  // one instruction, of which gcc makes two
  x = (Lanes<float>)_mm512_maskz_max_ps(0xFFFF, (__m512)low, (__m512)x);
#else
  x = x < low ? low : x;
#endif
  exp_in_place<Lanes<std::uint32_t>>(x);
#endif
}
inline void exp_lanes(Lanes<double>& x) {
  for (int l = 0; l < n_lanes; ++l) x[l] = std::exp(x[l]);
}

/// x <- from[0], ..., from[15].
template <class T>
void load_lanes(const T* from, Lanes<T>& x) {
  std::memcpy(&x, from, sizeof x);
}

template <class T>
void store_lanes(const Lanes<T>& x, T* to) {
  std::memcpy(to, &x, sizeof x);
}

/// Whether a comparison held in some lane.
template <class T>
bool any_lane(const LaneMask<T>& mask) {
  auto any = mask[0];
  for (int l = 1; l < n_lanes; ++l) any |= mask[l];
  return any != 0;
}

/// Sum over N lanes, one half of them to the other and so on: always the same order.
template <class T, int N = n_lanes>
T sum_lanes(const typename LaneType<T, N>::type& x) {
  if constexpr (N == 1) {
    return x[0];
  } else {
    typename LaneType<T, N / 2>::type halves[2];
    std::memcpy(halves, &x, sizeof x);
    halves[0] += halves[1];
    return sum_lanes<T, N / 2>(halves[0]);
  }
}

}  // namespace rearm::cpu
