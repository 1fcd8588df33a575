#pragma once
/// @file spmm.hpp
/// One row of a sparse product: its sums stay in registers while the rows that it gathers stream by.

#include <rearm/backend/cpu/lanes.hpp>
#include <rearm/core/backend.hpp>

namespace rearm::cpu {

/// Columns [first, first + Groups * n_lanes) of y_i (+)= sum_e s_ie x_e.
template <int Groups, class T>
void spmm_columns(const CsrView<T>& s, MatrixView<const T> x, MatrixView<T> y, Index i, Index first, Write write) {
  Lanes<T> sum[Groups] = {};
  T* const out = y.row(i) + first;
  if (write == Write::accumulate)
    for (int g = 0; g < Groups; ++g) load_lanes(out + g * n_lanes, sum[g]);
  for (Index e = s.offsets[i]; e < s.offsets[i + 1]; ++e) {
    const T* const in = x.row(s.indices[e]) + first;
    const T weight = s.values[e];
    for (int g = 0; g < Groups; ++g) {
      Lanes<T> addend;
      load_lanes(in + g * n_lanes, addend);
      sum[g] += weight * addend;
    }
  }
  for (int g = 0; g < Groups; ++g) store_lanes(sum[g], out + g * n_lanes);
}

/// y_i (+)= sum_e s_ie x_e, entries in stored order.
template <class T>
void spmm_row(const CsrView<T>& s, MatrixView<const T> x, MatrixView<T> y, Index i, Write write) {
  constexpr Index lanes = n_lanes;
  Index first = 0;
  for (; first + 12 * lanes <= y.cols; first += 12 * lanes) spmm_columns<12>(s, x, y, i, first, write);
  for (; first + 4 * lanes <= y.cols; first += 4 * lanes) spmm_columns<4>(s, x, y, i, first, write);
  for (; first + lanes <= y.cols; first += lanes) spmm_columns<1>(s, x, y, i, first, write);
  for (Index j = first; j < y.cols; ++j) {
    T sum = write == Write::accumulate ? y(i, j) : T{0};
    for (Index e = s.offsets[i]; e < s.offsets[i + 1]; ++e) sum += s.values[e] * x(s.indices[e], j);
    y(i, j) = sum;
  }
}

}  // namespace rearm::cpu
