/// @file host_graphs.cpp
#include "tests/support/host_graphs.hpp"

#include <rearm/backend/cpu/co_occurrence.hpp>
#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/backend/cpu/user_knn.hpp>
#include <rearm/models/rearm/rearm.hpp>

#include <algorithm>

namespace rearm::test {

template <class T>
GraphSet<T> host_graphs(const Dataset& data, const RearmConfig& config, std::uint64_t seed,
                        const GraphOptions& options) {
  Context<CpuBackend<T>> ctx({}, seed);
  return build_graphs(ctx, data, config, options);
}
template GraphSet<float> host_graphs(const Dataset&, const RearmConfig&, std::uint64_t, const GraphOptions&);
template GraphSet<double> host_graphs(const Dataset&, const RearmConfig&, std::uint64_t, const GraphOptions&);

NeighborTable host_co_occurrence(const Adjacency& rows, const Adjacency& columns, Index k) {
  Context<CpuBackend<double>> ctx;
  return co_occurrence_top_k(ctx, rows, columns, k);
}

Matrix<float> host_representation(const Dataset& data, const RearmConfig& config, std::uint64_t seed) {
  using B = CpuBackend<float>;
  Context<B> ctx({}, seed);
  Model<B> model(ctx, data, config, host_graphs<float>(data, config, seed));
  Tape<B> tape(ctx, false);
  const auto rows = model.forward(tape, {}).representation.value();
  Matrix<float> out(rows.rows, rows.cols);
  scaled_copy(ctx, 1.0F, ConstView<float>(rows), out.view());
  return out;
}

}  // namespace rearm::test
