#pragma once
/// @file co_occurrence.hpp
/// Who interacted with the same things: the k strongest co-occurrences of every node, from a sparse product.

#include <rearm/core/random.hpp>
#include <rearm/data/interactions.hpp>
#include <rearm/graph/host_backend.hpp>
#include <rearm/graph/neighbours.hpp>
#include <rearm/graph/normalize.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace rearm {
namespace detail {

using CountedId = std::pair<Id, Index>;

/// Calls visit(i, counts of row i of R R^T without the diagonal, unordered, mutable) for every row, in parallel over
/// chunks with one dense accumulator each.
template <HostBackend B, class Visit>
void for_each_co_occurrence_row(Context<B>& ctx, const Adjacency& rows, const Adjacency& columns, const Visit& visit) {
  const Index n = rows.rows();
  // An accumulator costs n: no more than 128 of them are ever cleared.
  const Index grain = std::max<Index>(256, (n + 127) / 128);
  cpu::parallel_ranges(ctx.resources(), n, grain, [&](Index begin, Index end) {
    std::vector<Index> count(static_cast<std::size_t>(n), 0);
    std::vector<Id> touched;
    std::vector<CountedId> found;
    for (Index i = begin; i < end; ++i) {
      for (const Id column : rows.row(i))
        for (const Id other : columns.row(column))
          if (other != i && count[static_cast<std::size_t>(other)]++ == 0) touched.push_back(other);
      for (const Id other : touched)
        found.emplace_back(other, std::exchange(count[static_cast<std::size_t>(other)], 0));
      visit(i, found);
      touched.clear();
      found.clear();
    }
  });
}

/// Higher count first, then lower id.
inline bool counts_before(const CountedId& a, const CountedId& b) {
  return a.second > b.second || (a.second == b.second && a.first < b.first);
}

}  // namespace detail

/// R R^T with a zero diagonal, whole: n x n, sparse, ids ascending. `rows` is R, `columns` its transpose.
/// For inspection; `co_occurrence_top_k` never holds more than a row.
template <HostBackend B>
Csr<double> co_occurrence_counts(Context<B>& ctx, const Adjacency& rows, const Adjacency& columns) {
  std::vector<std::vector<std::pair<Id, double>>> all(static_cast<std::size_t>(rows.rows()));
  detail::for_each_co_occurrence_row(ctx, rows, columns, [&](Index i, const std::vector<detail::CountedId>& found) {
    for (const auto& [id, count] : found) all[static_cast<std::size_t>(i)].emplace_back(id, static_cast<double>(count));
  });
  detail::CsrBuilder builder;
  for (auto& row : all) builder.add_row(row);
  return builder.finish(rows.rows());
}

/// Of every row of R R^T without the diagonal the k highest counts: higher count first, then lower id; fewer where a
/// row has fewer. Throws ConfigError unless k >= 1. Time O(sum over columns of degree^2), memory O(n k).
template <HostBackend B>
NeighbourTable co_occurrence_top_k(Context<B>& ctx, const Adjacency& rows, const Adjacency& columns, Index k) {
  if (k < 1) throw ConfigError(detail::message("co-occurrence: k = ", k, ": must be at least 1"));
  NeighbourTable table(rows.rows(), k);
  detail::for_each_co_occurrence_row(ctx, rows, columns, [&](Index i, std::vector<detail::CountedId>& found) {
    const Index kept = std::min(k, static_cast<Index>(found.size()));
    std::partial_sort(found.begin(), found.begin() + kept, found.end(), detail::counts_before);
    for (Index j = 0; j < kept; ++j) {
      table.ids(i, j) = found[static_cast<std::size_t>(j)].first;
      table.values(i, j) = static_cast<double>(found[static_cast<std::size_t>(j)].second);
    }
    table.counts[i] = kept;
  });
  return table;
}

/// Every row filled to k, as the authors' program does: a row with some neighbours draws more of its own uniformly at
/// random (position (row, slot) of `key`); an empty row takes the k nodes with the most pairs, then lower id, valued
/// count / sum of the k counts. Throws ConfigError when k > n.
inline void pad_neighbours(NeighbourTable& table, const Adjacency& rows, RandomKey key) {
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

/// C, n x n: the softmax over the counts of each row's k strongest co-occurrences (paper, section 4.2.1).
/// `reference` pads short and empty rows first, see `pad_neighbours`; `paper` leaves an empty row empty.
/// Throws ConfigError unless 1 <= k, and k <= n where it pads.
template <HostBackend B>
Csr<double> co_occurrence_graph(Context<B>& ctx, const Adjacency& rows, const Adjacency& columns, Index k,
                                Variant variant, RandomKey key) {
  NeighbourTable table = co_occurrence_top_k(ctx, rows, columns, k);
  if (variant == Variant::reference) pad_neighbours(table, rows, key);
  for (Index i = 0; i < table.rows(); ++i)
    softmax_in_place({table.values.row(i), static_cast<std::size_t>(table.counts[i])});
  return to_csr(table);
}

}  // namespace rearm
