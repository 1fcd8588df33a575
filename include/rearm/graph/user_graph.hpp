#pragma once
/// @file user_graph.hpp
/// The graph of users with common items whose short lists are filled at random each epoch (DualGNN, DRAGON).

#include <rearm/core/csr.hpp>
#include <rearm/data/dataset.hpp>
#include <rearm/graph/co_occurrence.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace rearm::REARM_ABI {

/// Rows with fewer than k neighbors filled to k: each further one is drawn uniformly from its row as it is by then, so
/// that earlier repeats raise the chance (Polya's urn; position (row, slot) of `key`). Empty rows stay empty.
inline void repeat_neighbors(NeighborTable& table, RandomKey key) {
  const Index k = table.capacity();
  for (Index i = 0; i < table.rows(); ++i) {
    if (table.counts[i] == 0) continue;
    for (Index& j = table.counts[i]; j < k; ++j) {
      const auto drawn =
          static_cast<Index>(key.below(static_cast<std::uint64_t>(i * k + j), static_cast<std::uint32_t>(j)));
      table.ids(i, j) = table.ids(i, drawn);
      table.values(i, j) = table.values(i, drawn);
    }
  }
}

/// The matrix whose row i is the softmax over the values of i's neighbors, summed over the repeats of each.
inline Csr<double> softmax_graph(NeighborTable table) {
  for (Index i = 0; i < table.rows(); ++i)
    softmax_in_place({table.values.row(i), static_cast<std::size_t>(table.counts[i])});
  return to_csr(table);
}

/// S, n_users x n_users: of each user the k with whom it has most train items in common (ties: lower id), filled by
/// repeat_neighbors; S is their softmax_graph, with values the counts. Users alike with nobody have an
/// empty row. Training steps take an epoch's own draw, evaluation always the same one.
template <Backend B>
class UserGraph {
 public:
  using Operator = SparseOperator<Real<B>, typename B::Memory>;

  /// 1 <= k <= n_users.
  UserGraph(Context<B>& ctx, const Dataset& data, Index k)
      : neighbors_(co_occurrence_neighbors(ctx, items_by_user(data.train, data.n_users),
                                           users_by_item(data.train, data.n_items), k, Padding::none, RandomKey{})),
        fixed_(made(drawn({ctx.seed(), stream, fixed_draw}))) {}

  /// The steps of that epoch take a draw of their own. False where no list is short: all draws are the same.
  bool begin_epoch(std::uint64_t seed, int epoch) {
    const auto filled = [&](Index count) { return count > 0 && count < neighbors_.capacity(); };
    if (std::none_of(neighbors_.counts.begin(), neighbors_.counts.end(), filled)) return false;
    epoch_ = made(drawn({seed, stream, static_cast<std::uint32_t>(epoch)}));
    return true;
  }
  /// Steps and evaluation take this one.
  void set(const Csr<double>& graph) {
    fixed_ = made(graph);
    epoch_ = made(graph);
  }
  const Operator& operator()(bool training) const { return training && !epoch_.empty() ? epoch_ : fixed_; }

 private:
  static constexpr std::uint32_t stream = 0x55470001;
  static constexpr std::uint32_t fixed_draw = 0xFFFFFFFF;

  Csr<double> drawn(RandomKey key) const {
    NeighborTable table(neighbors_.rows(), neighbors_.capacity());
    for (Index i = 0; i < table.rows(); ++i) {
      table.counts[i] = neighbors_.counts[i];
      for (Index j = 0; j < table.counts[i]; ++j) {
        table.ids(i, j) = neighbors_.ids(i, j);
        table.values(i, j) = neighbors_.values(i, j);
      }
    }
    repeat_neighbors(table, key);
    return softmax_graph(std::move(table));
  }
  static Operator made(const Csr<double>& graph) {
    return Operator::from_host(SparseOperator<Real<B>>::general(cast<Real<B>>(graph)));
  }

  NeighborTable neighbors_;  ///< with their counts
  Operator fixed_, epoch_;
};

}  // namespace rearm::REARM_ABI
