#pragma once
/// @file attention.hpp
/// Rank-one attention of one node (paper eq. 5, 7, 8): the defining, plain formula. Backends run faster ones that are
/// tested against it.

#include <rearm/functors/elementwise.hpp>
#include <rearm/functors/exp.hpp>

namespace rearm::functors {

/// What one call of rank-one attention is given: logits scale * q_a k_b, weights dropped with `mask`.
template <class T>
struct AttentionInput {
  MatrixView<const T> q;
  MatrixView<const T> k;
  MatrixView<const T> v;
  T scale;
  bool dropout;
  DropoutMask mask;
  T keep_scale;

  /// 0 or 1 / (1 - p): what weight (a, b) of node i is multiplied by.
  REARM_HD T multiplier(Index i, Index a, Index b) const {
    if (!dropout) return T{1};
    const std::uint64_t row = static_cast<std::uint64_t>(i * q.cols + a);
    return mask.keep(row * DropoutMask::draws(q.cols), b, q.cols) ? keep_scale : T{0};
  }
  /// Largest logit of row a and the sum of exponentials relative to it.
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

/// d_logit_ab = d_out_a P_ab (m_ab v_b - out_a); d_q, d_k, d_v overwrite.
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

}  // namespace rearm::functors
