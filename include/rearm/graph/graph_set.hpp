#pragma once
/// @file graph_set.hpp
/// The graphs a model propagates over, in a backend's memory.

#include <rearm/core/backend.hpp>
#include <rearm/core/csr.hpp>

namespace rearm {

/// What a model propagates over; a homograph is empty() when it is ablated.
template <class T, class Memory = HostMemory>
struct GraphSet {
  using Operator = SparseOperator<T, Memory>;
  Operator interaction;     ///< (N+M) x (N+M), symmetric, users first
  Operator user_homograph;  ///< N x N, directed
  Operator item_homograph;  ///< M x M, directed
};

template <Backend B>
using Graphs = GraphSet<typename B::Scalar, typename B::Memory>;

/// Graphs on the host, copied to another backend's memory.
template <Backend To>
Graphs<To> copy_graphs(const GraphSet<typename To::Scalar>& graphs) {
  using Operator = typename Graphs<To>::Operator;
  return {Operator::from_host(graphs.interaction), Operator::from_host(graphs.user_homograph),
          Operator::from_host(graphs.item_homograph)};
}

}  // namespace rearm
