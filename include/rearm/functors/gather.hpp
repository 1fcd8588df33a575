#pragma once
/// @file gather.hpp
/// Row functors for a gather, and for the target rows of its transpose.

#include <rearm/core/csr.hpp>
#include <rearm/core/index_list.hpp>
#include <rearm/functors/elementwise.hpp>

#include <type_traits>

namespace rearm::REARM_ABI::functors {

/// y_i = x_{ids[i]}; x may be stored in bfloat16.
template <class T, class From = T>
struct GatherRow {
  MatrixView<const From> x;
  const Id* ids;
  MatrixView<T> y;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const From* in = x.row(ids[i]);
    for (Index j = lane.first(); j < y.cols; j += L::step) {
      if constexpr (std::is_same_v<From, T>)
        y(i, j) = in[j];
      else
        y(i, j) = static_cast<T>(to_float(in[j]));
    }
  }
};

/// y_i = row ids[i] of a sparse matrix, written out.
template <class T>
struct GatherSparseRow {
  CsrView<T> a;
  const Id* ids;
  MatrixView<T> y;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    T* const out = y.row(i);
    for (Index j = lane.first(); j < y.cols; j += L::step) out[j] = T{0};
    lane.sync();
    const Index end = a.offsets[ids[i] + 1];
    for (Index e = a.offsets[ids[i]] + lane.first(); e < end; e += L::step) out[a.indices[e]] = a.values[e];
  }
};

/// For distinct id s: d_x_{id s} += the sum of the rows of d_y that were gathered from it, in ascending position. Each
/// target row has one team, so there are no races and the order of the sum is fixed.
template <class T>
struct ScatterAddRow {
  const Id* ids;
  const Id* order;        ///< positions sorted by id, stably
  const Index* segments;  ///< segment s is order[segments[s]] .. order[segments[s + 1]]
  MatrixView<const T> d_y;
  MatrixView<T> d_x;
  template <class L>
  REARM_HD void operator()(Index s, const L& lane) const {
    T* target = d_x.row(ids[order[segments[s]]]);
    for (Index e = segments[s]; e < segments[s + 1]; ++e) {
      const T* in = d_y.row(order[e]);
      for (Index j = lane.first(); j < d_x.cols; j += L::step) target[j] += in[j];
    }
  }
};

/// For distinct id s: x_id at every place of the id in y.
template <class T>
struct GatherPlacesRow {
  MatrixView<const T> x;
  IndexList ids;
  MatrixView<T> y;
  template <class L>
  REARM_HD void operator()(Index s, const L& lane) const {
    for (Index place = ids.segments[s]; place < ids.segments[s + 1]; ++place) {
      const Id p = ids.order[place];
      for (Index j = lane.first(); j < y.cols; j += L::step) y(p, j) = x(ids.ids[p], j);
    }
  }
};

/// y_{ids[i]} += x_i; the ids differ.
template <class T>
struct AddToRow {
  MatrixView<const T> x;
  const Id* ids;
  MatrixView<T> y;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    T* const out = y.row(ids[i]);
    for (Index j = lane.first(); j < x.cols; j += L::step) out[j] += x(i, j);
  }
};

/// For distinct id s: y_id = alpha times the sum of the rows of x at its places, in ascending order.
template <class T>
struct SumOfPlacesRow {
  IndexList ids;
  T alpha;
  MatrixView<const T> x;
  MatrixView<T> y;
  template <class L>
  REARM_HD void operator()(Index s, const L& lane) const {
    const Index begin = ids.segments[s], end = ids.segments[s + 1];
    if (begin == end) return;
    T* const out = y.row(ids.ids[ids.order[begin]]);
    for (Index j = lane.first(); j < y.cols; j += L::step) {
      T sum{0};
      for (Index place = begin; place < end; ++place) sum += alpha * x(ids.order[place], j);
      out[j] = sum;
    }
  }
};

/// to_i = ids_i + by
struct MoveIdRow {
  const Id* ids;
  Index by;
  Id* to;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    if (lane.leads()) to[i] = static_cast<Id>(ids[i] + by);
  }
};

/// The distinct ids of a list whose number of segments the host knows, one segment each; i runs over the segments and
/// their end.
struct DistinctIdsRow {
  IndexList all;
  Id* ids;
  Id* order;
  Index* segments;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    if (!lane.leads()) return;
    segments[i] = i;
    if (i == all.n_segments) return;
    ids[i] = all.ids[all.order[all.segments[i]]];
    order[i] = static_cast<Id>(i);
  }
};

}  // namespace rearm::REARM_ABI::functors
