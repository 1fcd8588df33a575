#pragma once
/// @file batch_norm.hpp
/// Formulas of one row for batch normalization, with or without a PReLU behind it.

#include <rearm/functors/elementwise.hpp>

#include <cmath>

REARM_LOOPS_BEGIN

namespace rearm::REARM_ABI::functors {

/// partial_j += alpha (x_ij - mean_j)^2
template <class T>
struct CenteredSquaresRow {
  T alpha;
  MatrixView<const T> x;
  const T* mean;
  template <class L>
  REARM_HD void operator()(Index i, T* partial, const L& lane) const {
    const T* const in = x.row(i);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < x.cols; j += L::step) partial[j] += alpha * (in[j] - mean[j]) * (in[j] - mean[j]);
  }
};

/// Of all `cols` columns: rstd = 1 / sqrt(variance + eps). Where there are running moments each moves by `momentum` of
/// the way, to the mean and to `unbiased` times the variance.
template <class T>
struct BatchMomentsRow {
  Index cols;
  const T* mean;
  const T* variance;
  T eps;
  T* rstd;
  T* running_mean = nullptr;
  T* running_variance = nullptr;
  T momentum = 0;
  T unbiased = 1;
  template <class L>
  REARM_HD void operator()(Index, const L& lane) const {
    for (Index j = lane.first(); j < cols; j += L::step) {
      rstd[j] = T{1} / std::sqrt(variance[j] + eps);
      if (running_mean == nullptr) continue;
      running_mean[j] += momentum * (mean[j] - running_mean[j]);
      running_variance[j] += momentum * (unbiased * variance[j] - running_variance[j]);
    }
  }
};

/// What every row of a batch norm reads. Without a slope there is no PReLU.
template <class T>
struct BatchNormInput {
  MatrixView<const T> x;
  const T* mean;
  const T* rstd;
  const T* gamma;
  const T* beta;
  const T* slope;

  REARM_HD T below() const { return slope != nullptr ? *slope : T{1}; }
};

/// y = prelu(z), z = gamma (x - mean) rstd + beta, moments, gamma and beta a number a column.
template <class T>
struct BatchNormRow {
  BatchNormInput<T> in;
  MatrixView<T> y;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T below = in.below();
    const T* const x = in.x.row(i);
    T* const out = y.row(i);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < y.cols; j += L::step) {
      const T z = in.gamma[j] * ((x[j] - in.mean[j]) * in.rstd[j]) + in.beta[j];
      out[j] = z > T{0} ? z : below * z;
    }
  }
};

/// With xhat = (x - mean) rstd and d_z = d_y (z > 0 ? 1 : slope): partial += [d_z xhat | d_z | sum over z <= 0 of z
/// d_y].
template <class T>
struct BatchNormSumsRow {
  BatchNormInput<T> in;
  MatrixView<const T> d_y;
  template <class L>
  REARM_HD void operator()(Index i, T* partial, const L& lane) const {
    const T below = in.below();
    const T* const x = in.x.row(i);
    const T* const d_out = d_y.row(i);
    const Index n = in.x.cols;
    T* const d_beta = partial + n;
    T d_slope{0};
    REARM_SUM_LOOP(d_slope)
    for (Index j = lane.first(); j < n; j += L::step) {
      const T xhat = (x[j] - in.mean[j]) * in.rstd[j];
      const T z = in.gamma[j] * xhat + in.beta[j];
      const T d_z = z > T{0} ? d_out[j] : below * d_out[j];
      d_slope += z > T{0} ? T{0} : z * d_out[j];
      partial[j] += d_z * xhat;
      d_beta[j] += d_z;
    }
    d_slope = lane.sum(d_slope);
    if (lane.leads()) partial[2 * n] += d_slope;
  }
};

/// d_x (+)= gamma rstd (d_z - share (D_beta + xhat D_gamma)), D_gamma and D_beta the sums of BatchNormSumsRow over all
/// rows and share = 1 / rows; 0 where the moments are constants.
template <class T>
struct BatchNormBackwardRow {
  BatchNormInput<T> in;
  MatrixView<const T> d_y;
  const T* d_gamma;
  const T* d_beta;
  T share;
  Into<T> d_x;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T below = in.below();
    const T* const x = in.x.row(i);
    const T* const d_out = d_y.row(i);
    T* const d_in = d_x.view.row(i);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < in.x.cols; j += L::step) {
      const T xhat = (x[j] - in.mean[j]) * in.rstd[j];
      const T z = in.gamma[j] * xhat + in.beta[j];
      const T d_z = z > T{0} ? d_out[j] : below * d_out[j];
      store(d_in[j], in.gamma[j] * in.rstd[j] * (d_z - share * (d_beta[j] + xhat * d_gamma[j])), d_x.write);
    }
  }
};

}  // namespace rearm::REARM_ABI::functors

REARM_LOOPS_END
