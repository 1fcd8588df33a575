#pragma once
/// @file simd.hpp
/// Sixteen values in vector registers, with the vector types of gcc and clang: the compiler builds the operations from
/// whatever instructions the machine has.

#include <rearm/core/matrix_view.hpp>
#include <rearm/functors/exp.hpp>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace rearm::REARM_ABI::cpu {

/// Entries of a Vector16.
inline constexpr int simd_width = 16;

template <class T, int N = simd_width>
struct VectorType {
  typedef T type __attribute__((vector_size(N * sizeof(T))));  // NOLINT(modernize-use-using)
};

/// Passed by reference only: by value the calling convention depends on the machine.
template <class T>
using Vector16 = typename VectorType<T>::type;
/// The result of comparing two Vector16<T>: -1 in the entries where it holds, 0 elsewhere.
template <class T>
using Mask16 = Vector16<std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>>;

/// Asks for n entries that will be read soon.
template <class T>
void prefetch_entries(const T* x, Index n) {
  for (Index j = 0; j < n; j += 64 / static_cast<Index>(sizeof(T))) __builtin_prefetch(x + j);
}

/// x <- e^x elementwise, as fast_exp (functors/exp.hpp); no entry may exceed 88.
inline void exp_entries(Vector16<float>& x) {
#if defined(__CUDACC__)  // nvcc refuses vectors in code also compiled for the device
  for (int e = 0; e < simd_width; ++e) x[e] = functors::fast_exp(x[e]);
#else
  const Vector16<float> low = Vector16<float>{} - 87.0F;
#if defined(__AVX512F__)  // one instruction; gcc would emit two
  x = (Vector16<float>)_mm512_maskz_max_ps(0xFFFF, (__m512)low, (__m512)x);
#else
  x = x < low ? low : x;
#endif
  functors::exp_in_place<Vector16<std::uint32_t>>(x);
#endif
}
inline void exp_entries(Vector16<double>& x) {
  for (int e = 0; e < simd_width; ++e) x[e] = std::exp(x[e]);
}

/// x <- from[0], ..., from[15].
template <class T>
void load_entries(const T* from, Vector16<T>& x) {
  std::memcpy(&x, from, sizeof x);
}

template <class T>
void store_entries(const Vector16<T>& x, T* to) {
  std::memcpy(to, &x, sizeof x);
}

/// Whether a comparison held for any entry.
template <class T>
bool any_entry(const Mask16<T>& mask) {
  auto any = mask[0];
  for (int e = 1; e < simd_width; ++e) any |= mask[e];
  return any != 0;
}

/// Sum of N entries: the upper half is added to the lower, and so on, always in this order.
template <class T, int N = simd_width>
T sum_entries(const typename VectorType<T, N>::type& x) {
  if constexpr (N == 1) {
    return x[0];
  } else {
    typename VectorType<T, N / 2>::type halves[2];
    std::memcpy(halves, &x, sizeof x);
    halves[0] += halves[1];
    return sum_entries<T, N / 2>(halves[0]);
  }
}

}  // namespace rearm::REARM_ABI::cpu
