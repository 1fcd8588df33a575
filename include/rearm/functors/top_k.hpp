#pragma once
/// @file top_k.hpp
/// The places of a row's largest entries.

#include <rearm/core/backend.hpp>

#include <cmath>

namespace rearm::REARM_ABI::functors {

/// ids_i: the columns of the largest entries of x_i, as many as ids is wide, the largest first, of equal ones the lower
/// column. -1 where fewer are left above -infinity; NaN is not.
template <class T>
struct TopKRow {
  MatrixView<const T> x;
  MatrixView<Id> ids;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T infinity = static_cast<T>(INFINITY);
    const T* const in = x.row(i);
    T last = infinity;  // what was chosen last; what comes after it in the ranking is left
    Index last_at = -1;
    for (Index rank = 0; rank < ids.cols; ++rank) {
      T best = -infinity;
      Index at = x.cols;
      for (Index j = lane.first(); j < x.cols; j += L::step)
        if ((in[j] < last || (in[j] == last && j > last_at)) && in[j] > best) {
          best = in[j];
          at = j;
        }
      last = lane.max(best);
      last_at = -lane.max(best == last ? -at : -x.cols);
      if (lane.leads()) ids(i, rank) = last_at < x.cols ? static_cast<Id>(last_at) : Id{-1};
    }
  }
};

}  // namespace rearm::REARM_ABI::functors
