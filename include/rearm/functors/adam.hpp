#pragma once
/// @file adam.hpp
/// One element's update of Adam (Kingma & Ba, ICLR'15) with decoupled decay (Loshchilov & Hutter, ICLR'19).

#include <rearm/core/matrix_view.hpp>

#include <cmath>

namespace rearm::functors {

/// m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  p = p (1 - lr wd) - (lr / c1) m / (sqrt(v) / sqrt(c2) + eps),
/// c = 1 - b^t.
template <class T>
struct AdamUpdate {
  T beta1;
  T beta2;
  T eps;
  T keep;                      ///< 1 - lr wd
  T step_size;                 ///< lr / (1 - b1^t)
  T inverse_sqrt_correction2;  ///< 1 / sqrt(1 - b2^t)
  REARM_HD void operator()(T& p, T& m, T& v, T g) const {
    m = beta1 * m + (T{1} - beta1) * g;
    v = beta2 * v + (T{1} - beta2) * g * g;
    p = p * keep - step_size * m / (std::sqrt(v) * inverse_sqrt_correction2 + eps);
  }
};

template <class T>
struct AdamRow {
  AdamUpdate<T> update;
  MatrixView<T> value;
  MatrixView<T> moment1;
  MatrixView<T> moment2;
  MatrixView<const T> grad;
  REARM_HD void operator()(Index i) const {
    T* REARM_RESTRICT p = value.row(i);
    T* REARM_RESTRICT m = moment1.row(i);
    T* REARM_RESTRICT v = moment2.row(i);
    const T* REARM_RESTRICT g = grad.row(i);
    REARM_SIMD_LOOP
    for (Index j = 0; j < value.cols; ++j) update(p[j], m[j], v[j], g[j]);
  }
};

}  // namespace rearm::functors
