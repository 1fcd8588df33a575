#pragma once
/// @file orthogonal.hpp
/// Orthogonality between modalities (paper eq. 17), in the authors' form and as printed.

#include <rearm/autodiff/ops.hpp>

namespace rearm::REARM_ABI {

/// The authors' form: mean of the squared entries of V^T T (d x d), rows of V and T centered by the column mean and
/// divided by (norm + 1e-6), the norm a constant.
template <Backend B>
Var<B> batch_orthogonality(Var<B> v, Var<B> t, double scale) {
  using T = Real<B>;
  const auto centered_unit = [](Var<B> x) { return row_scale_detached(add(x, column_mean(x), T{-1}), T(1e-6)); };
  const Var<B> product = gemm(Op::transpose, Op::none, T{1}, centered_unit(v), centered_unit(t));
  return sum_of_squares(product, static_cast<T>(scale / static_cast<double>(v.cols() * v.cols())));
}

/// Printed form: sum over rows of (v . t)^2.
template <Backend B>
Var<B> row_orthogonality(Var<B> v, Var<B> t, double scale) {
  return sum_of_squares(row_dot(v, t), static_cast<Real<B>>(scale));
}

}  // namespace rearm::REARM_ABI
