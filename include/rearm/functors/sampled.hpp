#pragma once
/// @file sampled.hpp
/// Formulas of one row where every row meets candidates of its own: ids drawn at random, their scores, sums over them,
/// and attention among them.

#include <rearm/core/index_list.hpp>
#include <rearm/functors/elementwise.hpp>
#include <rearm/functors/exp.hpp>

#include <cmath>
#include <cstdint>

REARM_LOOPS_BEGIN

namespace rearm::REARM_ABI::functors {

/// Row i of `to` (1 + n_drawn ids): first[i], or i itself without `first`, then ids uniform in [begin, begin + n).
struct DrawBesideRow {
  const Id* first;
  Index begin, n, n_drawn;
  RandomKey key;
  Id* to;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    Id* const row = to + i * (n_drawn + 1);
    if (lane.leads()) row[0] = first != nullptr ? first[i] : static_cast<Id>(i);
    for (Index j = lane.first(); j < n_drawn; j += L::step)
      row[j + 1] = static_cast<Id>(begin + static_cast<Index>(key.below(static_cast<std::uint64_t>(i * n_drawn + j),
                                                                        static_cast<std::uint32_t>(n))));
  }
};

/// Row i of `to` is row shift + rows[i] of `from`, both `width` ids wide.
struct GatherIdsRow {
  const Id* from;
  Index width, shift;
  const Id* rows;
  Id* to;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const Id* const in = from + (shift + rows[i]) * width;
    for (Index j = lane.first(); j < width; j += L::step) to[i * width + j] = in[j];
  }
};

/// y_ij = u_i . x_{ids[i n + j]}, n the columns of y. With `write` the gradient of SampledSumRow's weights.
template <class T>
struct SampledScoresRow {
  MatrixView<const T> u;
  MatrixView<const T> x;
  const Id* ids;
  Into<T> y;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T* const left = u.row(i);
    const Index n = y.view.cols;
    for (Index j = 0; j < n; ++j) {
      const T* const right = x.row(ids[i * n + j]);
      T sum{0};
      REARM_SUM_LOOP(sum)
      for (Index c = lane.first(); c < u.cols; c += L::step) sum += left[c] * right[c];
      sum = lane.sum(sum);
      if (lane.leads()) store(y.view(i, j), sum, y.write);
    }
  }
};

/// y_i (+)= sum_j w_ij x_{ids[i n + j]}, n the columns of w. Also the gradient of SampledScoresRow's u.
template <class T>
struct SampledSumRow {
  MatrixView<const T> w;
  MatrixView<const T> x;
  const Id* ids;
  Into<T> y;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    T* const out = y.view.row(i);
    if (y.write == Write::overwrite) REARM_SIMD_LOOP
    for (Index c = lane.first(); c < x.cols; c += L::step) out[c] = T{0};
    for (Index j = 0; j < w.cols; ++j) {
      const T weight = w(i, j);
      const T* const in = x.row(ids[i * w.cols + j]);
      REARM_SIMD_LOOP
      for (Index c = lane.first(); c < x.cols; c += L::step) out[c] += weight * in[c];
    }
  }
};

/// For distinct id s: d_x_{id s} += the sum of w_ij u_i over its places (i, j), in ascending order. The gradient of x
/// in SampledScoresRow (w: d_y) and in SampledSumRow (u: d_y).
template <class T>
struct SampledSpreadRow {
  MatrixView<const T> u;
  MatrixView<const T> w;
  IndexList ids;
  MatrixView<T> d_x;
  template <class L>
  REARM_HD void operator()(Index s, const L& lane) const {
    if (ids.segments[s] == ids.segments[s + 1]) return;
    T* const target = d_x.row(ids.ids[ids.order[ids.segments[s]]]);
    for (Index e = ids.segments[s]; e < ids.segments[s + 1]; ++e) {
      const Index i = ids.order[e] / w.cols;
      const T weight = w(i, ids.order[e] % w.cols);
      const T* const in = u.row(i);
      REARM_SIMD_LOOP
      for (Index c = lane.first(); c < u.cols; c += L::step) target[c] += weight * in[c];
    }
  }
};

/// Attention in block b, rows b m ... b m + m - 1 of q and k (m the columns of z), of values that are one number each:
/// y_br = sum_t a_rt z_bt, a_r = softmax over t of q_r . k_t; lse_br = log sum_t exp(q_r . k_t). A lane has whole rows
/// r.
template <class T>
struct BlockAttentionRow {
  MatrixView<const T> q;
  MatrixView<const T> k;
  MatrixView<const T> z;
  MatrixView<T> lse;
  MatrixView<T> y;
  template <class L>
  REARM_HD void operator()(Index b, const L& lane) const {
    const Index m = z.cols;
    for (Index r = lane.first(); r < m; r += L::step) {
      T top = score(b, r, 0);
      for (Index t = 1; t < m; ++t) {
        const T s = score(b, r, t);
        top = s > top ? s : top;
      }
      T sum{0}, weighted{0};
      for (Index t = 0; t < m; ++t) {
        const T e = fast_exp(score(b, r, t) - top);
        sum += e;
        weighted += e * z(b, t);
      }
      lse(b, r) = top + std::log(sum);
      y(b, r) = weighted / sum;
    }
  }
  REARM_HD T score(Index b, Index r, Index t) const {
    const T* const left = q.row(b * z.cols + r);
    const T* const right = k.row(b * z.cols + t);
    T sum{0};
    for (Index c = 0; c < q.cols; ++c) sum += left[c] * right[c];
    return sum;
  }
};

/// With g_rt = a_rt d_y_r (z_t - y_r): d_q_r (+)= sum_t g_rt k_t, d_k_t (+)= sum_r g_rt q_r and d_z_t (+)= sum_r a_rt
/// d_y_r. Those that are wanted; d_q is written first.
template <class T>
struct BlockAttentionBackwardRow {
  BlockAttentionRow<T> of;
  MatrixView<const T> d_y;
  Into<T> d_q, d_k, d_z;
  template <class L>
  REARM_HD void operator()(Index b, const L& lane) const {
    const Index m = of.z.cols;
    const auto weight = [&](Index r, Index t) { return fast_exp(of.score(b, r, t) - of.lse(b, r)); };
    if (d_q.wanted())
      for (Index r = lane.first(); r < m; r += L::step) {
        clear(d_q, b * m + r);
        for (Index t = 0; t < m; ++t)
          add(d_q, b * m + r, weight(r, t) * d_y(b, r) * (of.z(b, t) - of.y(b, r)), of.k.row(b * m + t));
      }
    if (!d_k.wanted() && !d_z.wanted()) return;
    for (Index t = lane.first(); t < m; t += L::step) {
      if (d_k.wanted()) clear(d_k, b * m + t);
      T sum{0};
      for (Index r = 0; r < m; ++r) {
        const T passed = weight(r, t) * d_y(b, r);
        sum += passed;
        if (d_k.wanted()) add(d_k, b * m + t, passed * (of.z(b, t) - of.y(b, r)), of.q.row(b * m + r));
      }
      if (d_z.wanted()) store(d_z.view(b, t), sum, d_z.write);
    }
  }

 private:
  REARM_HD void clear(const Into<T>& of_row, Index i) const {
    if (of_row.write == Write::overwrite)
      for (Index c = 0; c < of.q.cols; ++c) of_row.view(i, c) = T{0};
  }
  REARM_HD void add(const Into<T>& to, Index i, T factor, const T* from) const {
    for (Index c = 0; c < of.q.cols; ++c) to.view(i, c) += factor * from[c];
  }
};

}  // namespace rearm::REARM_ABI::functors

REARM_LOOPS_END
