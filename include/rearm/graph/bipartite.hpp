#pragma once
/// @file bipartite.hpp
/// The user-item interaction graph, users first.

#include <rearm/core/backend.hpp>
#include <rearm/core/csr.hpp>
#include <rearm/data/dataset.hpp>
#include <rearm/graph/share.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>
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

/// D^-1 A, A the 0/1 matrix of the pairs and D its row sums: times nodes' vectors it gives each node the mean of its
/// neighbors'. Else as `interaction_graph`.
inline Csr<double> neighbor_mean_graph(const Adjacency& items_by_user, const Adjacency& users_by_item) {
  Csr<double> a = interaction_graph(items_by_user, users_by_item, 0.0);
  for (Index i = 0; i < a.rows; ++i)
    for (Index e = a.offsets[i]; e < a.offsets[i + 1]; ++e)
      a.values[e] = 1.0 / static_cast<double>(a.offsets[i + 1] - a.offsets[i]);
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

/// A + I, A the 0/1 matrix of the pairs and D the row sums of A + I, as D^-1/2 (A + I) D^-1/2 or, not symmetric,
/// D^-1 (A + I): times nodes' vectors that gives each node the mean of its own and its neighbors'. (N+M) x (N+M);
/// column ids ascend. Throws what `interaction_graph` throws. O(pairs).
inline Csr<double> self_loop_graph(const Adjacency& items_by_user, const Adjacency& users_by_item, bool symmetric) {
  const Csr<double> a = interaction_graph(items_by_user, users_by_item, 1.0);
  Csr<double> out{a.rows, a.cols, Buffer<Index>(a.rows + 1), Buffer<Id>(a.nonzeros() + a.rows),
                  Buffer<double>(a.nonzeros() + a.rows)};
  Index next = 0;
  const auto put = [&](Id column, double value) {
    out.indices[next] = column;
    out.values[next++] = value;
  };
  for (Index i = 0; i < a.rows; ++i) {
    const double share = 1.0 / static_cast<double>(a.offsets[i + 1] - a.offsets[i] + 1);
    const bool user = i < items_by_user.rows();  // its neighbors come after it, an item's before
    if (user) put(static_cast<Id>(i), share);
    for (Index e = a.offsets[i]; e < a.offsets[i + 1]; ++e) put(a.indices[e], symmetric ? a.values[e] : share);
    if (!user) put(static_cast<Id>(i), share);
    out.offsets[i + 1] = next;
  }
  return out;
}

namespace detail {

/// `interaction_graph` with its rows shared by ranks, each of which makes its own. Every rank must call it.
template <class T>
SparseOperator<T> shared_interaction_graph(const Interactions& pairs, const NodeBlocks& blocks, double epsilon) {
  const RowBlocks &users = *blocks.users, &items = *blocks.items;
  const Index n_users = users.rows();
  const Adjacency by_user = items_by_user(pairs_of_users(pairs, users.begin(), users.size()), users.size());
  const Adjacency by_item = users_by_item(pairs, items.begin(), items.size());
  std::vector<double> scale(static_cast<std::size_t>(n_users + items.rows()), 0.0);
  const auto share_scales = [&](const Adjacency& own, const RowBlocks& of, Index first) {
    for (Index i = 0; i < own.rows(); ++i)
      if (const Index degree = own.degree(i); degree > 0)
        scale[static_cast<std::size_t>(first + of.begin() + i)] =
            1.0 / std::sqrt(static_cast<double>(degree) + epsilon);
    users.ranks->all_gather(scale.data() + first, of.counts(1));
  };
  share_scales(by_user, users, 0);
  share_scales(by_item, items, n_users);
  const auto shared = shared_operator(blocks.nodes(), blocks.nodes());
  const auto pairs_here = static_cast<Index>(by_user.ids.size() + by_item.ids.size());
  Csr<T> own{by_user.rows() + by_item.rows(), n_users + items.rows(),
             Buffer<Index>(by_user.rows() + by_item.rows() + 1), Buffer<Id>(pairs_here), Buffer<T>(pairs_here)};
  Index e = 0;
  const auto put = [&](const Adjacency& rows, Index to, Index node, Index first_neighbor) {
    for (Index i = 0; i < rows.rows(); ++i) {
      for (const Id id : rows.row(i)) {
        const Index neighbor = first_neighbor + id;
        own.indices[e] = static_cast<Id>(neighbor);
        own.values[e++] =
            static_cast<T>(scale[static_cast<std::size_t>(node + i)] * scale[static_cast<std::size_t>(neighbor)]);
      }
      own.offsets[to + i + 1] = e;
    }
  };
  put(by_user, 0, users.begin(), n_users);
  put(by_item, by_user.rows(), n_users + items.begin(), 0);
  number_columns(own, layout_of(blocks.nodes()), shared->forward);
  return SparseOperator<T>::block(std::move(own), {}, true, shared);
}

}  // namespace detail

/// `interaction_graph` of a list of pairs, in the backend's memory; with `blocks` shared by ranks, which all must call
/// it.
template <Backend B>
SparseOperator<Real<B>, typename B::Memory> interaction_operator(const Interactions& pairs, Index n_users,
                                                                 Index n_items, double epsilon,
                                                                 const NodeBlocks& blocks = {}) {
  using T = Real<B>;
  if constexpr (B::Memory::host_accessible)
    if (blocks.users != nullptr) return detail::shared_interaction_graph<T>(pairs, blocks, epsilon);
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

/// The interaction graph that a model propagates over: of all train pairs, and in training steps of a part of them once
/// one is given.
template <Backend B>
class InteractionGraph {
 public:
  using Operator = SparseOperator<Real<B>, typename B::Memory>;
  /// build(pairs) makes a graph.
  InteractionGraph(const Dataset& data, std::function<Operator(const Interactions&)> build)
      : build_(std::move(build)), all_(build_(data.train)) {}
  /// That of `interaction_graph`, with `blocks` shared by ranks.
  InteractionGraph(const Dataset& data, double epsilon, const NodeBlocks& blocks = {})
      : InteractionGraph(data, [=, n_users = data.n_users, n_items = data.n_items](const Interactions& pairs) {
          return interaction_operator<B>(pairs, n_users, n_items, epsilon, blocks);
        }) {}
  /// Training steps propagate over these pairs alone until the next call.
  void train_on(const Interactions& pairs) { part_ = build_(pairs); }
  const Operator& operator()(bool training) const { return training && !part_.empty() ? part_ : all_; }

 private:
  std::function<Operator(const Interactions&)> build_;
  Operator all_;
  Operator part_;  ///< empty() before the first call
};
/// One of `self_loop_graph`.
template <Backend B>
InteractionGraph<B> self_loop_interaction(const Dataset& data, bool symmetric) {
  using T = Real<B>;
  return {data, [symmetric, n_users = data.n_users, n_items = data.n_items](const Interactions& pairs) {
            Csr<T> graph =
                cast<T>(self_loop_graph(items_by_user(pairs, n_users), users_by_item(pairs, n_items), symmetric));
            return SparseOperator<T, typename B::Memory>::from_host(symmetric
                                                                        ? SparseOperator<T>::symmetric(std::move(graph))
                                                                        : SparseOperator<T>::general(std::move(graph)));
          }};
}

}  // namespace rearm::REARM_ABI
