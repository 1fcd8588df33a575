#pragma once
/// @file spmm.hpp
/// One row of a sparse product: its sums stay in registers while the rows that it gathers stream by.

#include <rearm/backend/cpu/simd.hpp>
#include <rearm/core/backend.hpp>
#include <rearm/functors/elementwise.hpp>

#include <algorithm>

namespace rearm::REARM_ABI::cpu {

/// What becomes of a row's sums before they are stored.
struct StoreSums {
  template <class V>
  void operator()(Index, Index, V&) const {}
  void prefetch(Index) const {}
};

/// AddRow's formula on sums that are still in registers: for an AddRow that reads and overwrites the product itself.
template <class T>
struct AddToSums {
  functors::AddRow<T> f;
  void operator()(Index i, Index j, T& sum) const { sum = f.alpha * (sum + f.beta * addend(i)[j]); }
  void operator()(Index i, Index j, Vector16<T>& sum) const {
    Vector16<T> entries;
    load_entries(addend(i) + j, entries);
    sum = f.alpha * (sum + f.beta * entries);
  }
  void prefetch(Index i) const { prefetch_entries(addend(i), f.b.cols); }

 private:
  const T* addend(Index i) const { return f.b.row(f.b.rows == 1 ? 0 : i); }
};

/// Columns [first, first + Groups * simd_width) of y_i (+)= sum_e s_ie x_e.
template <int Groups, class T, class Finish>
void spmm_columns(const CsrView<T>& s, MatrixView<const T> x, MatrixView<T> y, Index i, Index first, Write write,
                  const Finish& finish) {
  // Rows are gathered in no order that the processor could foresee, and a node's entries are few: ask for those of the
  // next nodes as well.
  constexpr Index ahead = 16;
  const Index last = s.offsets[s.rows] - 1;
  Vector16<T> sum[Groups] = {};
  T* const out = y.row(i) + first;
  if (write == Write::accumulate)
    for (int g = 0; g < Groups; ++g) load_entries(out + g * simd_width, sum[g]);
  for (Index e = s.offsets[i]; e < s.offsets[i + 1]; ++e) {
    const T* const in = x.row(s.indices[e]) + first;
    const T weight = s.values[e];
    prefetch_entries(x.row(s.indices[std::min(e + ahead, last)]) + first, Groups * simd_width);
    for (int g = 0; g < Groups; ++g) {
      Vector16<T> addend;
      load_entries(in + g * simd_width, addend);
      sum[g] += weight * addend;
    }
  }
  for (int g = 0; g < Groups; ++g) {
    finish(i, first + Index{g} * simd_width, sum[g]);
    store_entries(sum[g], out + g * simd_width);
  }
}

/// y_i (+)= sum_e s_ie x_e, entries in stored order.
template <class T, class Finish>
void spmm_row(const CsrView<T>& s, MatrixView<const T> x, MatrixView<T> y, Index i, Write write, const Finish& finish) {
  constexpr Index width = simd_width;
  finish.prefetch(std::min(i + 2, s.rows - 1));
  Index first = 0;
  for (; first + 12 * width <= y.cols; first += 12 * width) spmm_columns<12>(s, x, y, i, first, write, finish);
  for (; first + 4 * width <= y.cols; first += 4 * width) spmm_columns<4>(s, x, y, i, first, write, finish);
  for (; first + width <= y.cols; first += width) spmm_columns<1>(s, x, y, i, first, write, finish);
  for (Index j = first; j < y.cols; ++j) {
    T sum = write == Write::accumulate ? y(i, j) : T{0};
    for (Index e = s.offsets[i]; e < s.offsets[i + 1]; ++e) sum += s.values[e] * x(s.indices[e], j);
    finish(i, j, sum);
    y(i, j) = sum;
  }
}

}  // namespace rearm::REARM_ABI::cpu
