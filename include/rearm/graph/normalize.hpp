#pragma once
/// @file normalize.hpp
/// Weights of a node's neighbors.

#include <rearm/core/macros.hpp>

#include <algorithm>
#include <cmath>
#include <span>

namespace rearm::REARM_ABI {

/// values <- exp(values) / sum of exp(values), shifted by the maximum so that nothing overflows. Empty stays empty.
inline void softmax_in_place(std::span<double> values) {
  if (values.empty()) return;
  const double top = *std::ranges::max_element(values);
  double sum = 0;
  for (double& v : values) sum += v = std::exp(v - top);
  for (double& v : values) v /= sum;
}

}  // namespace rearm::REARM_ABI
