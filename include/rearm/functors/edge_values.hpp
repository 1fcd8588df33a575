#pragma once
/// @file edge_values.hpp
/// Formulas of one row of a sparse matrix whose values are computed.

#include <rearm/functors/elementwise.hpp>

REARM_LOOPS_BEGIN

namespace rearm::REARM_ABI::functors {

/// v_e (+)= a_i . b_j for every entry e = (i, j) of row i.
template <class T>
struct SddmmRow {
  CsrView<T> at;  ///< its values are not read
  MatrixView<const T> a;
  MatrixView<const T> b;
  T* v;
  Write write;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T* const left = a.row(i);
    const Index cols = a.cols;
    for (Index e = at.offsets[i]; e < at.offsets[i + 1]; ++e) {
      const T* const right = b.row(at.indices[e]);
      T sum{0};
      REARM_SUM_LOOP(sum)
      for (Index j = lane.first(); j < cols; j += L::step) sum += left[j] * right[j];
      sum = lane.sum(sum);
      if (lane.leads()) store(v[e], sum, write);
    }
  }
};

/// to_e = from_numbers[e] for every entry e of row i.
template <class T>
struct PermuteValuesRow {
  const Index* offsets;
  const Index* numbers;
  const T* from;
  T* to;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    for (Index e = offsets[i] + lane.first(); e < offsets[i + 1]; e += L::step) to[e] = from[numbers[e]];
  }
};

}  // namespace rearm::REARM_ABI::functors

REARM_LOOPS_END
