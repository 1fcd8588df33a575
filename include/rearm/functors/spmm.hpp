#pragma once
/// @file spmm.hpp
/// Row functors for sparse products of which some rows are read, and for their transposes.

#include <rearm/core/csr.hpp>
#include <rearm/core/index_list.hpp>
#include <rearm/functors/elementwise.hpp>

REARM_LOOPS_BEGIN

namespace rearm::REARM_ABI::functors {

/// For distinct id s: alpha (A x + addend)_id at every place of the id in y; `addend` may have no data.
template <class T>
struct GatherSpmmRow {
  CsrView<T> a;
  MatrixView<const T> x;
  MatrixView<const T> addend;
  T alpha;
  IndexList rows;
  MatrixView<T> y;
  template <class L>
  REARM_HD void operator()(Index s, const L& lane) const {
    const Index begin = rows.segments[s], end = rows.segments[s + 1];
    if (begin == end) return;
    const Index i = rows.ids[rows.order[begin]];
    for (Index j = lane.first(); j < y.cols; j += L::step) {
      T sum{0};
      for (Index e = a.offsets[i]; e < a.offsets[i + 1]; ++e) sum += a.values[e] * x(a.indices[e], j);
      if (addend.data != nullptr) sum += addend(i, j);
      for (Index place = begin; place < end; ++place) y(rows.order[place], j) = alpha * sum;
    }
  }
};

/// row_of <- none, `width` entries a call; `zero`, a row of `cols` entries, <- 0.
template <class T>
struct NoRowsRow {
  static constexpr Index width = 1024;
  Id* row_of;
  Index n;
  Id none;
  T* zero;
  Index cols;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const Index end = (i + 1) * width < n ? (i + 1) * width : n;
    for (Index j = i * width + lane.first(); j < end; j += L::step) row_of[j] = none;
    if (i > 0) return;
    for (Index j = lane.first(); j < cols; j += L::step) zero[j] = T{0};
  }
};

/// For distinct id s: sums_s = alpha times the sum of the rows of d_y at its places, in ascending order;
/// row_of[id] = s.
template <class T>
struct SumPlacesRow {
  IndexList rows;
  T alpha;
  MatrixView<const T> d_y;
  MatrixView<T> sums;
  Id* row_of;
  template <class L>
  REARM_HD void operator()(Index s, const L& lane) const {
    const Index begin = rows.segments[s], end = rows.segments[s + 1];
    if (begin == end) return;
    if (lane.leads()) row_of[rows.ids[rows.order[begin]]] = static_cast<Id>(s);
    T* const sum = sums.row(s);
    for (Index place = begin; place < end; ++place) {
      const T* const in = d_y.row(rows.order[place]);
      if (place == begin) {
        REARM_SIMD_LOOP
        for (Index j = lane.first(); j < sums.cols; j += L::step) sum[j] = alpha * in[j];
      } else {
        REARM_SIMD_LOOP
        for (Index j = lane.first(); j < sums.cols; j += L::step) sum[j] += alpha * in[j];
      }
    }
  }
};

/// y_i (+)= sum_e a_ie x_{row_of[e]}
template <class T>
struct SpmmOfRowsRow {
  CsrView<T> a;
  const Id* row_of;
  MatrixView<const T> x;
  Into<T> y;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    for (Index j = lane.first(); j < x.cols; j += L::step) {
      T sum{0};
      for (Index e = a.offsets[i]; e < a.offsets[i + 1]; ++e) sum += a.values[e] * x(row_of[a.indices[e]], j);
      store(y.view(i, j), sum, y.write);
    }
  }
};

/// y_i += x_{row_of[i]}
template <class T>
struct AddRowOfRow {
  const Id* row_of;
  MatrixView<const T> x;
  MatrixView<T> y;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T* const in = x.row(row_of[i]);
    T* const out = y.row(i);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < x.cols; j += L::step) out[j] += in[j];
  }
};

/// first(i), then second(i), which may read what first wrote in row i.
template <class First, class Second>
struct RowThenRow {
  First first;
  Second second;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    first(i, lane);
    lane.sync();
    second(i, lane);
  }
};

}  // namespace rearm::REARM_ABI::functors

REARM_LOOPS_END
