#pragma once
/// @file matrix_view.hpp
/// A non-owning row-major matrix with a row stride: the argument type of every operator.

#include <rearm/core/error.hpp>
#include <rearm/core/macros.hpp>

#include <cstdint>
#include <string>
#include <type_traits>

namespace rearm::REARM_ABI {

/// Counts of rows, columns and elements.
using Index = std::int64_t;
/// A user's, an item's or a node's id.
using Id = std::int32_t;

/// View of `rows` x `cols` elements; row i starts at `data + i * stride`. Never owns, copies freely.
template <class T>
struct MatrixView {
  T* data = nullptr;
  Index rows = 0;
  Index cols = 0;
  Index stride = 0;

  MatrixView() = default;
  REARM_HD MatrixView(T* data_, Index rows_, Index cols_) : data(data_), rows(rows_), cols(cols_), stride(cols_) {}
  REARM_HD MatrixView(T* data_, Index rows_, Index cols_, Index stride_)
      : data(data_), rows(rows_), cols(cols_), stride(stride_) {}
  /// A view of mutable elements is also a view of constant ones.
  template <class U>
  requires(std::is_same_v<T, const U>) REARM_HD
      MatrixView(const MatrixView<U>& other)  // NOLINT(google-explicit-constructor)
      : data(other.data), rows(other.rows), cols(other.cols), stride(other.stride) {}

  REARM_HD T* row(Index i) const { return data + i * stride; }
  REARM_HD T& operator()(Index i, Index j) const { return data[i * stride + j]; }
  REARM_HD Index size() const { return rows * cols; }
  REARM_HD bool empty() const { return rows == 0 || cols == 0; }
  REARM_HD bool contiguous() const { return stride == cols || rows <= 1; }
  /// Rows [begin, begin + n).
  REARM_HD MatrixView row_block(Index begin, Index n) const { return {at(begin * stride), n, cols, stride}; }
  /// Columns [begin, begin + n), all rows.
  REARM_HD MatrixView col_block(Index begin, Index n) const { return {at(begin), rows, n, stride}; }

 private:
  // A matrix without elements has no address to move.
  REARM_HD T* at(Index offset) const { return data == nullptr ? data : data + offset; }
};

/// Read-only view.
template <class T>
using ConstView = MatrixView<const T>;

/// "3x4", for messages.
inline std::string shape_string(Index rows, Index cols) { return std::to_string(rows) + "x" + std::to_string(cols); }
template <class T>
std::string shape_string(const MatrixView<T>& m) {
  return shape_string(m.rows, m.cols);
}

namespace detail {

/// Throws ShapeError naming the operator, the operand, and both shapes unless `m` is rows x cols.
template <class T>
void require_shape(const MatrixView<T>& m, Index rows, Index cols, const char* op, const char* operand) {
  if (m.rows != rows || m.cols != cols)
    throw ShapeError(message(op, ": ", operand, " is ", shape_string(m), " but must be ", shape_string(rows, cols)));
}

/// Whether row i of one meets no row of the other but row i, so that rows may be worked on in any order.
template <class T>
bool rows_apart(const MatrixView<T>& a, const MatrixView<T>& b) {
  if (a.data == nullptr || b.data == nullptr || a.empty() || b.empty()) return true;
  const auto begin = [](const MatrixView<T>& m) { return reinterpret_cast<std::uintptr_t>(m.data); };
  const auto end = [](const MatrixView<T>& m) { return reinterpret_cast<std::uintptr_t>(m.row(m.rows - 1) + m.cols); };
  if (end(a) <= begin(b) || end(b) <= begin(a)) return true;
  // Two column blocks of one matrix, of the same rows.
  const Index shift = b.data - a.data;
  return a.stride == b.stride && shift + b.cols <= a.stride && a.cols - shift <= a.stride;
}

}  // namespace detail
}  // namespace rearm::REARM_ABI
