#pragma once
/// @file bpr.hpp
/// Bayesian personalized ranking (Rendle et al., UAI'09; paper eq. 21) for one triplet.

#include <rearm/functors/map.hpp>

#include <cmath>

namespace rearm::functors {

/// u_i . (p_i - n_i), for every lane.
template <class T, class L>
REARM_HD T triplet_margin(MatrixView<const T> user, MatrixView<const T> positive, MatrixView<const T> negative, Index i,
                          const L& lane) {
  T margin{0};
  for (Index j = lane.first(); j < user.cols; j += L::step) margin += user(i, j) * (positive(i, j) - negative(i, j));
  return lane.sum(margin);
}

/// partial += -scale log sigmoid(u . (p - n)) = scale softplus(-u . (p - n))
template <class T>
struct BprRow {
  MatrixView<const T> user;
  MatrixView<const T> positive;
  MatrixView<const T> negative;
  T scale;
  template <class L>
  REARM_HD void operator()(Index i, T* partial, const L& lane) const {
    const T margin = triplet_margin(user, positive, negative, i, lane);
    if (lane.leads()) *partial += scale * softplus(-margin);
  }
};

/// With g = -scale d_loss sigmoid(-u . (p - n)): d_u (+)= g (p - n), d_p (+)= g u, d_n (+)= -g u. All three are
/// written.
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
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T margin = triplet_margin(user, positive, negative, i, lane);
    const T g = -scale * *d_loss / (T{1} + std::exp(margin));
    for (Index j = lane.first(); j < user.cols; j += L::step) {
      const T u = user(i, j);
      const T difference = positive(i, j) - negative(i, j);
      store(d_user.view(i, j), g * difference, d_user.write);
      store(d_positive.view(i, j), g * u, d_positive.write);
      store(d_negative.view(i, j), -g * u, d_negative.write);
    }
  }
};

}  // namespace rearm::functors
