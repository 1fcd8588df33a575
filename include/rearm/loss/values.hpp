#pragma once
/// @file values.hpp
/// The parts of a training loss as plain numbers.

namespace rearm {

/// What the loss of one batch is made of; weighted, so that total = bpr + contrast + orthogonal + l2.
struct LossValues {
  double total = 0;
  double bpr = 0;
  double contrast = 0;
  double orthogonal = 0;
  double l2 = 0;
};

}  // namespace rearm
