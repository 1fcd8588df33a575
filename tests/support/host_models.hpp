#pragma once
/// @file host_models.hpp
/// What the CPU computes, for tests that run on a GPU; compiled by the host's compiler alone, as host_graphs.hpp.

#include <rearm/data/batch.hpp>
#include <rearm/data/dataset.hpp>

#include <string>
#include <vector>

namespace rearm::test {

struct HostSteps {
  std::vector<double> losses;   ///< of each step
  Matrix<double> users, items;  ///< embeddings after them
};

/// Steps of Adam on one batch, with the tiny settings of a model (tests/models/tiny.hpp) in double.
HostSteps host_steps(const std::string& model, const Dataset& data, const Batch& batch, int n);

}  // namespace rearm::test
