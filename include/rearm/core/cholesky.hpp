#pragma once
/// @file cholesky.hpp
/// Small symmetric positive definite systems, in double, on the calling thread.

#include <rearm/core/error.hpp>
#include <rearm/core/matrix.hpp>

#include <cmath>
#include <utility>

namespace rearm::REARM_ABI {

/// A = L L^T of a symmetric positive definite matrix, of which the lower triangle is read. n^3 / 6 multiply-adds.
class Cholesky {
 public:
  /// Throws ShapeError unless A is square, NumericError if it is not positive definite.
  explicit Cholesky(Matrix<double> a) : l_(std::move(a)) {
    if (l_.rows() != l_.cols())
      throw ShapeError(detail::message("Cholesky: ", shape_string(l_.view()), " is not square"));
    for (Index i = 0; i < l_.rows(); ++i)
      for (Index j = 0; j <= i; ++j) {
        double sum = l_(i, j);
        for (Index c = 0; c < j; ++c) sum -= l_(i, c) * l_(j, c);
        if (i != j) {
          l_(i, j) = sum / l_(j, j);
          continue;
        }
        if (!(sum > 0) || !std::isfinite(sum))
          throw NumericError(detail::message("Cholesky: the matrix is not positive definite (pivot ", i, " is ", sum,
                                             "); are all representations finite?"));
        l_(i, i) = std::sqrt(sum);
      }
  }
  /// Replaces b (n numbers) by A^-1 b.
  void solve(double* b) const {
    const Index n = l_.rows();
    for (Index i = 0; i < n; ++i) {
      for (Index c = 0; c < i; ++c) b[i] -= l_(i, c) * b[c];
      b[i] /= l_(i, i);
    }
    for (Index i = n - 1; i >= 0; --i) {
      b[i] /= l_(i, i);
      for (Index c = 0; c < i; ++c) b[c] -= l_(i, c) * b[i];
    }
  }

 private:
  Matrix<double> l_;
};

}  // namespace rearm::REARM_ABI
