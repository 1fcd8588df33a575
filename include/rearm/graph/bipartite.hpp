#pragma once
/// @file bipartite.hpp
/// The user-item interaction graph, users first.

#include <rearm/core/backend.hpp>
#include <rearm/core/csr.hpp>
#include <rearm/data/dataset.hpp>

#include <cmath>
#include <vector>

namespace rearm::REARM_ABI {

/// A = [[0, R], [R^T, 0]], (N+M) x (N+M), symmetric, with the weight of edge (i, j)
/// 1 / (sqrt(deg_i + epsilon) sqrt(deg_j + epsilon)). A node without pairs has an empty row.
/// The authors' program adds epsilon = 1e-7 to each degree, the paper (section 4.3) nothing.
/// Throws ShapeError unless each argument is the other's transpose in size. O(pairs).
inline Csr<double> interaction_graph(const Adjacency& items_by_user, const Adjacency& users_by_item, double epsilon) {
  if (items_by_user.ids.size() != users_by_item.ids.size())
    throw ShapeError(detail::message("interaction_graph: ", items_by_user.ids.size(), " pairs by user but ",
                                     users_by_item.ids.size(), " by item; group the same pairs both ways"));
  const Index n_users = items_by_user.rows();
  const Index n = n_users + users_by_item.rows();
  const Index pairs = static_cast<Index>(items_by_user.ids.size());
  Csr<double> a{n, n, Buffer<Index>(n + 1), Buffer<Id>(2 * pairs), Buffer<double>(2 * pairs)};
  const auto neighbors = [&](Index node) {
    return node < n_users ? items_by_user.row(node) : users_by_item.row(node - n_users);
  };
  std::vector<double> scale(static_cast<std::size_t>(n), 0.0);
  for (Index i = 0; i < n; ++i)
    if (const auto degree = neighbors(i).size(); degree > 0)
      scale[static_cast<std::size_t>(i)] = 1.0 / std::sqrt(static_cast<double>(degree) + epsilon);
  Index e = 0;
  for (Index i = 0; i < n; ++i) {
    for (const Id id : neighbors(i)) {
      const Index j = i < n_users ? id + n_users : id;
      a.indices[e] = static_cast<Id>(j);
      a.values[e++] = scale[static_cast<std::size_t>(i)] * scale[static_cast<std::size_t>(j)];
    }
    a.offsets[i + 1] = e;
  }
  return a;
}

/// The users x items block of `interaction_graph`: times items' vectors it gives the users' share of one layer.
inline Csr<double> users_block(const Csr<double>& graph, Index n_users) {
  Csr<double> block{n_users, graph.rows - n_users, Buffer<Index>(graph.offsets.span().first(std::size_t(n_users) + 1)),
                    Buffer<Id>(graph.offsets[n_users]), Buffer<double>(graph.offsets[n_users])};
  for (Index e = 0; e < block.nonzeros(); ++e) {
    block.indices[e] = static_cast<Id>(graph.indices[e] - n_users);
    block.values[e] = graph.values[e];
  }
  return block;
}

/// D^-1/2 (A + I) D^-1/2, A the 0/1 matrix of the pairs and D the row sums of A + I; symmetric. A node without pairs
/// has itself alone, with weight 1. Throws what `interaction_graph` throws.
inline Csr<double> interaction_graph_with_loops(const Adjacency& items_by_user, const Adjacency& users_by_item) {
  const Csr<double> a = interaction_graph(items_by_user, users_by_item, 1.0);  // a degree more each: the loop's
  const Index n_users = items_by_user.rows();
  Csr<double> out{a.rows, a.rows, Buffer<Index>(a.rows + 1), Buffer<Id>(a.nonzeros() + a.rows),
                  Buffer<double>(a.nonzeros() + a.rows)};
  Index end = 0;
  for (Index i = 0; i < a.rows; ++i) {
    const auto add = [&](Index j, double weight) {
      out.indices[end] = static_cast<Id>(j);
      out.values[end++] = weight;
    };
    const double loop = 1.0 / static_cast<double>(a.offsets[i + 1] - a.offsets[i] + 1);
    if (i < n_users) add(i, loop);  // ids ascend: all of a user's neighbors are items
    for (Index e = a.offsets[i]; e < a.offsets[i + 1]; ++e) add(a.indices[e], a.values[e]);
    if (i >= n_users) add(i, loop);
    out.offsets[i + 1] = end;
  }
  return out;
}

/// `interaction_graph` of a list of pairs, in the backend's memory.
template <Backend B>
SparseOperator<Real<B>, typename B::Memory> interaction_operator(const Interactions& pairs, Index n_users,
                                                                 Index n_items, double epsilon) {
  using T = Real<B>;
  const Adjacency by_user = items_by_user(pairs, n_users);
  const Adjacency by_item = users_by_item(pairs, n_items);
  return SparseOperator<T, typename B::Memory>::from_host(
      SparseOperator<T>::symmetric(cast<T>(interaction_graph(by_user, by_item, epsilon))));
}
/// Of a data set's train pairs.
template <Backend B>
SparseOperator<Real<B>, typename B::Memory> interaction_operator(const Dataset& data, double epsilon) {
  return interaction_operator<B>(data.train, data.n_users, data.n_items, epsilon);
}

}  // namespace rearm::REARM_ABI
