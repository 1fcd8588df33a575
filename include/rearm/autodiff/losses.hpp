#pragma once
/// @file losses.hpp
/// BPR and InfoNCE on tape variables; see ops.hpp.

#include <rearm/autodiff/tape.hpp>
#include <rearm/ops/bpr.hpp>
#include <rearm/ops/info_nce.hpp>

namespace rearm {

/// scale sum_i -log sigmoid(u_i . (p_i - n_i)), 1 x 1.
template <Backend B>
Var<B> bpr(Var<B> user, Var<B> positive, Var<B> negative, Real<B> scale) {
  Tape<B>& tape = user.tape();
  Var<B> y = tape.make(1, 1, user.requires_grad() || positive.requires_grad() || negative.requires_grad());
  bpr(tape.context(), user.value(), positive.value(), negative.value(), scale, y.value());
  tape.record(y, [=, t = &tape] {
    using T = Real<B>;
    Into<T> slots[3] = {t->slot(user), t->slot(positive), t->slot(negative)};
    for (int i = 0; i < 3; ++i)
      if (!slots[i].wanted()) slots[i] = {t->context().arena().template matrix<T>(user.rows(), user.cols())};
    bpr_backward(t->context(), user.value(), positive.value(), negative.value(), scale, y.grad(), slots[0], slots[1],
                 slots[2]);
  });
  return y;
}

/// sum_r w (log sum_s exp(a_r . b_s / temperature) - a_r . b_r / temperature), unit rows, 1 x 1.
template <Backend B>
Var<B> info_nce(Var<B> a, Var<B> b, const InfoNceScale<Real<B>>& scale) {
  using T = Real<B>;
  Tape<B>& tape = a.tape();
  Var<B> y = tape.make(1, 1, a.requires_grad() || b.requires_grad());
  T* lse = tape.context().arena().template allocate<T>(a.rows());
  info_nce(tape.context(), a.value(), b.value(), scale, lse, y.value());
  tape.record(y, [=, t = &tape] {
    const auto d_a = t->slot(a);
    const auto d_b = t->slot(b);
    info_nce_backward(t->context(), a.value(), b.value(), scale, lse, y.grad(), d_a, d_b);
  });
  return y;
}
template <Backend B>
Var<B> info_nce(Var<B> a, Var<B> b, Real<B> temperature, Real<B> weight) {
  return info_nce(a, b, info_nce_scale(temperature, weight));
}

}  // namespace rearm
