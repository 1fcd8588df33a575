#pragma once
/// @file attention.hpp
/// Rank-one attention on the CPU: one node at a time, sixteen query rows of its d x d weights at once, one per entry of
/// a Vector16. So only the keys' and values' gradients need sums across entries, once per node. The largest logit of a
/// row is q_a times the largest or smallest key.

#include <rearm/backend/cpu/philox.hpp>
#include <rearm/backend/cpu/simd.hpp>
#include <rearm/functors/attention.hpp>

#include <algorithm>

REARM_LOOPS_BEGIN

namespace rearm::REARM_ABI::cpu {

/// Widest embedding that a node's buffers hold (ops/attention.hpp allows no more).
inline constexpr Index max_attention_dim = 1024;

/// x <- entries [first, first + simd_width) of row i, zero past its end.
template <class T>
void load_row(MatrixView<const T> m, Index i, Index first, Vector16<T>& x) {
  if (first + simd_width <= m.cols) return load_entries(m.row(i) + first, x);
  x = Vector16<T>{};
  std::memcpy(&x, m.row(i) + first, static_cast<std::size_t>(m.cols - first) * sizeof(T));
}

/// The smallest and the largest of a node's keys.
template <class T>
struct KeyRange {
  T low;
  T high;
  KeyRange(const T* keys, Index n) : low(keys[0]), high(keys[0]) {
    T below = -low;
    REARM_MAX_LOOP(high, below)
    for (Index b = 0; b < n; ++b) {
      high = keys[b] > high ? keys[b] : high;
      below = -keys[b] > below ? -keys[b] : below;
    }
    low = -below;
  }
};

/// Query rows [first, first + simd_width) of node i; entries past the last row hold zeros and are not stored.
template <class T>
struct QueryRows {
  Vector16<T> slope;  ///< scale q_a
  Vector16<T> top;    ///< largest logit of the row

  QueryRows(const functors::AttentionInput<T>& in, Index i, Index first, const KeyRange<T>& keys) : slope{}, top{} {
    load_row(in.q, i, first, slope);
    slope *= in.scale;
    top = slope > T{0} ? slope * keys.high : slope * keys.low;
  }
  /// weight = e^(slope key - top)
  void weigh(T key, Vector16<T>& weight) const {
    weight = slope * key - top;
    exp_entries(weight);
  }
};

/// Calls f(b, kept) for every key b; kept is -1 in the entries whose weight survives dropout, 0 elsewhere.
template <class T, class F>
void for_each_key(const functors::AttentionInput<T>& in, Index i, Index first, const F& f) {
  const Index d = in.q.cols;
  if (!in.dropout) {
    const Mask16<T> all = Vector16<T>{} == Vector16<T>{};
    for (Index b = 0; b < d; ++b) f(b, all);
    return;
  }
  const auto draws = static_cast<Index>(functors::DropoutMask::draws(d));
  const auto base = static_cast<std::uint64_t>(((in.first_row + i) * d + first) * draws);
  Vector16<std::uint32_t> word[4];
  for (Index n = 0; n < draws; ++n) {
    philox_block(in.mask.key, base + static_cast<std::uint64_t>(n), static_cast<std::uint64_t>(draws), word);
    for (Index half = 0; half < 8 && half * draws + n < d; ++half) {
      const Vector16<std::uint32_t>& w = word[half / 2];
      const Vector16<std::uint32_t> bits = half % 2 == 0 ? w & 0xFFFFU : w >> 16U;
      f(half * draws + n, __builtin_convertvector(bits >= in.mask.threshold, Mask16<T>));
    }
  }
}

template <class T>
void attention_row(const functors::AttentionInput<T>& in, MatrixView<T> out, Index i) {
  const Index d = in.q.cols;
  const T* const keys = in.k.row(i);
  const T* const values = in.v.row(i);
  const KeyRange<T> range(keys, d);
  for (Index first = 0; first < d; first += simd_width) {
    const QueryRows<T> queries(in, i, first, range);
    Vector16<T> sum{};
    Vector16<T> value{};
    for_each_key(in, i, first, [&](Index b, const Mask16<T>& kept) {
      Vector16<T> weight;
      queries.weigh(keys[b], weight);
      sum += weight;
      value += kept ? weight * values[b] : Vector16<T>{};
    });
    value *= in.dropout ? in.keep_scale : T{1};
    value /= sum;
    for (Index l = 0; l < std::min<Index>(simd_width, d - first); ++l) out(i, first + l) = value[l];
  }
}

template <class T>
void attention_backward_row(const functors::AttentionBackwardRow<T>& f, Index i) {
  const functors::AttentionInput<T>& in = f.in;
  const Index d = in.q.cols;
  const T* const keys = in.k.row(i);
  const T* const values = in.v.row(i);
  const KeyRange<T> range(keys, d);
  const T keep_scale = in.dropout ? in.keep_scale : T{1};
  Vector16<T> weights[max_attention_dim];
  Vector16<T> d_keys[max_attention_dim];
  Vector16<T> d_values[max_attention_dim];
  std::fill_n(d_keys, d, Vector16<T>{});
  std::fill_n(d_values, d, Vector16<T>{});
  for (Index first = 0; first < d; first += simd_width) {
    const Index n = std::min<Index>(simd_width, d - first);
    const QueryRows<T> queries(in, i, first, range);
    Vector16<T> sum{};
    for (Index b = 0; b < d; ++b) {
      queries.weigh(keys[b], weights[b]);
      sum += weights[b];
    }
    Vector16<T> g{};      // d_out / sum
    Vector16<T> value{};  // out
    load_row(f.d_out, i, first, g);
    load_row(f.out, i, first, value);
    g /= sum;
    value *= g;
    g *= keep_scale;
    Vector16<T> d_query{};
    for_each_key(in, i, first, [&](Index b, const Mask16<T>& kept) {
      const Vector16<T> through = kept ? weights[b] * g : Vector16<T>{};
      const Vector16<T> d_logit = through * values[b] - weights[b] * value;
      d_query += d_logit * keys[b];
      d_keys[b] += d_logit * queries.slope;
      d_values[b] += through;
    });
    for (Index l = 0; l < n; ++l) f.d_q(i, first + l) = in.scale * d_query[l];
  }
  for (Index b = 0; b < d; ++b) {
    f.d_k(i, b) = sum_entries<T>(d_keys[b]);
    f.d_v(i, b) = sum_entries<T>(d_values[b]);
  }
}

}  // namespace rearm::REARM_ABI::cpu

REARM_LOOPS_END
