#pragma once
/// @file broadcast.hpp
/// Row functors for products and sums in which one operand is a row, a column or a number that is repeated.

#include <rearm/functors/elementwise.hpp>

REARM_LOOPS_BEGIN

namespace rearm::REARM_ABI::functors {

/// y_ij (+)= a_ij b_ij; if b has one row, it serves every row; if one column, every column.
template <class T>
struct MulRow {
  MatrixView<const T> a;
  MatrixView<const T> b;
  Into<T> y;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T* const in = a.row(i);
    const T* const factors = b.row(b.rows == 1 ? 0 : i);
    T* const out = y.view.row(i);
    if (b.cols == 1) {
      const T factor = *factors;
      REARM_SIMD_LOOP
      for (Index j = lane.first(); j < a.cols; j += L::step) store(out[j], in[j] * factor, y.write);
    } else {
      REARM_SIMD_LOOP
      for (Index j = lane.first(); j < a.cols; j += L::step) store(out[j], in[j] * factors[j], y.write);
    }
  }
};

/// y_ij = a_ij + beta b_i, b one column, or one number for all rows.
template <class T>
struct AddColumnRow {
  MatrixView<const T> a;
  T beta;
  MatrixView<const T> b;
  MatrixView<T> y;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T* const in = a.row(i);
    T* const out = y.row(i);
    const T addend = beta * b(b.rows == 1 ? 0 : i, 0);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < a.cols; j += L::step) out[j] = in[j] + addend;
  }
};

/// y_i (+)= alpha sum_j x_ij
template <class T>
struct RowSumRow {
  T alpha;
  MatrixView<const T> x;
  Into<T> y;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T* const in = x.row(i);
    T sum{0};
    REARM_SUM_LOOP(sum)
    for (Index j = lane.first(); j < x.cols; j += L::step) sum += in[j];
    sum = lane.sum(sum);
    if (lane.leads()) store(y.view(i, 0), alpha * sum, y.write);
  }
};

/// partial_j += x_ij y_ij: the inner products of corresponding columns.
template <class T>
struct ColumnDotRow {
  MatrixView<const T> x;
  MatrixView<const T> y;
  template <class L>
  REARM_HD void operator()(Index i, T* partial, const L& lane) const {
    const T* const left = x.row(i);
    const T* const right = y.row(i);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < x.cols; j += L::step) partial[j] += left[j] * right[j];
  }
};

}  // namespace rearm::REARM_ABI::functors

REARM_LOOPS_END
