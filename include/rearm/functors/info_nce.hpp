#pragma once
/// @file info_nce.hpp
/// Row functors for InfoNCE's matrix of similarities, of which one tile of rows exists at a time.

#include <rearm/core/backend.hpp>
#include <rearm/core/info_nce_scale.hpp>
#include <rearm/functors/exp.hpp>

#include <cmath>

REARM_LOOPS_BEGIN

namespace rearm::REARM_ABI::functors {

/// From a tile's similarities s: lse_r = log sum_s exp(s_rs), loss_r = row weight (lse_r - s_ro), o the row's own; 0
/// for padding rows.
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
      const Index left_out = scale.left_out > 0 ? scale.left_out + row : n;  // a column, or none
      T top = s[scale.own_of(row)];
      REARM_MAX_LOOP(top)
      for (Index j = lane.first(); j < left_out; j += L::step) top = s[j] > top ? s[j] : top;
      REARM_MAX_LOOP(top)
      for (Index j = left_out + 1 + lane.first(); j < n; j += L::step) top = s[j] > top ? s[j] : top;
      top = lane.max(top);
      T sum{0};
      REARM_SUM_LOOP(sum)
      for (Index j = lane.first(); j < left_out; j += L::step) sum += fast_exp(s[j] - top);
      REARM_SUM_LOOP(sum)
      for (Index j = left_out + 1 + lane.first(); j < n; j += L::step) sum += fast_exp(s[j] - top);
      value = top + std::log(lane.sum(sum));
      row_loss = scale.row_weight(n_rows) * (value - s[scale.own_of(row)]);
    }
    if (!lane.leads()) return;
    lse[row] = value;
    loss[row] = row_loss;
  }
};

/// Replaces a tile's similarities by their gradients g (exp(s - lse) - [column = row's own]), with g = d_loss (row
/// weight) / temperature; 0 in rows and columns of padding and in the column that is left out.
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
    const Index left_out = scale.left_out + row;
    if (scale.left_out > 0 && left_out < used && left_out % L::step == lane.first()) s[left_out] = T{0};
  }
};

}  // namespace rearm::REARM_ABI::functors

REARM_LOOPS_END
