#pragma once
/// @file map.hpp
/// The elementwise family on tape variables; functors/map.hpp has the functions, their accuracy and their domains.

#include <rearm/autodiff/apply.hpp>
#include <rearm/ops/map.hpp>

namespace rearm::REARM_ABI {

/// f of every element: map<Sigmoid>(x), or map(x, LeakyRelu{0.2}) for a function with a constant.
template <class F, Backend B>
Var<B> map(Var<B> x, const F& f = {}) {
  return apply_rows(
      {x}, x.rows(), x.cols(), [&](Context<B>& ctx, Out<B> y) { map(ctx, x.value(), y, f); },
      [=](Context<B>& ctx, Var<B> y, auto d_x) { map_backward(ctx, x.value(), y.value(), y.grad(), d_x, f); });
}

template <Backend B>
Var<B> sigmoid(Var<B> x) {
  return map<functors::Sigmoid>(x);
}
template <Backend B>
Var<B> tanh(Var<B> x) {
  return map<functors::Tanh>(x);
}
template <Backend B>
Var<B> exp(Var<B> x) {
  return map<functors::Exp>(x);
}
template <Backend B>
Var<B> log(Var<B> x) {
  return map<functors::Log>(x);
}
template <Backend B>
Var<B> sqrt(Var<B> x) {
  return map<functors::Sqrt>(x);
}
/// x^(-1/2) where x > 0, else 0.
template <Backend B>
Var<B> inverse_sqrt(Var<B> x) {
  return map<functors::InverseSqrt>(x);
}
template <Backend B>
Var<B> square(Var<B> x) {
  return map<functors::Square>(x);
}
template <Backend B>
Var<B> softplus(Var<B> x) {
  return map<functors::Softplus>(x);
}
template <Backend B>
Var<B> relu(Var<B> x) {
  return map<functors::Relu>(x);
}
/// x where x > 0, `below` x elsewhere; for a learned slope use prelu.
template <Backend B>
Var<B> leaky_relu(Var<B> x, double below = 0.01) {
  return map(x, functors::LeakyRelu{below});
}

}  // namespace rearm::REARM_ABI
