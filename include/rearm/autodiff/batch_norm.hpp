#pragma once
/// @file batch_norm.hpp
/// Batch normalization on tape variables; see ops.hpp.

#include <rearm/autodiff/apply.hpp>
#include <rearm/ops/batch_norm.hpp>

namespace rearm::REARM_ABI {

namespace detail {
template <class T>
struct ColumnMoments {
  const T* mean;
  const T* rstd;
};
}  // namespace detail

/// In training by the moments of x's columns, towards which `running` moves at once, whether or not a backward pass
/// follows; else by the running ones, which are constants. `slope` may be empty: no PReLU.
template <Backend B>
Var<B> batch_norm(Var<B> x, Var<B> gamma, Var<B> beta, Var<B> slope, Real<B> eps,
                  const RunningMoments<Real<B>>& running, bool training) {
  using T = Real<B>;
  using Moments = detail::ColumnMoments<T>;
  return apply(
      {x, gamma, beta, slope}, x.rows(), x.cols(),
      [&](Context<B>& ctx, Out<B> y) {
        T* const rstd = ctx.arena().template allocate<T>(x.cols());
        const T* mean = running.mean;
        if (training) {
          T* const of_batch = ctx.arena().template allocate<T>(x.cols());
          batch_moments<B>(ctx, x.value(), eps, of_batch, rstd, running);
          mean = of_batch;
        } else {
          inverse_deviation<B>(ctx, x.cols(), running.variance, eps, rstd);
        }
        batch_norm<B>(ctx, x.value(), gamma.value(), beta.value(), slope.value(), mean, rstd, y);
        return Moments{mean, rstd};
      },
      [=](Context<B>& ctx, Var<B> y, const Moments& of, auto d_x, auto d_gamma, auto d_beta, auto d_slope) {
        batch_norm_backward<B>(ctx, x.value(), gamma.value(), beta.value(), slope.value(), of.mean, of.rstd, training,
                               y.grad(), d_x, d_gamma, d_beta, d_slope);
      });
}

}  // namespace rearm::REARM_ABI
