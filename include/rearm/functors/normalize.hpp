#pragma once
/// @file normalize.hpp
/// Row functors for L2 normalization and LayerNorm.

#include <rearm/functors/elementwise.hpp>

#include <cmath>

REARM_LOOPS_BEGIN

namespace rearm::REARM_ABI::functors {

/// |x|, for every lane.
template <class T, class L>
REARM_HD T row_length(const T* x, Index cols, const L& lane) {
  T square{0};
  REARM_SUM_LOOP(square)
  for (Index j = lane.first(); j < cols; j += L::step) square += x[j] * x[j];
  return std::sqrt(lane.sum(square));
}

/// y = x / max(|x|, eps); norm keeps |x|.
template <class T>
struct NormalizeRow {
  MatrixView<const T> x;
  T eps;
  MatrixView<T> y;
  T* norm;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T* const in = x.row(i);
    const T length = row_length(in, x.cols, lane);
    if (lane.leads()) norm[i] = length;
    const T inverse = T{1} / (length > eps ? length : eps);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < x.cols; j += L::step) y(i, j) = in[j] * inverse;
  }
};

/// d_x (+)= (d_y - y (y . d_y)) / |x|; d_x (+)= d_y / eps where |x| <= eps.
template <class T>
struct NormalizeBackwardRow {
  MatrixView<const T> y;
  const T* norm;
  T eps;
  MatrixView<const T> d_y;
  Into<T> d_x;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T* const unit = y.row(i);
    const T* const d_out = d_y.row(i);
    T* const d_in = d_x.view.row(i);
    const bool constant = !(norm[i] > eps);
    const T inverse = T{1} / (constant ? eps : norm[i]);
    T dot{0};
    REARM_SUM_LOOP(dot)
    for (Index j = lane.first(); j < y.cols; j += L::step) dot += unit[j] * d_out[j];
    dot = constant ? T{0} : lane.sum(dot);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < y.cols; j += L::step)
      store(d_in[j], (d_out[j] - dot * unit[j]) * inverse, d_x.write);
  }
};

/// y = x / (|x| + eps); `divisor` keeps |x| + eps, which the gradient treats as a constant.
template <class T>
struct ScaleDetachedRow {
  MatrixView<const T> x;
  T eps;
  MatrixView<T> y;
  T* divisor;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T* const in = x.row(i);
    const T divide_by = row_length(in, x.cols, lane) + eps;
    if (lane.leads()) divisor[i] = divide_by;
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < x.cols; j += L::step) y(i, j) = in[j] / divide_by;
  }
};

/// d_x (+)= d_y / divisor
template <class T>
struct ScaleDetachedBackwardRow {
  const T* divisor;
  MatrixView<const T> d_y;
  Into<T> d_x;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < d_y.cols; j += L::step) store(d_x.view(i, j), d_y(i, j) / divisor[i], d_x.write);
  }
};

/// y = gamma (x - mean) rstd + beta, with the row's mean and rstd = 1 / sqrt(var + eps), var the biased variance. With
/// a slope: the PReLU of that.
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
    const T* const in = x.row(i);
    T sum{0};
    REARM_SUM_LOOP(sum)
    for (Index j = lane.first(); j < x.cols; j += L::step) sum += in[j];
    const T mu = lane.sum(sum) / n;
    T square{0};
    REARM_SUM_LOOP(square)
    for (Index j = lane.first(); j < x.cols; j += L::step) square += (in[j] - mu) * (in[j] - mu);
    const T r = T{1} / std::sqrt(lane.sum(square) / n + eps);
    const T below = slope != nullptr ? *slope : T{1};
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < x.cols; j += L::step) {
      const T z = gamma[j] * ((in[j] - mu) * r) + beta[j];
      y(i, j) = z > T{0} ? z : below * z;
    }
    if (lane.leads()) {
      mean[i] = mu;
      rstd[i] = r;
    }
  }
};

/// All gradients of LayerNormRow in one pass. With xhat = (x - mean) rstd, z = gamma xhat + beta,
/// d_z = d_y (z > 0 ? 1 : slope) and g = gamma d_z: row i of d_x (+)= rstd (g - mean(g) - xhat mean(g xhat)) if it is
/// wanted, and partial += [d_gamma | d_beta | d_slope] = [d_z xhat | d_z | sum over z <= 0 of z d_y]. Without a slope
/// d_z = d_y, and beta is not read.
template <class T>
struct LayerNormBackwardRow {
  MatrixView<const T> x;
  const T* gamma;
  const T* beta;
  const T* slope;
  const T* mean;
  const T* rstd;
  MatrixView<const T> d_y;
  Into<T> d_x;
  template <class L>
  REARM_HD void operator()(Index i, T* partial, const L& lane) const {
    if (slope != nullptr)
      row<true>(i, partial, lane, *slope);
    else
      row<false>(i, partial, lane, T{1});
  }

 private:
  template <bool Activated, class L>
  REARM_HD void row(Index i, T* partial, const L& lane, T below) const {
    const T n = static_cast<T>(x.cols);
    const T mu = mean[i];
    const T r = rstd[i];
    const T* const in = x.row(i);
    const T* const d_out = d_y.row(i);
    const T* const scale = gamma;
    const T* const shift = Activated ? beta : gamma;
    T* const d_beta = partial + x.cols;
    T sum{0};
    T dot{0};
    T d_slope{0};
    REARM_SUM_LOOP(sum, dot, d_slope)
    for (Index j = lane.first(); j < x.cols; j += L::step) {
      const T xhat = (in[j] - mu) * r;
      const T z = scale[j] * xhat + shift[j];
      const T above = !Activated || z > T{0} ? T{1} : T{0};
      const T d_z = (above + (T{1} - above) * below) * d_out[j];
      d_slope += (T{1} - above) * z * d_out[j];
      sum += scale[j] * d_z;
      dot += scale[j] * d_z * xhat;
      partial[j] += d_z * xhat;
      d_beta[j] += d_z;
    }
    sum = lane.sum(sum);
    dot = lane.sum(dot);
    d_slope = lane.sum(d_slope);
    if (lane.leads()) partial[2 * x.cols] += d_slope;
    if (!d_x.wanted()) return;
    T* const d_in = d_x.view.row(i);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < x.cols; j += L::step) {
      const T xhat = (in[j] - mu) * r;
      const T z = scale[j] * xhat + shift[j];
      const T d_z = !Activated || z > T{0} ? d_out[j] : below * d_out[j];
      store(d_in[j], r * (scale[j] * d_z - sum / n - xhat * dot / n), d_x.write);
    }
  }
};

}  // namespace rearm::REARM_ABI::functors

REARM_LOOPS_END
