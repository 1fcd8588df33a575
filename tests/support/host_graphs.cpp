/// @file host_graphs.cpp
/// The CPU's part in the tests that run on a GPU, for the host's compiler: graphs, and a model to compare with.

#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/graph/graphs.hpp>
#include <rearm/model/rearm.hpp>

#include <algorithm>

namespace rearm::test {

template <class T>
GraphSet<T> host_graphs(const Dataset& data, const Config& config) {
  Context<CpuBackend<T>> ctx;
  return build_graphs(ctx, data, config);
}
template GraphSet<float> host_graphs(const Dataset& data, const Config& config);
template GraphSet<double> host_graphs(const Dataset& data, const Config& config);

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
