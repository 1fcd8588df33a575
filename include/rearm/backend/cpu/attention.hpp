#pragma once
/// @file attention.hpp
/// Rank-one attention on the CPU: one node a task, the d x d weights of one query row at a time in a register-sized
/// buffer, vectorised over keys. The largest logit of a row is q_a times the largest or smallest key.

#include <rearm/functors/attention.hpp>

#include <algorithm>

namespace rearm::cpu {

/// Widest embedding the row buffers hold (Config allows no more).
inline constexpr Index max_attention_dim = 1024;

/// multipliers[b] = 0 or keep_scale for row a of node i, eight a Philox draw.
template <class T>
void dropout_multipliers(const functors::AttentionInput<T>& in, Index i, Index a, T* multipliers) {
  const Index d = in.q.cols;
  const std::uint64_t draws = functors::DropoutMask::draws(d);
  const std::uint64_t base = static_cast<std::uint64_t>(i * d + a) * draws;
  alignas(alignment) std::uint32_t halves[max_attention_dim + 8];
  for (std::uint64_t n = 0; n < draws; ++n) {
    const RandomBits bits = in.mask.key.bits(base + n);
    for (int w = 0; w < 4; ++w) {
      halves[8 * n + static_cast<std::uint64_t>(2 * w)] = bits.word[w] & 0xFFFFU;
      halves[8 * n + static_cast<std::uint64_t>(2 * w) + 1] = bits.word[w] >> 16;
    }
  }
#pragma omp simd
  for (Index b = 0; b < d; ++b) multipliers[b] = halves[b] >= in.mask.threshold ? in.keep_scale : T{0};
}

/// weights[b] = exp(scale q_a k_b - top); returns their sum.
template <class T>
T attention_weights(T slope, const T* REARM_RESTRICT keys, T key_min, T key_max, Index d, T* REARM_RESTRICT weights) {
  const T top = slope > T{0} ? slope * key_max : slope * key_min;
  T sum{0};
#pragma omp simd reduction(+ : sum)
  for (Index b = 0; b < d; ++b) {
    weights[b] = fast_exp(slope * keys[b] - top);
    sum += weights[b];
  }
  return sum;
}

template <class T>
void attention_row(const functors::AttentionInput<T>& in, MatrixView<T> out, Index i) {
  const Index d = in.q.cols;
  alignas(alignment) T weights[max_attention_dim];
  alignas(alignment) T multipliers[max_attention_dim];
  const T* REARM_RESTRICT keys = in.k.row(i);
  const T* REARM_RESTRICT values = in.v.row(i);
  const auto [key_min, key_max] = std::minmax_element(keys, keys + d);
  for (Index a = 0; a < d; ++a) {
    const T sum = attention_weights(in.scale * in.q(i, a), keys, *key_min, *key_max, d, weights);
    T value{0};
    if (in.dropout) {
      dropout_multipliers(in, i, a, multipliers);
#pragma omp simd reduction(+ : value)
      for (Index b = 0; b < d; ++b) value += weights[b] * multipliers[b] * values[b];
    } else {
#pragma omp simd reduction(+ : value)
      for (Index b = 0; b < d; ++b) value += weights[b] * values[b];
    }
    out(i, a) = value / sum;
  }
}

template <class T>
void attention_backward_row(const functors::AttentionBackwardRow<T>& f, Index i) {
  const functors::AttentionInput<T>& in = f.in;
  const Index d = in.q.cols;
  alignas(alignment) T weights[max_attention_dim];
  alignas(alignment) T multipliers[max_attention_dim];
  const T* REARM_RESTRICT keys = in.k.row(i);
  const T* REARM_RESTRICT values = in.v.row(i);
  T* REARM_RESTRICT d_keys = f.d_k.row(i);
  T* REARM_RESTRICT d_values = f.d_v.row(i);
  const auto [key_min, key_max] = std::minmax_element(keys, keys + d);
  std::fill_n(d_keys, d, T{0});
  std::fill_n(d_values, d, T{0});
  std::fill_n(multipliers, d, T{1});
  for (Index a = 0; a < d; ++a) {
    const T slope = in.scale * in.q(i, a);
    const T sum = attention_weights(slope, keys, *key_min, *key_max, d, weights);
    if (in.dropout) dropout_multipliers(in, i, a, multipliers);
    const T g = f.d_out(i, a) / sum;
    const T value = f.out(i, a);
    T d_query{0};
#pragma omp simd reduction(+ : d_query)
    for (Index b = 0; b < d; ++b) {
      const T weight = g * weights[b];
      const T kept = weight * multipliers[b];
      const T d_logit = kept * values[b] - weight * value;
      d_query += d_logit * keys[b];
      d_keys[b] += d_logit * slope;
      d_values[b] += kept;
    }
    f.d_q(i, a) = in.scale * d_query;
  }
}

}  // namespace rearm::cpu
