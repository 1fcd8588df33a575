/// @file host_graphs.cpp
#include "tests/support/host_graphs.hpp"

#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/graph/graphs.hpp>
#include <rearm/model/rearm.hpp>

#include <algorithm>

namespace rearm::test {

template <class T>
GraphSet<T> host_graphs(const Dataset& data, const Config& config, const GraphOptions& options) {
  Context<CpuBackend<T>> ctx;
  return build_graphs(ctx, data, config, options);
}
template GraphSet<float> host_graphs(const Dataset& data, const Config& config, const GraphOptions& options);
template GraphSet<double> host_graphs(const Dataset& data, const Config& config, const GraphOptions& options);

NeighbourTable host_co_occurrence(const Adjacency& rows, const Adjacency& columns, Index k) {
  Context<CpuBackend<double>> ctx;
  return co_occurrence_top_k(ctx, rows, columns, k);
}

Matrix<float> host_representation(const Dataset& data, const Config& config) {
  using B = CpuBackend<float>;
  Context<B> ctx({}, config.seed);
  Model<B> model(ctx, data, config, host_graphs<float>(data, config));
  Tape<B> tape(ctx, false);
  const auto rows = model.representation(tape).value();
  Matrix<float> out(rows.rows, rows.cols);
  scaled_copy(ctx, 1.0F, ConstView<float>(rows), out.view());
  return out;
}

}  // namespace rearm::test
