#pragma once
/// @file host_graphs.hpp
/// The CPU's part in the tests that run on a GPU. It is compiled by the host's compiler alone (host_graphs.cpp): under
/// nvcc the same inline functions would exist in another form.

#include <rearm/data/dataset.hpp>
#include <rearm/graph/neighbors.hpp>
#include <rearm/models/rearm/homographs.hpp>

#include <cstdint>

namespace rearm::test {

/// `build_graphs` of the CPU with the padding of `seed`; T is float or double.
template <class T>
GraphSet<T> host_graphs(const Dataset& data, const RearmConfig& config, std::uint64_t seed,
                        const GraphOptions& options = {});
/// `co_occurrence_top_k` of the CPU.
NeighborTable host_co_occurrence(const Adjacency& rows, const Adjacency& columns, Index k);
/// What a model on the CPU represents users and items by.
Matrix<float> host_representation(const Dataset& data, const RearmConfig& config, std::uint64_t seed);

}  // namespace rearm::test
