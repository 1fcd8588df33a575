#pragma once
/// @file frobenius_norm.hpp
/// The root of a sum of squares, and the gradient of a row through it.

#include <rearm/functors/elementwise.hpp>

#include <cmath>

namespace rearm::REARM_ABI::functors {

/// x = sqrt(x), one value per row
template <class T>
struct RootRow {
  MatrixView<T> x;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    if (lane.leads()) x(i, 0) = std::sqrt(x(i, 0));
  }
};

/// d_x (+)= d_norm x / norm, or 0 if the norm is 0
template <class T>
struct FrobeniusNormBackwardRow {
  MatrixView<const T> x;
  const T* norm;
  const T* d_norm;
  Into<T> d_x;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T factor = *norm > T{0} ? *d_norm / *norm : T{0};
    for (Index j = lane.first(); j < x.cols; j += L::step) store(d_x.view(i, j), factor * x(i, j), d_x.write);
  }
};

}  // namespace rearm::REARM_ABI::functors
