#pragma once
/// @file bpr.hpp
/// Bayesian personalized ranking (Rendle et al., UAI'09; REARM eq. 21) for one triplet.

#include <rearm/functors/map.hpp>

#include <cmath>

REARM_LOOPS_BEGIN

namespace rearm::REARM_ABI::functors {

/// u_i . (p_i - n_i), for every lane.
template <class T, class L>
REARM_HD T triplet_margin(MatrixView<const T> user, MatrixView<const T> positive, MatrixView<const T> negative, Index i,
                          const L& lane) {
  const T* const u = user.row(i);
  const T* const p = positive.row(i);
  const T* const n = negative.row(i);
  T margin{0};
  REARM_SUM_LOOP(margin)
  for (Index j = lane.first(); j < user.cols; j += L::step) margin += u[j] * (p[j] - n[j]);
  return lane.sum(margin);
}

/// -log(epsilon + sigmoid(margin)); as softplus of the negated margin if epsilon is 0.
template <class T>
REARM_HD T bpr_loss(T margin, T epsilon) {
  if (epsilon == T{0}) return softplus(-margin);
  return -std::log(epsilon + T{1} / (T{1} + std::exp(-margin)));
}
/// Its derivative, -sigmoid(margin) sigmoid(-margin) / (epsilon + sigmoid(margin)).
template <class T>
REARM_HD T bpr_slope(T margin, T epsilon) {
  const T miss = T{1} / (T{1} + std::exp(margin));
  if (epsilon == T{0}) return -miss;
  const T hit = T{1} / (T{1} + std::exp(-margin));
  return -miss * (hit / (epsilon + hit));
}

/// partial += scale * -log(epsilon + sigmoid(u . (p - n)))
template <class T>
struct BprRow {
  MatrixView<const T> user;
  MatrixView<const T> positive;
  MatrixView<const T> negative;
  T scale;
  T epsilon = 0;
  template <class L>
  REARM_HD void operator()(Index i, T* partial, const L& lane) const {
    const T margin = triplet_margin(user, positive, negative, i, lane);
    if (lane.leads()) *partial += scale * bpr_loss(margin, epsilon);
  }
};

/// d_margin = scale d_loss bpr_slope(margin)
template <class T>
struct BprBackwardRow {
  MatrixView<const T> user;
  MatrixView<const T> positive;
  MatrixView<const T> negative;
  T scale;
  const T* d_loss;
  Into<T> d_user;
  Into<T> d_positive;
  Into<T> d_negative;
  T epsilon = 0;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T margin = triplet_margin(user, positive, negative, i, lane);
    const T weight = scale * *d_loss;
    // For epsilon 0 one quotient, not a product with the slope, which would round twice.
    const T g = epsilon == T{0} ? -weight / (T{1} + std::exp(margin)) : weight * bpr_slope(margin, epsilon);
    const T* const u = user.row(i);
    const T* const p = positive.row(i);
    const T* const n = negative.row(i);
    T* const d_u = d_user.view.row(i);
    T* const d_p = d_positive.view.row(i);
    T* const d_n = d_negative.view.row(i);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < user.cols; j += L::step) {
      const T own = u[j];
      const T difference = p[j] - n[j];
      store(d_u[j], g * difference, d_user.write);
      store(d_p[j], g * own, d_positive.write);
      store(d_n[j], -g * own, d_negative.write);
    }
  }
};

}  // namespace rearm::REARM_ABI::functors

REARM_LOOPS_END
