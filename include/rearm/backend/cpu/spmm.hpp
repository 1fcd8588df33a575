#pragma once
/// @file spmm.hpp
/// One row of a sparse product: its sums stay in registers while the rows that it gathers stream by.

#include <rearm/backend/cpu/simd.hpp>
#include <rearm/core/backend.hpp>
#include <rearm/functors/spmm.hpp>

#include <algorithm>
#include <type_traits>

namespace rearm::REARM_ABI::cpu {

/// What becomes of a row's sums before they are stored.
struct StoreSums {
  template <class V>
  void operator()(Index, Index, V&) const {}
  void prefetch(Index) const {}
};

/// Times a number.
template <class T>
struct ScaleSums {
  T alpha;
  template <class V>
  void operator()(Index, Index, V& sum) const {
    sum *= alpha;
  }
  void prefetch(Index) const {}
};

/// functors::AddRowOfRow on sums that are still in registers.
template <class T>
struct AddRowOfRowToSums {
  functors::AddRowOfRow<T> f;
  void operator()(Index i, Index j, T& sum) const { sum += row(i)[j]; }
  void operator()(Index i, Index j, Vector16<T>& sum) const {
    Vector16<T> entries;
    load_entries(row(i) + j, entries);
    sum += entries;
  }
  void prefetch(Index i) const { prefetch_entries(row(i), f.x.cols); }

 private:
  const T* row(Index i) const { return f.x.row(f.row_of[i]); }
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

/// Nodes are gathered in no order that the processor could foresee, and one's entries are few: ask for those of the
/// next ones as well, so many entries ahead.
inline constexpr Index gather_ahead = 16;

/// Rows of another matrix in the place of a matrix's own; most are one and the same, so that none is asked for ahead.
template <class T>
struct RowsElsewhere {
  MatrixView<const T> x;
  const Id* row_of;
  Index cols;
  const T* row(Index i) const { return x.row(row_of[i]); }
  const T& operator()(Index i, Index j) const { return x(row_of[i], j); }
};

/// Columns [first, first + Groups * simd_width) of out (+)= sum_e s_ie x_e. `last` is the last entry to ask for ahead.
template <int Groups, class T, class X, class Finish>
void spmm_columns(const CsrView<T>& s, const X& x, T* out, Index i, Index first, Index last, Write write,
                  const Finish& finish) {
  Vector16<T> sum[Groups] = {};
  out += first;
  if (write == Write::accumulate)
    for (int g = 0; g < Groups; ++g) load_entries(out + g * simd_width, sum[g]);
  for (Index e = s.offsets[i]; e < s.offsets[i + 1]; ++e) {
    const T* const in = x.row(s.indices[e]) + first;
    const T weight = s.values[e];
    if constexpr (std::is_same_v<X, MatrixView<const T>>)
      prefetch_entries(x.row(s.indices[std::min(e + gather_ahead, last)]) + first, Groups * simd_width);
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

/// out (+)= sum_e s_ie x_e, entries in stored order.
template <class T, class X, class Finish>
void spmm_row(const CsrView<T>& s, const X& x, T* out, Index i, Index last, Write write, const Finish& finish) {
  constexpr Index width = simd_width;
  Index first = 0;
  for (; first + 12 * width <= x.cols; first += 12 * width) spmm_columns<12>(s, x, out, i, first, last, write, finish);
  for (; first + 4 * width <= x.cols; first += 4 * width) spmm_columns<4>(s, x, out, i, first, last, write, finish);
  for (; first + width <= x.cols; first += width) spmm_columns<1>(s, x, out, i, first, last, write, finish);
  for (Index j = first; j < x.cols; ++j) {
    T sum = write == Write::accumulate ? out[j] : T{0};
    for (Index e = s.offsets[i]; e < s.offsets[i + 1]; ++e) sum += s.values[e] * x(s.indices[e], j);
    finish(i, j, sum);
    out[j] = sum;
  }
}

/// Row i of a product of all rows.
template <class T, class X, class Finish>
void spmm_row(const CsrView<T>& s, const X& x, MatrixView<T> y, Index i, Write write, const Finish& finish) {
  finish.prefetch(std::min(i + 2, s.rows - 1));
  spmm_row(s, x, y.row(i), i, s.offsets[s.rows] - 1, write, finish);
}

/// The row of one distinct id, at all its places in y.
template <class T, class Finish>
void gather_spmm_row(const CsrView<T>& s, MatrixView<const T> x, const IndexList& rows, MatrixView<T> y, Index segment,
                     const Finish& finish) {
  const auto id = [&](Index of) { return rows.ids[rows.order[rows.segments[of]]]; };
  if (segment + 1 < rows.n_segments) {
    const Index next = id(segment + 1);
    const Index end = std::min(s.offsets[next] + gather_ahead, s.offsets[next + 1]);
    for (Index e = s.offsets[next]; e < end; ++e) prefetch_entries(x.row(s.indices[e]), x.cols);
    finish.prefetch(next);
  }
  const Id* const place = rows.order + rows.segments[segment];
  const Id* const end = rows.order + rows.segments[segment + 1];
  T* const out = y.row(*place);
  const Index i = id(segment);
  spmm_row(s, x, out, i, s.offsets[i + 1] - 1, Write::overwrite, finish);
  for (const Id* other = place + 1; other < end; ++other) std::copy_n(out, y.cols, y.row(*other));
}

}  // namespace rearm::REARM_ABI::cpu
