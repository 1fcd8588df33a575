#pragma once
/// @file matrices.hpp
/// Random operands, strided ones too, and the comparison of a result with plain loops in double.

#include "tests/support/backend.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

namespace rearm::test {

/// Normal entries, a function of `stream` alone.
template <class T>
Matrix<T> random_matrix(Index rows, Index cols, std::uint32_t stream, double deviation = 1.0) {
  Matrix<T> m(rows, cols);
  const RandomKey key{7, stream, 0};
  for (Index i = 0; i < m.size(); ++i)
    m.data()[i] = static_cast<T>(deviation * key.normal(static_cast<std::uint64_t>(i)));
  return m;
}

/// A random matrix that is a column block of a wider one, so that its stride is not its width.
template <class T>
struct Strided {
  Matrix<T> storage;
  Index cols;
  Strided(Index rows, Index cols_, std::uint32_t stream, double deviation = 1.0)
      : storage(random_matrix<T>(rows, cols_ + 5, stream, deviation)), cols(cols_) {}
  MatrixView<T> view() { return storage.view().col_block(2, cols); }
};

/// A context, of two threads on the CPU, and a tape on it.
template <class T>
struct Sandbox {
  Context<TestBackend<T>> ctx{test_options()};
  Tape<TestBackend<T>> tape{ctx};
  Var<TestBackend<T>> operator()(ConstView<T> data) { return tape.constant(there(data)); }
  /// `data` in the backend's memory: itself, or a copy of the same stride, NaN between the rows.
  ConstView<T> there(ConstView<T> data) {
    if constexpr (TestMemory::host_accessible) return data;
    const Index before = std::min<Index>(2, data.stride - data.cols);
    Matrix<T> copy(data.rows, data.stride);
    std::fill_n(copy.data(), copy.size(), std::numeric_limits<T>::quiet_NaN());
    for (Index i = 0; i < data.rows; ++i) std::copy_n(data.row(i), data.cols, copy.row(i) + before);
    return copies_.emplace_back(upload(copy)).view().col_block(before, data.cols);
  }

 private:
  std::deque<TestMatrix<T>> copies_;
};

template <class T>
inline constexpr double value_tolerance = std::is_same_v<std::remove_const_t<T>, float> ? 1e-5 : 1e-12;

/// Every entry within `tolerance` of the largest wanted magnitude (at least 1); NaN fails. A view is one on the host.
template <class T>
void check_close(MatrixView<T> got, const Matrix<double>& want, double tolerance = value_tolerance<T>) {
  REQUIRE(got.rows == want.rows());
  REQUIRE(got.cols == want.cols());
  double largest = 1.0;
  for (Index i = 0; i < want.size(); ++i) largest = std::max(largest, std::abs(want.data()[i]));
  Index wrong = 0;
  for (Index i = 0; i < got.rows; ++i)
    for (Index j = 0; j < got.cols; ++j) {
      const double difference = std::abs(static_cast<double>(got(i, j)) - want(i, j));
      if (difference <= tolerance * largest) continue;
      if (wrong++ == 0) MESSAGE("entry (", i, ", ", j, ") is ", got(i, j), ", wanted ", want(i, j));
    }
  CHECK(wrong == 0);
}

template <class T>
void check_close(const TestMatrix<T>& got, const Matrix<double>& want, double tolerance = value_tolerance<T>) {
  check_close(OnHost<T, TestMemory>(got.view()).view(), want, tolerance);
}
template <Backend B>
void check_close(const Var<B>& got, const Matrix<double>& want,
                 double tolerance = value_tolerance<typename B::Scalar>) {
  check_close(OnHost<typename B::Scalar, TestMemory>(got.value()).view(), want, tolerance);
}

/// The matrix with entries f(i, j).
template <class F>
Matrix<double> tabulate(Index rows, Index cols, const F& f) {
  Matrix<double> m(rows, cols);
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < cols; ++j) m(i, j) = f(i, j);
  return m;
}

/// Sum of f(i) for i in [0, n).
template <class F>
double sum_of(Index n, const F& f) {
  double sum = 0;
  for (Index i = 0; i < n; ++i) sum += f(i);
  return sum;
}

/// Random sparse matrix, about `density` of it filled, some rows empty.
template <class T>
Csr<T> random_csr(Index rows, Index cols, double density, std::uint32_t stream) {
  const RandomKey key{7, stream, 0};
  std::vector<Index> offsets{0};
  std::vector<Id> indices;
  std::vector<T> values;
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < cols && i % 5 != 4; ++j) {
      const auto at = static_cast<std::uint64_t>(i * cols + j);
      if (key.uniform(at) >= density) continue;
      indices.push_back(static_cast<Id>(j));
      values.push_back(static_cast<T>(key.at_step(1).normal(at)));
    }
    offsets.push_back(static_cast<Index>(indices.size()));
  }
  return {rows, cols, Buffer<Index>(offsets), Buffer<Id>(indices), Buffer<T>(values)};
}
template <class T>
Matrix<double> dense(const Csr<T>& a) {
  Matrix<double> m(a.rows, a.cols);
  for (Index i = 0; i < a.rows; ++i)
    for (Index e = a.offsets[i]; e < a.offsets[i + 1]; ++e) m(i, a.indices[e]) += static_cast<double>(a.values[e]);
  return m;
}
/// Any matrix as an operator in the backend's memory.
template <class T>
SparseOperator<T, TestMemory> general(Csr<T> a) {
  return upload(SparseOperator<T>::general(std::move(a)));
}
/// The sparse form of a dense matrix, zeros left out.
template <class T>
Csr<T> sparse(const Matrix<double>& m) {
  std::vector<Index> offsets{0};
  std::vector<Id> indices;
  std::vector<T> values;
  for (Index i = 0; i < m.rows(); ++i) {
    for (Index j = 0; j < m.cols(); ++j)
      if (m(i, j) != 0) {
        indices.push_back(static_cast<Id>(j));
        values.push_back(static_cast<T>(m(i, j)));
      }
    offsets.push_back(static_cast<Index>(indices.size()));
  }
  return {m.rows(), m.cols(), Buffer<Index>(offsets), Buffer<Id>(indices), Buffer<T>(values)};
}

/// 0 or 1 / (1 - p): the dropout multiplier of element j in mask row `row`, `width` elements a row; spelled out here.
/// A row takes ceil(width / 8) draws; element j has half-word j / draws of draw j % draws.
inline double dropout_multiplier(RandomKey key, double p, Index row, Index width, Index j) {
  const Index draws = (width + 7) / 8;
  const RandomBits bits = key.noise(static_cast<std::uint64_t>(row * draws + j % draws));
  const Index place = j / draws;
  const std::uint32_t half = (bits.word[place / 2] >> (place % 2 == 0 ? 0 : 16)) % 65536;
  return static_cast<double>(half) >= std::round(p * 65536.0) ? 1.0 / (1.0 - p) : 0.0;
}

}  // namespace rearm::test
