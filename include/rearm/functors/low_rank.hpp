#pragma once
/// @file low_rank.hpp
/// One row times two thin matrices of its own (REARM eq. 15).

#include <rearm/functors/elementwise.hpp>

REARM_LOOPS_BEGIN

namespace rearm::REARM_ABI::functors {

/// The order in which the factors are applied. W1 is d x k and W2 is k x d, each row-major in one row of its table.
enum class LowRankOrder {
  left_to_right,  ///< share = (x W1) W2, the authors' program
  right_to_left   ///< share = W1 (W2 x), the printed equation
};

/// Offsets into a row of entry (a, j) of F, the factor applied first, and of entry (j, b) of S, the one applied second.
struct LowRankLayout {
  Index d;
  Index k;
  LowRankOrder order;
  REARM_HD Index first(Index a, Index j) const { return order == LowRankOrder::left_to_right ? a * k + j : j * d + a; }
  REARM_HD Index second(Index j, Index b) const { return order == LowRankOrder::left_to_right ? j * d + b : b * k + j; }
};

/// mid_j = sum_a x_a F_aj, y_b = sum_j mid_j S_jb, F and S the factors in the order of `layout`.
template <class T>
struct LowRankRow {
  MatrixView<const T> x;
  MatrixView<const T> first;
  MatrixView<const T> second;
  LowRankLayout layout;
  MatrixView<T> mid;
  MatrixView<T> y;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T* const f = first.row(i);
    const T* const s = second.row(i);
    const T* const in = x.row(i);
    T* const out = y.row(i);
    REARM_SIMD_LOOP
    for (Index b = lane.first(); b < layout.d; b += L::step) out[b] = T{0};
    for (Index j = 0; j < layout.k; ++j) {
      T sum{0};
      REARM_SUM_LOOP(sum)
      for (Index a = lane.first(); a < layout.d; a += L::step) sum += in[a] * f[layout.first(a, j)];
      sum = lane.sum(sum);
      if (lane.leads()) mid(i, j) = sum;
      REARM_SIMD_LOOP
      for (Index b = lane.first(); b < layout.d; b += L::step) out[b] += sum * s[layout.second(j, b)];
    }
  }
};

/// With d_mid_j = sum_b d_y_b S_jb: d_S_jb (+)= mid_j d_y_b, d_F_aj (+)= x_a d_mid_j, d_x_a (+)= sum_j F_aj d_mid_j,
/// each if wanted.
template <class T>
struct LowRankBackwardRow {
  MatrixView<const T> x;
  MatrixView<const T> first;
  MatrixView<const T> second;
  LowRankLayout layout;
  MatrixView<const T> mid;
  MatrixView<const T> d_y;
  Into<T> d_x;
  Into<T> d_first;
  Into<T> d_second;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T* const f = first.row(i);
    const T* const s = second.row(i);
    const T* const d_out = d_y.row(i);
    if (d_x.wanted() && d_x.write == Write::overwrite) REARM_SIMD_LOOP
    for (Index a = lane.first(); a < layout.d; a += L::step) d_x.view(i, a) = T{0};
    for (Index j = 0; j < layout.k; ++j) {
      T d_mid{0};
      REARM_SUM_LOOP(d_mid)
      for (Index b = lane.first(); b < layout.d; b += L::step) d_mid += d_out[b] * s[layout.second(j, b)];
      d_mid = lane.sum(d_mid);
      if (d_second.wanted()) REARM_SIMD_LOOP
      for (Index b = lane.first(); b < layout.d; b += L::step)
        store(d_second.view(i, layout.second(j, b)), mid(i, j) * d_out[b], d_second.write);
      lane.sync();  // both factors may be the same variable; an element then has a different lane in each
      if (d_first.wanted()) REARM_SIMD_LOOP
      for (Index a = lane.first(); a < layout.d; a += L::step)
        store(d_first.view(i, layout.first(a, j)), x(i, a) * d_mid, d_first.write);
      lane.sync();
      if (d_x.wanted()) REARM_SIMD_LOOP
      for (Index a = lane.first(); a < layout.d; a += L::step) d_x.view(i, a) += d_mid * f[layout.first(a, j)];
    }
  }
};

}  // namespace rearm::REARM_ABI::functors

REARM_LOOPS_END
