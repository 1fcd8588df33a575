#pragma once
/// @file co_occurrence.hpp
/// Who interacted with the same things: the graph of the k strongest co-occurrences of every node.

#include <rearm/core/context.hpp>
#include <rearm/core/random.hpp>
#include <rearm/data/interactions.hpp>
#include <rearm/graph/neighbors.hpp>
#include <rearm/graph/normalize.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// What happens to a node with fewer than k neighbors: it keeps those it has, or is padded (`pad_neighbors`).
enum class Padding { none, fill };

namespace detail {

using CountedId = std::pair<Id, Index>;

/// Higher count first, then lower id.
inline bool counts_before(const CountedId& a, const CountedId& b) {
  return a.second > b.second || (a.second == b.second && a.first < b.first);
}

}  // namespace detail

/// Every row filled to k, as the authors' program does: a row with some neighbors draws more of its own uniformly at
/// random (position (row, slot) of `key`); an empty row takes the k nodes with the most pairs, then lower id, valued
/// count / sum of the k counts. Throws ConfigError when k > n.
inline void pad_neighbors(NeighborTable& table, const Adjacency& rows, RandomKey key) {
  const Index n = table.rows();
  const Index k = table.capacity();
  if (k > n)
    throw ConfigError(detail::message("padding: k = ", k, " but there are ", n, " nodes; choose k below that"));
  std::vector<detail::CountedId> popular;
  for (Index i = 0; i < n; ++i) popular.emplace_back(static_cast<Id>(i), rows.degree(i));
  std::partial_sort(popular.begin(), popular.begin() + k, popular.end(), detail::counts_before);
  double total = 0;
  for (Index j = 0; j < k; ++j) total += static_cast<double>(popular[static_cast<std::size_t>(j)].second);
  for (Index i = 0; i < n; ++i) {
    const Index own = table.counts[i];
    for (Index j = own; j < k; ++j) {
      if (own > 0) {
        const auto position = static_cast<std::uint64_t>(i * k + j);
        const Index drawn = static_cast<Index>(key.below(position, static_cast<std::uint32_t>(own)));
        table.ids(i, j) = table.ids(i, drawn);
        table.values(i, j) = table.values(i, drawn);
      } else {
        const auto& [id, count] = popular[static_cast<std::size_t>(j)];
        table.ids(i, j) = id;
        table.values(i, j) = total > 0 ? static_cast<double>(count) / total : 0.0;
      }
    }
    table.counts[i] = k;
  }
}

/// C, n x n: the softmax over the counts of each row's k strongest co-occurrences. `rows` is R, `columns` its
/// transpose; counts are those of R R^T without the diagonal, higher first, then lower id. Without padding an empty row
/// stays empty. Throws ConfigError unless 1 <= k, and k <= n where it pads. Counting is the backend's
/// (`co_occurrence_neighbors`), the rest O(n k) on the host.
template <Backend B>
Csr<double> co_occurrence_graph(Context<B>& ctx, const Adjacency& rows, const Adjacency& columns, Index k,
                                Padding padding, RandomKey key) {
  NeighborTable table = co_occurrence_neighbors(ctx, rows, columns, k, padding, key);
  for (Index i = 0; i < table.rows(); ++i)
    softmax_in_place({table.values.row(i), static_cast<std::size_t>(table.counts[i])});
  return to_csr(table);
}

}  // namespace rearm::REARM_ABI
