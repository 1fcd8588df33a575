#pragma once
/// @file info_nce.hpp
/// Row functors for InfoNCE's matrix of similarities, of which one tile of rows exists at a time.

#include <rearm/core/backend.hpp>
#include <rearm/core/info_nce_scale.hpp>
#include <rearm/functors/exp.hpp>

#include <cmath>

REARM_LOOPS_BEGIN

namespace rearm::REARM_ABI::functors {

/// From a tile's similarities s: loss_r = row weight (log sum_s exp(s_rs) - s_ro), o the row's own; 0 for padding rows.
/// The tile is overwritten: with `gradient` by row weight / temperature (exp(s - log sum) - [column = own]), which is 0
/// in rows and columns of padding and in the column that is left out; else by nothing of use.
template <class T>
struct InfoNceRow {
  MatrixView<T> scores;  ///< rows first, first + 1, ... of the whole matrix
  Index first;
  Index n_rows;  ///< of the whole matrix
  InfoNceScale<T> scale;
  T* loss;
  bool gradient;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const Index row = first + i;
    T* const s = scores.row(i);
    const bool counts = row < scale.n(n_rows);
    const Index n = counts ? scale.n(scores.cols) : 0;
    if (counts) {
      const Index own = scale.own_of(row);
      const Index left_out = scale.left_out > 0 ? scale.left_out + row : n;  // a column, or none
      const T own_score = s[own];
      T top = own_score;
      REARM_MAX_LOOP(top)
      for (Index j = lane.first(); j < left_out; j += L::step) top = s[j] > top ? s[j] : top;
      REARM_MAX_LOOP(top)
      for (Index j = left_out + 1 + lane.first(); j < n; j += L::step) top = s[j] > top ? s[j] : top;
      top = lane.max(top);
      lane.sync();  // a lane may own a column in one of these loops that it does not own in the next
      const auto sum_of = [&](Index begin, Index end) {
        T sum{0};
        REARM_SUM_LOOP(sum)
        for (Index j = begin + lane.first(); j < end; j += L::step) {
          s[j] = fast_exp(s[j] - top);
          sum += s[j];
        }
        return sum;
      };
      T sum = sum_of(0, left_out);
      sum += sum_of(left_out + 1, n);
      sum = lane.sum(sum);
      if (lane.leads()) {
        loss[row] = scale.row_weight(n_rows) * (top + std::log(sum) - own_score);
        if (left_out < n) s[left_out] = T{0};
      }
      if (!gradient) return;
      lane.sync();
      const T g = scale.row_weight(n_rows) * scale.inverse_temperature;
      const T share = g / sum;
      REARM_SIMD_LOOP
      for (Index j = lane.first(); j < n; j += L::step) s[j] *= share;
      lane.sync();
      if (lane.leads()) s[own] -= g;
    } else if (lane.leads()) {
      loss[row] = T{0};
    }
    if (!gradient) return;
    for (Index j = n + lane.first(); j < scores.cols; j += L::step) s[j] = T{0};
  }
};

}  // namespace rearm::REARM_ABI::functors

REARM_LOOPS_END
