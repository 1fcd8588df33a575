#pragma once
/// @file orthogonal.hpp
/// Orthogonality between modalities (paper eq. 17), in the authors' form and as printed.

#include <rearm/autodiff/ops.hpp>
#include <rearm/model/config.hpp>

#include <span>

namespace rearm {

/// Authors' form: mean of the squared entries of V^T T (d x d), rows of V and T centered by the column mean and divided
/// by (norm + 1e-6), the norm a constant.
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

/// The variant's form, averaged over all unordered pairs of the given modalities. One modality: an empty Var.
template <Backend B>
Var<B> modality_orthogonality(std::span<const Var<B>> modal, Variant variant, double scale) {
  if (modal.size() < 2) return {};
  const double share = scale / static_cast<double>(modal.size() * (modal.size() - 1) / 2);
  Var<B> total;
  for (std::size_t a = 0; a < modal.size(); ++a)
    for (std::size_t b = a + 1; b < modal.size(); ++b) {
      const Var<B> loss = variant == Variant::reference ? batch_orthogonality(modal[a], modal[b], share)
                                                        : row_orthogonality(modal[a], modal[b], share);
      total = total.empty() ? loss : add(total, loss);
    }
  return total;
}

}  // namespace rearm
