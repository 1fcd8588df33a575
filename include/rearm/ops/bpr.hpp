#pragma once
/// @file bpr.hpp
/// Bayesian personalized ranking on views (REARM eq. 21).

#include <rearm/core/context.hpp>
#include <rearm/functors/bpr.hpp>

namespace rearm::REARM_ABI {

/// loss (1 x 1) = scale sum_i -log(epsilon + sigmoid(u_i . (p_i - n_i))); user, positive, negative b x w. Stable for
/// any margin; an epsilon above 0 bounds a pair's loss by -log(epsilon).
template <Backend B>
void bpr(Context<B>& ctx, In<B> user, In<B> positive, In<B> negative, Real<B> scale, Out<B> loss, Real<B> epsilon = 0) {
  detail::require_shape(positive, user.rows, user.cols, "bpr", "positive");
  detail::require_shape(negative, user.rows, user.cols, "bpr", "negative");
  detail::require_shape(loss, 1, 1, "bpr", "loss");
  using T = Real<B>;
  B::reduce_rows(ctx, user.rows, functors::BprRow<T>{user, positive, negative, scale, epsilon}, RowSums<T>(loss));
}

/// With m_i = u_i . (p_i - n_i) and g_i = -scale d_loss sigmoid(-m_i) sigmoid(m_i) / (epsilon + sigmoid(m_i)): d_user
/// (+)= g (p - n), d_positive (+)= g u, d_negative (+)= -g u. All three must be given.
template <Backend B>
void bpr_backward(Context<B>& ctx, In<B> user, In<B> positive, In<B> negative, Real<B> scale, In<B> d_loss,
                  Into<Real<B>> d_user, Into<Real<B>> d_positive, Into<Real<B>> d_negative, Real<B> epsilon = 0) {
  using T = Real<B>;
  B::for_each(ctx, user.rows,
              functors::BprBackwardRow<T>{user, positive, negative, scale, d_loss.data, d_user, d_positive, d_negative,
                                          epsilon});
}

}  // namespace rearm::REARM_ABI
