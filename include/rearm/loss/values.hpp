#pragma once
/// @file values.hpp
/// The parts of a training loss, on the tape and as plain numbers.

#include <rearm/autodiff/tape.hpp>

#include <array>

namespace rearm {

/// What the loss of one batch is made of; weighted, so that total = bpr + contrast + orthogonal + l2.
struct LossValues {
  double total = 0;
  double bpr = 0;
  double contrast = 0;
  double orthogonal = 0;
  double l2 = 0;
};

/// The same on the tape, in the order of LossValues; empty where a model has no such part.
template <Backend B>
using LossParts = std::array<Var<B>, 5>;

inline LossValues loss_values(const std::array<double, 5>& values) {
  return {values[0], values[1], values[2], values[3], values[4]};
}
/// Reads them; waits for a device.
template <Backend B>
LossValues loss_values(const LossParts<B>& parts) {
  return {scalar(parts[0]), scalar(parts[1]), scalar(parts[2]), scalar(parts[3]), scalar(parts[4])};
}

}  // namespace rearm
