#pragma once
/// @file losses.hpp
/// BPR and InfoNCE on tape variables; see ops.hpp.

#include <rearm/autodiff/apply.hpp>
#include <rearm/core/index_list.hpp>
#include <rearm/ops/bpr.hpp>
#include <rearm/ops/info_nce.hpp>

#include <array>

namespace rearm::REARM_ABI {

/// scale sum_i -log(epsilon + sigmoid(u_i . (p_i - n_i))), 1 x 1.
template <Backend B>
Var<B> bpr(Var<B> user, Var<B> positive, Var<B> negative, Real<B> scale, Real<B> epsilon = 0) {
  using T = Real<B>;
  return apply_sum(
      {user, positive, negative}, 1, 1,
      [&](Context<B>& ctx, Out<B> y) { bpr(ctx, user.value(), positive.value(), negative.value(), scale, y, epsilon); },
      [=](Context<B>& ctx, Var<B> y, Into<T> d_user, Into<T> d_positive, Into<T> d_negative) {
        for (Into<T>* d : {&d_user, &d_positive, &d_negative})  // the operator writes all three
          if (!d->wanted()) *d = ctx.arena().template matrix<T>(user.value().rows, user.cols());
        bpr_backward(ctx, user.value(), positive.value(), negative.value(), scale, y.grad(), d_user, d_positive,
                     d_negative, epsilon);
      });
}

/// sum_r w (log sum_s exp(a_r . b_s / temperature) - a_r . b_r / temperature), unit rows, 1 x 1. The gradients come
/// with the value and wait, n x d and m x d, for the factor that the backward pass brings.
template <Backend B>
Var<B> info_nce(Var<B> a, Var<B> b, const InfoNceScale<Real<B>>& scale) {
  using T = Real<B>;
  using Arrays = std::array<MatrixView<T>, 2>;
  return apply(
      {a, b}, 1, 1,
      [&](Context<B>& ctx, Out<B> y) {
        const auto place_for = [&](Var<B> x) {
          return x.requires_grad() ? ctx.arena().template matrix<T>(x.rows(), x.cols()) : MatrixView<T>();
        };
        const Arrays gradients{place_for(a), place_for(b)};
        info_nce(ctx, a.value(), b.value(), scale, y, gradients[0], gradients[1]);
        return gradients;
      },
      [](Context<B>& ctx, Var<B> y, const Arrays& gradients, auto d_a, auto d_b) {
        const auto pass_on = [&](const MatrixView<T>& of, const Into<T>& to) {
          if (to.wanted()) B::for_each(ctx, of.rows, functors::ScaleByRow<T>{T{1}, y.grad().data, of, to});
        };
        pass_on(gradients[0], d_a);
        pass_on(gradients[1], d_b);
      });
}
template <Backend B>
Var<B> info_nce(Var<B> a, Var<B> b, Real<B> temperature, Real<B> weight) {
  return info_nce(a, b, info_nce_scale(temperature, weight));
}
/// Against all rows of b, of which b_own[r] is row r's own; the ids are those of a gather from b.
template <Backend B>
Var<B> info_nce(Var<B> a, Var<B> b, const IndexList& own, InfoNceScale<Real<B>> scale) {
  detail::require_shape(a.value(), own.size, b.cols(), "info_nce", "first operand");
  scale.own = own.ids;
  return info_nce(a, b, scale);
}

}  // namespace rearm::REARM_ABI
