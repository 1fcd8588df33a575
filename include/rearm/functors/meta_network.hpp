#pragma once
/// @file meta_network.hpp
/// What the meta network does to one node's row between its products (ops/meta_network.hpp).

#include <rearm/functors/low_rank.hpp>
#include <rearm/functors/normalize.hpp>
#include <rearm/functors/softmax.hpp>

REARM_LOOPS_BEGIN

namespace rearm::functors {

/// y <- (y + bias) / max(|y + bias|, eps), norm keeps the length; partial += alpha y, for the mean of all rows.
template <class T>
struct MetaUnitRow {
  MatrixView<T> y;
  const T* bias;
  T eps;
  T* norm;
  T alpha;
  template <class L>
  REARM_HD void operator()(Index i, T* partial, const L& lane) const {
    T* const row = y.row(i);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < y.cols; j += L::step) row[j] += bias[j];
    RowNormalize<T>{y, eps, y, norm}(i, lane);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < y.cols; j += L::step) partial[j] += alpha * row[j];
  }
};

/// d, what reaches a unit row but through the mean, becomes the gradient before the normalisation; `d_mean` comes
/// through the mean. partial += the new d: the bias's gradient.
template <class T>
struct MetaUnitBackwardRow {
  MatrixView<const T> unit;
  const T* norm;
  T eps;
  const T* d_mean;
  MatrixView<T> d;
  template <class L>
  REARM_HD void operator()(Index i, T* partial, const L& lane) const {
    T* const row = d.row(i);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < d.cols; j += L::step) row[j] += d_mean[j];
    RowNormalizeBackward<T>{unit, norm, eps, d, d}(i, lane);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < d.cols; j += L::step) partial[j] += row[j];
  }
};

/// A thin matrix of a node: the softmax of its unit row plus the mean of all.
template <class T>
struct MetaFactorRow {
  MatrixView<const T> unit;
  const T* mean;
  Index axis;
  Index inner;
  MatrixView<T> w;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < w.cols; j += L::step) w(i, j) = unit(i, j) + mean[j];
    lane.sync();
    SoftmaxRow<T>{w, axis, inner, w}(i, lane);
    lane.sync();
  }
};

/// Both thin matrices of a node and its id through them: mid = id W1, share = mid W2.
template <class T>
struct MetaShareRow {
  MetaFactorRow<T> factor1;
  MetaFactorRow<T> factor2;
  MatrixView<const T> id;
  MatrixView<T> mid;
  MatrixView<T> share;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    factor1(i, lane);
    factor2(i, lane);
    const LowRankLayout layout{id.cols, mid.cols, LowRankOrder::left_to_right};
    LowRankRow<T>{id, factor1.w, factor2.w, layout, mid, share}(i, lane);
  }
};

/// Back from the share to the ids and to d_z, the gradients before both softmaxes. partial = alpha [d_z1 | d_z2] added
/// up: the gradients of the two means.
template <class T>
struct MetaShareBackwardRow {
  MetaFactorRow<T> factor1;
  MetaFactorRow<T> factor2;
  MatrixView<const T> id;
  MatrixView<const T> mid;
  MatrixView<const T> d_share;
  Into<T> d_id;
  MatrixView<T> d_z1;
  MatrixView<T> d_z2;
  T alpha;
  template <class L>
  REARM_HD void operator()(Index i, T* partial, const L& lane) const {
    factor1(i, lane);
    factor2(i, lane);
    const LowRankLayout layout{id.cols, mid.cols, LowRankOrder::left_to_right};
    LowRankBackwardRow<T>{id, factor1.w, factor2.w, layout, mid, d_share, d_id, d_z1, d_z2}(i, lane);
    lane.sync();
    before_softmax(i, factor1, d_z1, partial, lane);
    before_softmax(i, factor2, d_z2, partial + d_z1.cols, lane);
  }

 private:
  template <class L>
  REARM_HD void before_softmax(Index i, const MetaFactorRow<T>& factor, const MatrixView<T>& d, T* partial,
                               const L& lane) const {
    SoftmaxBackwardRow<T>{factor.w, factor.axis, factor.inner, d, d}(i, lane);
    lane.sync();
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < d.cols; j += L::step) partial[j] += alpha * d(i, j);
  }
};

}  // namespace rearm::functors

REARM_LOOPS_END
