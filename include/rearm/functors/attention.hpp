#pragma once
/// @file attention.hpp
/// Rank-one attention of one node (REARM eq. 5, 7, 8) in its plain form. Backends run faster versions, which are tested
/// against this one.

#include <rearm/functors/elementwise.hpp>
#include <rearm/functors/exp.hpp>

REARM_LOOPS_BEGIN

namespace rearm::REARM_ABI::functors {

/// The operands of rank-one attention: logits are scale * q_a k_b, and with `dropout` weights are dropped by `mask`.
template <class T>
struct AttentionInput {
  MatrixView<const T> q;
  MatrixView<const T> k;
  MatrixView<const T> v;
  T scale;
  bool dropout;
  DropoutMask mask;
  T keep_scale;
  Index first_row = 0;  ///< the number that the first row has for the mask
  /// With dropout, n d words if not null: bit b of word i d + a tells whether weight (a, b) of node i was kept. A
  /// backend that `keeps_attention_bits` writes them going forward and draws no random bits going back.
  std::uint64_t* kept = nullptr;

  /// The factor of weight (a, b) of node i: 0 if it is dropped, else 1 / (1 - p).
  REARM_HD T multiplier(Index i, Index a, Index b) const {
    if (!dropout) return T{1};
    const std::uint64_t row = static_cast<std::uint64_t>((first_row + i) * q.cols + a);
    return mask.keep(row * DropoutMask::draws(q.cols), b, q.cols) ? keep_scale : T{0};
  }
  /// Finds the largest logit of row a and the sum of the exponentials of the logits minus it.
  REARM_HD void row_sum(Index i, Index a, T& top, T& sum) const {
    top = scale * q(i, a) * k(i, 0);
    for (Index b = 1; b < q.cols; ++b) {
      const T logit = scale * q(i, a) * k(i, b);
      top = logit > top ? logit : top;
    }
    sum = T{0};
    for (Index b = 0; b < q.cols; ++b) sum += fast_exp(scale * q(i, a) * k(i, b) - top);
  }
};

/// The three projections of the authors' attention, each with one weight and one bias: q = w_0 x + b_0,
/// k = w_1 y + b_1, v = w_2 y + b_2.
template <class T>
struct ScalarProjectionsRow {
  MatrixView<const T> x;
  MatrixView<const T> y;
  MatrixView<const T> weight;  ///< 3 x 1
  MatrixView<const T> bias;    ///< 3 x 1
  MatrixView<T> q;
  MatrixView<T> k;
  MatrixView<T> v;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T w[3] = {weight(0, 0), weight(1, 0), weight(2, 0)};
    const T b[3] = {bias(0, 0), bias(1, 0), bias(2, 0)};
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < x.cols; j += L::step) {
      q(i, j) = w[0] * x(i, j) + b[0];
      k(i, j) = w[1] * y(i, j) + b[1];
      v(i, j) = w[2] * y(i, j) + b[2];
    }
  }
};

/// partial += [d_w | d_b]; d_x (+)= w_0 d_q, then d_y (+)= w_1 d_k + w_2 d_v, each if wanted.
template <class T>
struct ScalarProjectionsBackwardRow {
  MatrixView<const T> x;
  MatrixView<const T> y;
  MatrixView<const T> weight;
  MatrixView<const T> d_q;
  MatrixView<const T> d_k;
  MatrixView<const T> d_v;
  Into<T> d_x;
  Into<T> d_y;
  template <class L>
  REARM_HD void operator()(Index i, T* partial, const L& lane) const {
    const T w[3] = {weight(0, 0), weight(1, 0), weight(2, 0)};
    const T* const query = x.row(i);
    const T* const value = y.row(i);
    const T* const to_q = d_q.row(i);
    const T* const to_k = d_k.row(i);
    const T* const to_v = d_v.row(i);
    T dot_q{0}, dot_k{0}, dot_v{0}, sum_q{0}, sum_k{0}, sum_v{0};
    REARM_SUM_LOOP(dot_q, dot_k, dot_v, sum_q, sum_k, sum_v)
    for (Index j = lane.first(); j < x.cols; j += L::step) {
      dot_q += query[j] * to_q[j];
      dot_k += value[j] * to_k[j];
      dot_v += value[j] * to_v[j];
      sum_q += to_q[j];
      sum_k += to_k[j];
      sum_v += to_v[j];
    }
    const T sums[6] = {lane.sum(dot_q), lane.sum(dot_k), lane.sum(dot_v),
                       lane.sum(sum_q), lane.sum(sum_k), lane.sum(sum_v)};
    for (int s = 0; s < 6 && lane.leads(); ++s) partial[s] += sums[s];
    if (d_x.wanted()) REARM_SIMD_LOOP
    for (Index j = lane.first(); j < x.cols; j += L::step) store(d_x.view(i, j), w[0] * to_q[j], d_x.write);
    lane.sync();
    if (d_y.wanted()) REARM_SIMD_LOOP
    for (Index j = lane.first(); j < x.cols; j += L::step)
      store(d_y.view(i, j), w[1] * to_k[j] + w[2] * to_v[j], d_y.write);
  }
};

/// out_a = sum_b softmax_b(scale q_a k_b) m_ab v_b
template <class T>
struct AttentionRow {
  AttentionInput<T> in;
  MatrixView<T> out;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    if (!lane.leads()) return;
    for (Index a = 0; a < in.q.cols; ++a) {
      T top;
      T sum;
      in.row_sum(i, a, top, sum);
      T value{0};
      for (Index b = 0; b < in.q.cols; ++b)
        value += fast_exp(in.scale * in.q(i, a) * in.k(i, b) - top) * in.multiplier(i, a, b) * in.v(i, b);
      out(i, a) = value / sum;
    }
  }
};

/// With d_logit_ab = d_out_a P_ab (m_ab v_b - out_a), P the weights and m the dropout factors: d_q_a = scale sum_b
/// d_logit_ab k_b, d_k_b = scale sum_a d_logit_ab q_a, d_v_b = sum_a P_ab m_ab d_out_a. All three are overwritten.
template <class T>
struct AttentionBackwardRow {
  AttentionInput<T> in;
  MatrixView<const T> out;
  MatrixView<const T> d_out;
  MatrixView<T> d_q;
  MatrixView<T> d_k;
  MatrixView<T> d_v;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    if (!lane.leads()) return;
    for (Index b = 0; b < in.q.cols; ++b) d_k(i, b) = d_v(i, b) = T{0};
    for (Index a = 0; a < in.q.cols; ++a) {
      T top;
      T sum;
      in.row_sum(i, a, top, sum);
      T dq{0};
      for (Index b = 0; b < in.q.cols; ++b) {
        const T p = fast_exp(in.scale * in.q(i, a) * in.k(i, b) - top) / sum;
        const T m = in.multiplier(i, a, b);
        const T d_logit = d_out(i, a) * p * (m * in.v(i, b) - out(i, a));
        dq += in.scale * d_logit * in.k(i, b);
        d_k(i, b) += in.scale * d_logit * in.q(i, a);
        d_v(i, b) += p * m * d_out(i, a);
      }
      d_q(i, a) = dq;
    }
  }
};

}  // namespace rearm::REARM_ABI::functors

REARM_LOOPS_END
