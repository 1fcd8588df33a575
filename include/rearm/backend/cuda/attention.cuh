#pragma once
/// @file attention.cuh
/// Rank-one attention, one warp per node. Going forward each lane takes rows, going back rows and then columns, so that
/// no sum crosses lanes and nothing of size d x d is stored.

#include <rearm/backend/cuda/rows.cuh>
#include <rearm/functors/attention.hpp>

#include <cmath>
#include <cstdint>
#include <type_traits>

namespace rearm::REARM_ABI::gpu {

/// Warps per block: each runs long, so few of them keep the wait for the last one short.
inline constexpr int attention_warps = 4;
/// The width that kernels are specialized for: the published embedding_dim.
inline constexpr int attention_width = 64;

/// Powers of the base in which a device is quick: of floats 2 (`ex2.approx.ftz`: 2 units in the last place, below
/// 2^-126 zero), of doubles e. A weight is then of(x log e), x <= 0 up to rounding, and off by at most (2 |x| + 4)
/// 2^-24 of itself: the logarithm is multiplied into the query once, so that an exponential is one instruction.
template <class T>
struct Power {
  static constexpr T log_e = static_cast<T>(std::is_same_v<T, float> ? 1.4426950408889634 : 1.0);
  static constexpr T inverse_log_e = static_cast<T>(std::is_same_v<T, float> ? 0.6931471805599453 : 1.0);
  __device__ static T of(T x) {
    if constexpr (!std::is_same_v<T, float>) {
      return std::exp(x);
    } else {
#if defined(__CUDA_ARCH__)
      float y;
      asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
      return y;
#else
      return std::exp2(x);
#endif
    }
  }
};

/// The largest and the smallest key of a node: the largest logit of row a belongs to one of them.
template <class T>
struct KeyRange {
  T low;
  T high;
  __device__ T top(T scaled_query) const { return scaled_query * (scaled_query > T{0} ? high : low); }
};

template <class T>
__device__ KeyRange<T> key_range(const T* k, Index d, const WarpLane& lane) {
  T high = k[0];
  T low_negated = -k[0];
  for (Index b = lane.first(); b < d; b += WarpLane::step) {
    high = k[b] > high ? k[b] : high;
    low_negated = -k[b] > low_negated ? -k[b] : low_negated;
  }
  return {-lane.max(low_negated), lane.max(high)};
}

/// Columns of q, k and v: D in a kernel specialized for that many, where weights need no bounds checks or addresses.
template <int D, class T>
__device__ Index width_of(const functors::AttentionInput<T>& in) {
  return D > 0 ? D : in.q.cols;
}

/// Which of 64 columns are kept: bit b of two words. A random draw is for every eighth column, so a draw's bits are
/// collected in place and shifted together.
struct KeptBits {
  std::uint32_t word[2] = {0, 0};
  __device__ std::uint64_t all() const { return std::uint64_t{word[1]} << 32 | word[0]; }
};

/// Calls f(b, multiplier of weight (a, b)) for all b, with one random draw for eight of them. Returns, with D columns,
/// which are kept.
template <int D, class T, class F>
__device__ std::uint64_t for_each_weight(const functors::AttentionInput<T>& in, Index i, Index a, const F& f) {
  const Index d = width_of<D>(in);
  if (!in.dropout) {
    REARM_UNROLL_BY(8)
    for (Index b = 0; b < d; ++b) f(b, T{1});
    return ~std::uint64_t{0};
  }
  const auto draws = static_cast<Index>(functors::DropoutMask::draws(d));
  const auto base = static_cast<std::uint64_t>(((in.first_row + i) * d + a) * draws);
  KeptBits kept;
  REARM_UNROLL_BY(1)
  for (Index r = 0; r < draws; ++r) {
    const RandomBits draw = in.mask.key.noise(base + static_cast<std::uint64_t>(r));
    KeptBits of_draw;
    REARM_UNROLL
    for (int half = 0; half < 8; ++half) {
      const Index b = r + half * draws;
      if (b >= d) continue;
      const bool keep = in.mask.keep_half(draw, half);
      f(b, keep ? in.keep_scale : T{0});
      if (D > 0) of_draw.word[half / 4] |= keep ? 1U << half % 4 * 8 : 0U;
    }
    if (D > 0) REARM_UNROLL
    for (int w = 0; w < 2; ++w) kept.word[w] |= of_draw.word[w] << r;
  }
  return kept.all();
}
/// The same for 64 columns of which it is known which are kept, in the same order.
template <class T, class F>
__device__ void for_each_kept_weight(const functors::AttentionInput<T>& in, std::uint64_t kept, const F& f) {
  std::uint32_t word[2] = {static_cast<std::uint32_t>(kept), static_cast<std::uint32_t>(kept >> 32)};
  REARM_UNROLL_BY(1)
  for (Index r = 0; r < 8; ++r) {
    REARM_UNROLL
    for (int half = 0; half < 8; ++half)
      f(r + half * 8, (word[half / 4] >> half % 4 * 8 & 1U) != 0 ? in.keep_scale : T{0});
    REARM_UNROLL
    for (std::uint32_t& w : word) w >>= 1;
  }
}

template <class T, int D>
REARM_KERNEL void attention_kernel(functors::AttentionInput<T> in, MatrixView<T> out) {
  const Index i = own_warp();
  if (i >= in.q.rows) return;
  const WarpLane lane = own_lane();
  const Index d = width_of<D>(in);
  const T* const k = in.k.row(i);
  const T* const v = in.v.row(i);
  const KeyRange<T> range = key_range(k, d, lane);
  for (Index a = lane.first(); a < d; a += WarpLane::step) {
    const T q = in.scale * Power<T>::log_e * in.q(i, a);
    const T top = range.top(q);
    T sum{0};
    T value{0};
    const std::uint64_t kept = for_each_weight<D>(in, i, a, [&](Index b, T multiplier) {
      const T weight = Power<T>::of(q * k[b] - top);
      sum += weight;
      value += weight * multiplier * v[b];
    });
    if (D > 0 && in.kept != nullptr) in.kept[i * d + a] = kept;
    out(i, a) = value / sum;
  }
}

/// Rows first: d_q and, in `inverse_sum`, 1 / sum of each row's exponentials. Then columns: d_k and d_v. Which weights
/// were kept is known from the forward pass (`AttentionInput::kept`), or with D columns the first pass tells the
/// second; otherwise the random bits are drawn again.
template <class T, int D>
REARM_KERNEL void attention_backward_kernel(functors::AttentionBackwardRow<T> f, MatrixView<T> inverse_sum) {
  static_assert(D % warp_size == 0 && D <= 2 * warp_size, "one word of bits for all columns");
  const functors::AttentionInput<T>& in = f.in;
  const Index i = own_warp();
  if (i >= in.q.rows) return;
  const WarpLane lane = own_lane();
  const Index d = width_of<D>(in);
  const T* const k = in.k.row(i);
  const T* const v = in.v.row(i);
  const KeyRange<T> range = key_range(k, d, lane);
  std::uint64_t kept_low = 0;  // of the lane's first row, and of its second
  std::uint64_t kept_high = 0;
  for (Index row = 0; row + lane.first() < d; row += warp_size) {
    const Index a = row + lane.first();
    const T q = in.scale * Power<T>::log_e * in.q(i, a);
    const T top = range.top(q);
    const T out = f.out(i, a);
    T sum{0};
    T d_q{0};
    const auto add = [&](Index b, T multiplier) {
      const T weight = Power<T>::of(q * k[b] - top);
      sum += weight;
      d_q += weight * (multiplier * v[b] - out) * k[b];
    };
    std::uint64_t kept = 0;
    if (D == 2 * warp_size && in.kept != nullptr) {
      kept = in.kept[i * d + a];
      for_each_kept_weight(in, kept, add);
    } else {
      kept = for_each_weight<D>(in, i, a, add);
    }
    (row == 0 ? kept_low : kept_high) = kept;
    const T inverse = T{1} / sum;
    f.d_q(i, a) = in.scale * f.d_out(i, a) * d_q * inverse;
    inverse_sum(i, a) = inverse;  // the same lane reads it
  }
  for (Index first = 0; first < d; first += 2 * warp_size) {
    T key[2];
    T value[2];
    T d_k[2] = {};
    T d_v[2] = {};
    REARM_UNROLL
    for (int c = 0; c < 2; ++c) {
      const Index b = first + c * warp_size + lane.first();
      key[c] = b < d ? k[b] : T{0};
      value[c] = b < d ? v[b] : T{0};
    }
    // Each lane loads what these columns need of one row and shares it with the warp.
    for (Index row = 0; row < d; row += warp_size) {
      const Index own = row + lane.first();
      T q{0};
      T factor{0};
      T out{0};
      std::uint64_t kept = row == 0 ? kept_low : kept_high;
      if (own < d) {
        q = in.scale * Power<T>::log_e * in.q(i, own);
        factor = f.d_out(i, own) * inverse_sum(i, own);
        out = f.out(i, own);
        if (D == 0)
          for_each_weight<D>(in, i, own, [&](Index b, T multiplier) {
            if (b >= first && b < first + 2 * warp_size && multiplier != T{0}) kept |= std::uint64_t{1} << (b - first);
          });
      }
      const int n = d - row < warp_size ? static_cast<int>(d - row) : warp_size;
      for (int source = 0; source < n; ++source) {
        const T q_a = __shfl_sync(full_warp, q, source);
        const T factor_a = __shfl_sync(full_warp, factor, source);
        const T out_a = __shfl_sync(full_warp, out, source);
        const std::uint64_t kept_a = __shfl_sync(full_warp, kept, source);
        const T top = range.top(q_a);
        REARM_UNROLL
        for (int c = 0; c < 2; ++c) {
          const T g = factor_a * Power<T>::of(q_a * key[c] - top);
          const bool keep = (kept_a >> (c * warp_size + lane.lane) & 1) != 0;
          const T multiplier = keep ? (in.dropout ? in.keep_scale : T{1}) : T{0};
          d_v[c] += g * multiplier;
          d_k[c] += g * (multiplier * value[c] - out_a) * q_a;
        }
      }
    }
    REARM_UNROLL
    for (int c = 0; c < 2; ++c) {
      const Index b = first + c * warp_size + lane.first();
      if (b >= d) continue;
      f.d_k(i, b) = Power<T>::inverse_log_e * d_k[c];
      f.d_v(i, b) = d_v[c];
    }
  }
}

}  // namespace rearm::REARM_ABI::gpu
