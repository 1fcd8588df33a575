#pragma once
/// @file spmm.hpp
/// One row of a sparse product: its sums stay in registers while the rows that it gathers stream by.

#include <rearm/backend/cpu/simd.hpp>
#include <rearm/core/backend.hpp>

namespace rearm::REARM_ABI::cpu {

/// Columns [first, first + Groups * simd_width) of y_i (+)= sum_e s_ie x_e.
template <int Groups, class T>
void spmm_columns(const CsrView<T>& s, MatrixView<const T> x, MatrixView<T> y, Index i, Index first, Write write) {
  Vector16<T> sum[Groups] = {};
  T* const out = y.row(i) + first;
  if (write == Write::accumulate)
    for (int g = 0; g < Groups; ++g) load_entries(out + g * simd_width, sum[g]);
  for (Index e = s.offsets[i]; e < s.offsets[i + 1]; ++e) {
    const T* const in = x.row(s.indices[e]) + first;
    const T weight = s.values[e];
    for (int g = 0; g < Groups; ++g) {
      Vector16<T> addend;
      load_entries(in + g * simd_width, addend);
      sum[g] += weight * addend;
    }
  }
  for (int g = 0; g < Groups; ++g) store_entries(sum[g], out + g * simd_width);
}

/// y_i (+)= sum_e s_ie x_e, entries in stored order.
template <class T>
void spmm_row(const CsrView<T>& s, MatrixView<const T> x, MatrixView<T> y, Index i, Write write) {
  constexpr Index width = simd_width;
  Index first = 0;
  for (; first + 12 * width <= y.cols; first += 12 * width) spmm_columns<12>(s, x, y, i, first, write);
  for (; first + 4 * width <= y.cols; first += 4 * width) spmm_columns<4>(s, x, y, i, first, write);
  for (; first + width <= y.cols; first += width) spmm_columns<1>(s, x, y, i, first, write);
  for (Index j = first; j < y.cols; ++j) {
    T sum = write == Write::accumulate ? y(i, j) : T{0};
    for (Index e = s.offsets[i]; e < s.offsets[i + 1]; ++e) sum += s.values[e] * x(s.indices[e], j);
    y(i, j) = sum;
  }
}

}  // namespace rearm::REARM_ABI::cpu
