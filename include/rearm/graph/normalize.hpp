#pragma once
/// @file normalize.hpp
/// Weights of a node's neighbors.

#include <rearm/core/csr.hpp>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

namespace rearm::REARM_ABI {

/// values <- exp(values) / sum of exp(values), shifted by the maximum so that nothing overflows. Empty stays empty.
inline void softmax_in_place(std::span<double> values) {
  if (values.empty()) return;
  const double top = *std::ranges::max_element(values);
  double sum = 0;
  for (double& v : values) sum += v = std::exp(v - top);
  for (double& v : values) v /= sum;
}

/// S <- D^-1/2 S D^-1/2, n x n, D the sums of the rows of S, for rows and columns alike. Weights in the row or column
/// of a node whose sum is not above 0 become 0. Throws ShapeError unless S is square.
inline void normalize_by_row_sums(Csr<double>& s) {
  if (s.rows != s.cols)
    throw ShapeError(
        detail::message("normalize_by_row_sums: the graph is ", shape_string(s.rows, s.cols), " but must be square"));
  std::vector<double> scale(static_cast<std::size_t>(s.rows));
  for (Index i = 0; i < s.rows; ++i) {
    double sum = 0;
    for (Index e = s.offsets[i]; e < s.offsets[i + 1]; ++e) sum += s.values[e];
    scale[static_cast<std::size_t>(i)] = sum > 0 ? 1.0 / std::sqrt(sum) : 0.0;
  }
  for (Index i = 0; i < s.rows; ++i)
    for (Index e = s.offsets[i]; e < s.offsets[i + 1]; ++e)
      s.values[e] *= scale[static_cast<std::size_t>(i)] * scale[static_cast<std::size_t>(s.indices[e])];
}

}  // namespace rearm::REARM_ABI
