#pragma once
/// @file co_occurrence.hpp
/// Co-occurrence counts on the CPU: a sparse product, row by row.

#include <rearm/backend/cpu/graph_backend.hpp>
#include <rearm/core/random.hpp>
#include <rearm/data/interactions.hpp>
#include <rearm/graph/co_occurrence.hpp>
#include <rearm/graph/neighbors.hpp>

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {
namespace detail {

/// Calls visit(i, counts of row i of R R^T without the diagonal, unordered, mutable) for every row, in parallel over
/// chunks with one dense accumulator each.
template <HostBackend B, class Visit>
void for_each_co_occurrence_row(Context<B>& ctx, const Adjacency& rows, const Adjacency& columns, const Visit& visit) {
  const Index n = rows.rows();
  // Clearing an accumulator costs O(n): at most 128 are made.
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

}  // namespace detail

/// All of R R^T with a zero diagonal: n x n, sparse, ids ascending. `rows` is R, `columns` its transpose.
/// For inspection; `co_occurrence_top_k` never holds more than a row.
template <HostBackend B>
Csr<double> co_occurrence_counts(Context<B>& ctx, const Adjacency& rows, const Adjacency& columns) {
  std::vector<std::vector<std::pair<Id, double>>> all(static_cast<std::size_t>(rows.rows()));
  detail::for_each_co_occurrence_row(ctx, rows, columns, [&](Index i, const std::vector<detail::CountedId>& found) {
    for (const auto& [id, count] : found) all[static_cast<std::size_t>(i)].emplace_back(id, static_cast<double>(count));
  });
  Index entries = 0;
  for (const auto& row : all) entries += static_cast<Index>(row.size());
  detail::CsrBuilder builder(rows.rows(), entries);
  for (auto& row : all) builder.add_row(row);
  return std::move(builder).finish(rows.rows());
}

/// The k highest counts of every row of R R^T without the diagonal: higher count first, then lower id; fewer if a row
/// has fewer. Throws ConfigError unless k >= 1. Time O(sum over columns of degree^2), memory O(n k).
template <HostBackend B>
NeighborTable co_occurrence_top_k(Context<B>& ctx, const Adjacency& rows, const Adjacency& columns, Index k) {
  if (k < 1) throw ConfigError(detail::message("co-occurrence: k = ", k, ": must be at least 1"));
  NeighborTable table(rows.rows(), k);
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

/// `co_occurrence_top_k`, padded from draws of `key` if asked for: the CPU's part of `co_occurrence_graph`.
template <HostBackend B>
NeighborTable co_occurrence_neighbors(Context<B>& ctx, const Adjacency& rows, const Adjacency& columns, Index k,
                                      Padding padding, RandomKey key) {
  NeighborTable table = co_occurrence_top_k(ctx, rows, columns, k);
  if (padding == Padding::fill) pad_neighbors(table, rows, key);
  return table;
}

}  // namespace rearm::REARM_ABI
