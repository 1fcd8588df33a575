#pragma once
/// @file info_nce.hpp
/// Formulas of one row of InfoNCE's matrix of similarities, of which a tile of rows exists at a time.

#include <rearm/core/backend.hpp>
#include <rearm/core/info_nce_scale.hpp>
#include <rearm/functors/exp.hpp>

#include <cmath>

REARM_LOOPS_BEGIN

namespace rearm::REARM_ABI::functors {

/// From a tile's similarities s: lse_r = log sum_s exp(s_rs), loss_r = row weight (lse_r - s_ro), o the row's own; 0
/// for rows of padding.
template <class T>
struct InfoNceRow {
  MatrixView<const T> scores;  ///< rows first, first + 1, ... of the whole matrix
  Index first;
  Index n_rows;  ///< of the whole matrix
  InfoNceScale<T> scale;
  T* lse;
  T* loss;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const Index row = first + i;
    const Index n = scale.n(scores.cols);
    T value{0};
    T row_loss{0};
    if (row < scale.n(n_rows)) {
      const T* const s = scores.row(i);
      T top = s[0];
      REARM_MAX_LOOP(top)
      for (Index j = lane.first(); j < n; j += L::step) top = s[j] > top ? s[j] : top;
      top = lane.max(top);
      T sum{0};
      REARM_SUM_LOOP(sum)
      for (Index j = lane.first(); j < n; j += L::step) sum += fast_exp(s[j] - top);
      value = top + std::log(lane.sum(sum));
      row_loss = scale.row_weight(n_rows) * (value - s[scale.own_of(row)]);
    }
    if (!lane.leads()) return;
    lse[row] = value;
    loss[row] = row_loss;
  }
};

/// Replaces a tile's similarities by their gradients g (exp(s - lse) - [column = row's own]), with g = d_loss (row
/// weight) / temperature; 0 in rows and columns of padding.
template <class T>
struct InfoNceBackwardRow {
  MatrixView<T> scores;
  Index first;
  Index n_rows;
  InfoNceScale<T> scale;
  const T* lse;
  const T* d_loss;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const Index row = first + i;
    const Index used = row < scale.n(n_rows) ? scale.n(scores.cols) : 0;
    const T g = *d_loss * scale.row_weight(n_rows) * scale.inverse_temperature;
    T* const s = scores.row(i);
    const T sum = lse[row];
    const Index own = scale.own_of(row);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < used; j += L::step) s[j] = g * (fast_exp(s[j] - sum) - (own == j ? T{1} : T{0}));
    for (Index j = used + lane.first(); j < scores.cols; j += L::step) s[j] = T{0};
  }
};

}  // namespace rearm::REARM_ABI::functors

REARM_LOOPS_END
