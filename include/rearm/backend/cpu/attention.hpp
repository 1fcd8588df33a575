#pragma once
/// @file attention.hpp
/// Rank-one attention on the CPU: one node a task, the d x d weights of one query row at a time in a register-sized
/// buffer, vectorised over keys. The largest logit of a row is q_a times the largest or smallest key.

#include <rearm/backend/cpu/philox.hpp>
#include <rearm/functors/attention.hpp>

#include <algorithm>

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"  // `omp simd` asks; where clang cannot, the scalar loop is as right
#endif

namespace rearm::cpu {

/// Widest embedding the row buffers hold (Config allows no more).
inline constexpr Index max_attention_dim = 1024;

/// The dropout multipliers of one node, a few query rows at a time: as many as fill a block of Philox draws.
template <class T>
class DropoutRows {
 public:
  DropoutRows(const functors::AttentionInput<T>& in, Index i)
      : in_(in), draws_(static_cast<Index>(functors::DropoutMask::draws(in.q.cols))), node_(i) {}

  /// 0 or keep_scale for every key of query row a; rows must be asked for in ascending order from 0.
  const T* row(Index a) {
    const Index per_block = std::max<Index>(1, philox_lanes / draws_);
    if (a % per_block == 0) fill(a, std::min(per_block, in_.q.cols - a));
    return multipliers_ + (a % per_block) * 8 * draws_;
  }

 private:
  void fill(Index a, Index n_rows) {
    const std::uint64_t base = static_cast<std::uint64_t>((node_ * in_.q.cols + a) * draws_);
    const T keep_scale = in_.keep_scale;
    const std::uint32_t threshold = in_.mask.threshold;
    alignas(alignment) std::uint32_t word[4][philox_lanes];
    alignas(alignment) T kept[8][philox_lanes];
    for (Index first = 0; first < n_rows * draws_; first += philox_lanes) {
      philox_block(in_.mask.key, base + static_cast<std::uint64_t>(first), word);
      for (int w = 0; w < 4; ++w)
#pragma omp simd
        for (int l = 0; l < philox_lanes; ++l) {
          kept[2 * w][l] = (word[w][l] & 0xFFFFU) >= threshold ? keep_scale : T{0};
          kept[2 * w + 1][l] = (word[w][l] >> 16) >= threshold ? keep_scale : T{0};
        }
      const Index lanes = std::min<Index>(philox_lanes, n_rows * draws_ - first);
      for (Index begin = 0; begin < lanes;) {  // the lanes of one row
        const Index r = (first + begin) / draws_;
        const Index n = (first + begin) % draws_;
        const Index count = std::min(lanes - begin, draws_ - n);
        for (int half = 0; half < 8; ++half)
          std::copy_n(kept[half] + begin, count, multipliers_ + (r * 8 + half) * draws_ + n);
        begin += count;
      }
    }
  }
  const functors::AttentionInput<T>& in_;
  Index draws_;
  Index node_;
  alignas(alignment) T multipliers_[max_attention_dim + Index{8} * philox_lanes];
};

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
  DropoutRows<T> dropout(in, i);
  const T* REARM_RESTRICT keys = in.k.row(i);
  const T* REARM_RESTRICT values = in.v.row(i);
  const auto [key_min, key_max] = std::minmax_element(keys, keys + d);
  for (Index a = 0; a < d; ++a) {
    const T sum = attention_weights(in.scale * in.q(i, a), keys, *key_min, *key_max, d, weights);
    T value{0};
    if (in.dropout) {
      const T* REARM_RESTRICT multipliers = dropout.row(a);
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
  alignas(alignment) T ones[max_attention_dim];
  DropoutRows<T> dropout(in, i);
  const T* REARM_RESTRICT keys = in.k.row(i);
  const T* REARM_RESTRICT values = in.v.row(i);
  T* REARM_RESTRICT d_keys = f.d_k.row(i);
  T* REARM_RESTRICT d_values = f.d_v.row(i);
  const auto [key_min, key_max] = std::minmax_element(keys, keys + d);
  std::fill_n(d_keys, d, T{0});
  std::fill_n(d_values, d, T{0});
  std::fill_n(ones, d, T{1});
  for (Index a = 0; a < d; ++a) {
    const T slope = in.scale * in.q(i, a);
    const T sum = attention_weights(slope, keys, *key_min, *key_max, d, weights);
    const T* REARM_RESTRICT multipliers = in.dropout ? dropout.row(a) : ones;
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

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
