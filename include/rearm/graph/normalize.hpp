#pragma once
/// @file normalize.hpp
/// Weights of neighbours: softmax for co-occurrence, degree normalisation for similarity.

#include <rearm/core/matrix_view.hpp>
#include <rearm/model/config.hpp>

#include <algorithm>
#include <cmath>
#include <span>

namespace rearm {

/// values <- exp(values) / sum of exp(values), shifted by the greatest so that nothing overflows. Empty stays empty.
inline void softmax_in_place(std::span<double> values) {
  if (values.empty()) return;
  const double top = *std::ranges::max_element(values);
  double sum = 0;
  for (double& v : values) sum += v = std::exp(v - top);
  for (double& v : values) v /= sum;
}

/// What a cosine is multiplied by: every row of a kNN graph has degree k, so D^-1/2 S D^-1/2 is cos / k (paper, eq 2).
/// The authors' program adds 1e-7 to the degree.
inline double similarity_scale(Variant variant, Index k) {
  return 1.0 / (static_cast<double>(k) + (variant == Variant::reference ? 1e-7 : 0.0));
}

/// What is added to a degree of the interaction graph.
inline double degree_epsilon(Variant variant) { return variant == Variant::reference ? 1e-7 : 0.0; }

}  // namespace rearm
