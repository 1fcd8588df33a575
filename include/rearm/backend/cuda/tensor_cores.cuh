#pragma once
/// @file tensor_cores.cuh
/// Products of floats on tensor cores with nearly the precision of floats, and a device's own divisions and roots.
///
/// A float is the sum of two TF32 numbers (11 bits each) but for at most 2^-22 of its size: x = big + small. Of a
/// product of two such sums the term small * small, at most 2^-22 of the product, is left out, the others are exact and
/// are added in FP32: three products instead of one, an error of at most 3 * 2^-22 sum |a b| before that of the
/// additions (about 7e-7; FP32 rounds each product by 6e-8, and its additions like these). "3xTF32" of NVIDIA's
/// CUTLASS.

#include <rearm/backend/cuda/rows.cuh>

#include <cmath>
#include <cstdint>

namespace rearm::REARM_ABI::gpu {

/// A float's bits without the 13 that a TF32 number has not, rounded to the nearest or toward zero.
__device__ inline float to_tf32(float x, std::uint32_t half) {
  return __builtin_bit_cast(float, (__builtin_bit_cast(std::uint32_t, x) + half) & 0xFFFFE000U);
}

/// A thread's part of a matrix that a warp multiplies, as two TF32 numbers each.
template <int N>
struct SplitFragment {
  float big[N];
  float small[N];
  __device__ explicit SplitFragment(const float (&x)[N]) {
    REARM_UNROLL
    for (int i = 0; i < N; ++i) {
      big[i] = to_tf32(x[i], 0x1000U);
      small[i] = to_tf32(x[i] - big[i], 0);  // NaN of a NaN, whatever became of it above
    }
  }
};

/// C (16 x 8) += A (16 x 8) B (8 x 8), TF32 products added in FP32; by a whole warp. With g = lane / 4 and t = lane % 4
/// a thread has A(g, t), A(g + 8, t), A(g, t + 4), A(g + 8, t + 4); B(t, g), B(t + 4, g); C(g, 2t), C(g, 2t + 1), C(g +
/// 8, 2t), C(g + 8, 2t + 1) (PTX ISA, mma.m16n8k8).
__device__ inline void add_tf32_product(float (&c)[4], const float (&a)[4], const float (&b)[2]) {
#if defined(__CUDA_ARCH__)
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])), "r"(__float_as_uint(a[3])),
        "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
#else  // the same by shuffles, where the emulation of tests/support/emulated_cuda runs kernels
  const int lane = own_lane().lane;
  for (int k = 0; k < 8; ++k) {
    const int of_row = lane / 4 * 4 + k % 4;
    const float upper = __shfl_sync(full_warp, a[k / 4 * 2], of_row);
    const float lower = __shfl_sync(full_warp, a[k / 4 * 2 + 1], of_row);
    const float even = __shfl_sync(full_warp, b[k / 4], lane % 4 * 8 + k % 4);
    const float odd = __shfl_sync(full_warp, b[k / 4], lane % 4 * 8 + 4 + k % 4);
    c[0] += upper * even;
    c[1] += upper * odd;
    c[2] += lower * even;
    c[3] += lower * odd;
  }
#endif
}
/// The same in 3xTF32, the small terms first.
__device__ inline void add_product(float (&c)[4], const SplitFragment<4>& a, const SplitFragment<2>& b) {
  add_tf32_product(c, a.small, b.big);
  add_tf32_product(c, a.big, b.small);
  add_tf32_product(c, a.big, b.big);
}

/// Roots and quotients of floats by the device's approximations: 2 units in the last place, subnormal numbers as zero,
/// quotients by more than 2^126 zero (CUDA C++ Programming Guide, intrinsic functions).
__device__ inline float device_root(float x) {
#if defined(__CUDA_ARCH__)
  float y;
  asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return std::sqrt(x);
#endif
}
__device__ inline float device_quotient(float a, float b) {
#if defined(__CUDA_ARCH__)
  float y;
  asm("div.approx.ftz.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
  return y;
#else
  return a / b;
#endif
}

}  // namespace rearm::REARM_ABI::gpu
