#pragma once
/// @file meta_network_rows.hpp
/// Formulas of one node's row in the meta network, between its dense products (meta_network_operator.hpp).

#include <rearm/functors/low_rank.hpp>
#include <rearm/functors/normalize.hpp>
#include <rearm/functors/softmax.hpp>

REARM_LOOPS_BEGIN

namespace rearm::REARM_ABI::functors {

/// The columns of a row that belong to one lane of a device, in registers: all loads are under way at once, and a
/// formula of several passes reads the row once. For rows of up to `most` columns; those beyond the row's count as 0.
template <class T, class L>
class HeldRow {
 public:
  static constexpr int n = 6;
  static constexpr Index most = n * L::step;
  REARM_HD HeldRow(const T* row, Index cols, const L& lane) : first_(lane.first()), cols_(cols) {
    REARM_UNROLL
    for (int t = 0; t < n; ++t) x_[t] = at(t) < cols ? row[at(t)] : T{0};
  }
  REARM_HD T& operator[](int t) { return x_[t]; }
  REARM_HD T operator[](int t) const { return x_[t]; }
  /// Calls f(column, element) for the lane's columns.
  template <class F>
  REARM_HD void for_each(const F& f) const {
    REARM_UNROLL
    for (int t = 0; t < n; ++t)
      if (at(t) < cols_) f(at(t), x_[t]);
  }

 private:
  REARM_HD Index at(int t) const { return first_ + t * L::step; }
  Index first_, cols_;
  T x_[n];
};

/// y <- (y + bias) / max(|y + bias|, eps); norm keeps |y + bias|; partial += alpha y, for the mean over all rows.
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
    if constexpr (L::step > 1)
      if (y.cols <= HeldRow<T, L>::most) return held(row, i, partial, lane);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < y.cols; j += L::step) row[j] += bias[j];
    NormalizeRow<T>{y, eps, y, norm}(i, lane);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < y.cols; j += L::step) partial[j] += alpha * row[j];
  }

 private:
  template <class L>
  REARM_HD void held(T* row, Index i, T* partial, const L& lane) const {
    HeldRow<T, L> x(row, y.cols, lane);
    const HeldRow<T, L> added(bias, y.cols, lane);
    T square{0};
    REARM_UNROLL
    for (int t = 0; t < x.n; ++t) {
      x[t] += added[t];
      square += x[t] * x[t];
    }
    const T length = std::sqrt(lane.sum(square));
    if (lane.leads()) norm[i] = length;
    const T inverse = T{1} / (length > eps ? length : eps);
    x.for_each([&](Index j, T element) {
      const T unit = element * inverse;
      row[j] = unit;
      partial[j] += alpha * unit;
    });
  }
};

/// The backward pass of MetaUnitRow. d comes in as the gradient of the unit row without the part through the mean,
/// which is `d_mean`, and goes out as the gradient before normalization. partial += the new d, the bias's gradient.
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
    if constexpr (L::step > 1)
      if (d.cols <= HeldRow<T, L>::most) return held(row, i, partial, lane);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < d.cols; j += L::step) row[j] += d_mean[j];
    NormalizeBackwardRow<T>{unit, norm, eps, d, d}(i, lane);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < d.cols; j += L::step) partial[j] += row[j];
  }

 private:
  template <class L>
  REARM_HD void held(T* row, Index i, T* partial, const L& lane) const {
    HeldRow<T, L> g(row, d.cols, lane);
    const HeldRow<T, L> of_mean(d_mean, d.cols, lane), y(unit.row(i), d.cols, lane);
    const T length = norm[i];
    const bool constant = !(length > eps);
    const T inverse = T{1} / (constant ? eps : length);
    T dot{0};
    REARM_UNROLL
    for (int t = 0; t < g.n; ++t) {
      g[t] += of_mean[t];
      dot += y[t] * g[t];
    }
    dot = constant ? T{0} : lane.sum(dot);
    REARM_UNROLL
    for (int t = 0; t < g.n; ++t) g[t] = (g[t] - dot * y[t]) * inverse;
    g.for_each([&](Index j, T element) {
      row[j] = element;
      partial[j] += element;
    });
  }
};

/// One thin matrix of a node: w = softmax(unit row + mean of all unit rows) along the axis of `axis` entries, `inner`
/// apart.
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

/// Both thin matrices of a node, and its id times them: mid = id W1, share = mid W2.
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

/// The backward pass of MetaShareRow: d_id (+)= (d_share W2^T) W1^T, and d_z1, d_z2, the gradients before the two
/// softmaxes. partial += alpha [d_z1 | d_z2], the gradients of the two means.
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

}  // namespace rearm::REARM_ABI::functors

REARM_LOOPS_END
