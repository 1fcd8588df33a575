#pragma once
/// @file edge_attention.hpp
/// Formulas of one row or column of a sparse matrix whose values are weights of edges.

#include <rearm/functors/elementwise.hpp>
#include <rearm/functors/exp.hpp>

#include <cmath>

REARM_LOOPS_BEGIN

namespace rearm::REARM_ABI::functors {

/// p_e = exp(v_e) / sum over the entries of row i of exp(v), computed relative to the row's largest v. p may be v.
template <class T>
struct EdgeSoftmaxRow {
  const Index* offsets;
  const T* v;
  T* p;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const Index begin = offsets[i] + lane.first(), end = offsets[i + 1];
    T top = -static_cast<T>(INFINITY);
    REARM_MAX_LOOP(top)
    for (Index e = begin; e < end; e += L::step) top = v[e] > top ? v[e] : top;
    top = lane.max(top);
    T sum{0};
    REARM_SUM_LOOP(sum)
    for (Index e = begin; e < end; e += L::step) {
      const T power = fast_exp(v[e] - top);
      p[e] = power;
      sum += power;
    }
    sum = lane.sum(sum);
    REARM_SIMD_LOOP
    for (Index e = begin; e < end; e += L::step) p[e] /= sum;
  }
};

/// d_v_e (+)= p_e (d_p_e - sum over the entries of row i of p d_p)
template <class T>
struct EdgeSoftmaxBackwardRow {
  const Index* offsets;
  const T* p;
  const T* d_p;
  T* d_v;
  Write write;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const Index begin = offsets[i] + lane.first(), end = offsets[i + 1];
    T dot{0};
    REARM_SUM_LOOP(dot)
    for (Index e = begin; e < end; e += L::step) dot += p[e] * d_p[e];
    dot = lane.sum(dot);
    REARM_SIMD_LOOP
    for (Index e = begin; e < end; e += L::step) store(d_v[e], p[e] * (d_p[e] - dot), write);
  }
};

/// y_e (+)= v_e s_j for every entry e = (i, j) of row i, v the values of `at`.
template <class T>
struct ScaleColumnsRow {
  CsrView<T> at;
  MatrixView<const T> s;
  T* y;
  Write write;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    for (Index e = at.offsets[i] + lane.first(); e < at.offsets[i + 1]; e += L::step)
      store(y[e], at.values[e] * s(at.indices[e], 0), write);
  }
};

/// y_j (+)= sum over the entries e of column j of a_e b_e. Offsets are those of the transpose; its entry t is number
/// numbers[t] of the matrix.
template <class T>
struct EdgeColumnDotRow {
  const Index* offsets;
  const Index* numbers;
  const T* a;
  const T* b;
  Into<T> y;
  template <class L>
  REARM_HD void operator()(Index j, const L& lane) const {
    T sum{0};
    for (Index t = offsets[j] + lane.first(); t < offsets[j + 1]; t += L::step) sum += a[numbers[t]] * b[numbers[t]];
    sum = lane.sum(sum);
    if (lane.leads()) store(y.view(j, 0), sum, y.write);
  }
};

}  // namespace rearm::REARM_ABI::functors

REARM_LOOPS_END
