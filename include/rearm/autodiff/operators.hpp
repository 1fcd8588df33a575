#pragma once
/// @file operators.hpp
/// Elementwise sums and products of tape variables, as named functions and as + - *.

#include <rearm/autodiff/apply.hpp>
#include <rearm/autodiff/linear_ops.hpp>
#include <rearm/ops/broadcast.hpp>

namespace rearm::REARM_ABI {

/// y_ij = a_ij b_ij; b has a's shape, or is one row, one column or one number.
template <Backend B>
Var<B> mul(Var<B> a, Var<B> b) {
  return apply_rows(
      {a, b}, a.rows(), a.cols(), [&](Context<B>& ctx, Out<B> y) { mul(ctx, a.value(), b.value(), y); },
      [=](Context<B>& ctx, Var<B> y, auto d_a, auto d_b) {
        mul_backward(ctx, a.value(), b.value(), y.grad(), d_a, d_b);
      });
}

// Either operand of + - * may be the one row, one column or one number.
namespace detail {
/// Whether a is the operand to be repeated.
template <Backend B>
bool repeated(Var<B> a, Var<B> b) {
  return !broadcasts(a.value(), b.value()) && broadcasts(b.value(), a.value());
}
}  // namespace detail

template <Backend B>
Var<B> operator+(Var<B> a, Var<B> b) {
  return detail::repeated(a, b) ? add(b, a) : add(a, b);
}
template <Backend B>
Var<B> operator-(Var<B> a, Var<B> b) {
  return detail::repeated(a, b) ? add(scale(b, Real<B>{-1}), a) : add(a, b, Real<B>{-1});
}
template <Backend B>
Var<B> operator*(Var<B> a, Var<B> b) {
  return detail::repeated(a, b) ? mul(b, a) : mul(a, b);
}
template <Backend B>
Var<B> operator*(Real<B> alpha, Var<B> x) {
  return scale(x, alpha);
}
template <Backend B>
Var<B> operator*(Var<B> x, Real<B> alpha) {
  return scale(x, alpha);
}
template <Backend B>
Var<B> operator-(Var<B> x) {
  return scale(x, Real<B>{-1});
}

}  // namespace rearm::REARM_ABI
