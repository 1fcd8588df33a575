#pragma once
/// @file normalize.hpp
/// Formulas of one row for L2 normalisation and LayerNorm.

#include <rearm/functors/elementwise.hpp>

#include <cmath>

REARM_LOOPS_BEGIN

namespace rearm::functors {

/// y = x / max(|x|, eps); norm keeps |x|.
template <class T>
struct RowNormalize {
  MatrixView<const T> x;
  T eps;
  MatrixView<T> y;
  T* norm;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    T square{0};
    REARM_SUM_LOOP(square)
    for (Index j = lane.first(); j < x.cols; j += L::step) square += x(i, j) * x(i, j);
    const T length = std::sqrt(lane.sum(square));
    if (lane.leads()) norm[i] = length;
    const T inverse = T{1} / (length > eps ? length : eps);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < x.cols; j += L::step) y(i, j) = x(i, j) * inverse;
  }
};

/// d_x (+)= (d_y - y (y . d_y)) / |x|; below eps the norm is the constant eps.
template <class T>
struct RowNormalizeBackward {
  MatrixView<const T> y;
  const T* norm;
  T eps;
  MatrixView<const T> d_y;
  MatrixView<T> d_x;
  Write write;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    T dot{0};
    if (norm[i] > eps) REARM_SUM_LOOP(dot)
    for (Index j = lane.first(); j < y.cols; j += L::step) dot += y(i, j) * d_y(i, j);
    dot = lane.sum(dot);
    const T inverse = T{1} / (norm[i] > eps ? norm[i] : eps);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < y.cols; j += L::step)
      store(d_x(i, j), (d_y(i, j) - dot * y(i, j)) * inverse, write);
  }
};

/// y = x / (|x| + eps) with the divisor taken as a constant; `divisor` keeps it.
template <class T>
struct RowScaleDetached {
  MatrixView<const T> x;
  T eps;
  MatrixView<T> y;
  T* divisor;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    T square{0};
    REARM_SUM_LOOP(square)
    for (Index j = lane.first(); j < x.cols; j += L::step) square += x(i, j) * x(i, j);
    const T divide_by = std::sqrt(lane.sum(square)) + eps;
    if (lane.leads()) divisor[i] = divide_by;
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < x.cols; j += L::step) y(i, j) = x(i, j) / divide_by;
  }
};

template <class T>
struct RowScaleDetachedBackward {
  const T* divisor;
  MatrixView<const T> d_y;
  MatrixView<T> d_x;
  Write write;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < d_x.cols; j += L::step) store(d_x(i, j), d_y(i, j) / divisor[i], write);
  }
};

/// y = gamma (x - mean) rstd + beta over the row, rstd = 1 / sqrt(var + eps), var biased; with a slope: PReLU of that.
template <class T>
struct LayerNormRow {
  MatrixView<const T> x;
  const T* gamma;
  const T* beta;
  T eps;
  MatrixView<T> y;
  T* mean;
  T* rstd;
  const T* slope = nullptr;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T n = static_cast<T>(x.cols);
    T sum{0};
    REARM_SUM_LOOP(sum)
    for (Index j = lane.first(); j < x.cols; j += L::step) sum += x(i, j);
    const T mu = lane.sum(sum) / n;
    T square{0};
    REARM_SUM_LOOP(square)
    for (Index j = lane.first(); j < x.cols; j += L::step) square += (x(i, j) - mu) * (x(i, j) - mu);
    const T r = T{1} / std::sqrt(lane.sum(square) / n + eps);
    const T below = slope != nullptr ? *slope : T{1};
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < x.cols; j += L::step) {
      const T z = gamma[j] * ((x(i, j) - mu) * r) + beta[j];
      y(i, j) = z > T{0} ? z : below * z;
    }
    if (lane.leads()) {
      mean[i] = mu;
      rstd[i] = r;
    }
  }
};

/// All gradients of LayerNormRow in one pass: with g = gamma d_z, d_z = d_y (z > 0 ? 1 : slope) and xhat =
/// (x - mean) rstd, row i of d_x (+)= rstd (g - mean(g) - xhat mean(g xhat)) where d_x has data, and
/// partial = [d_gamma | d_beta | d_slope]. Without a slope d_z = d_y, and beta is not needed.
template <class T>
struct LayerNormBackwardRow {
  MatrixView<const T> x;
  const T* gamma;
  const T* beta;
  const T* slope;
  const T* mean;
  const T* rstd;
  MatrixView<const T> d_y;
  MatrixView<T> d_x;
  Write write;
  template <class L>
  REARM_HD void operator()(Index i, T* partial, const L& lane) const {
    const T n = static_cast<T>(x.cols);
    const T below = slope != nullptr ? *slope : T{1};
    T sum{0};
    T dot{0};
    T d_slope{0};
    REARM_SUM_LOOP(sum, dot, d_slope)
    for (Index j = lane.first(); j < x.cols; j += L::step) {
      const T xhat = (x(i, j) - mean[i]) * rstd[i];
      const T z = gamma[j] * xhat + (beta != nullptr ? beta[j] : T{0});
      const T d_z = z > T{0} ? d_y(i, j) : below * d_y(i, j);
      const T through_slope = z * d_y(i, j);
      d_slope += z > T{0} ? T{0} : through_slope;
      sum += gamma[j] * d_z;
      dot += gamma[j] * d_z * xhat;
      partial[j] += d_z * xhat;
      partial[x.cols + j] += d_z;
    }
    sum = lane.sum(sum);
    dot = lane.sum(dot);
    d_slope = lane.sum(d_slope);
    if (lane.leads()) partial[2 * x.cols] += d_slope;
    if (d_x.data == nullptr) return;
    for (Index j = lane.first(); j < x.cols; j += L::step) {
      const T xhat = (x(i, j) - mean[i]) * rstd[i];
      const T z = gamma[j] * xhat + (beta != nullptr ? beta[j] : T{0});
      const T d_z = z > T{0} ? d_y(i, j) : below * d_y(i, j);
      store(d_x(i, j), rstd[i] * (gamma[j] * d_z - sum / n - xhat * dot / n), write);
    }
  }
};

}  // namespace rearm::functors

REARM_LOOPS_END
