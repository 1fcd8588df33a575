#pragma once
/// @file shared_evaluator.hpp
/// All-ranking evaluation of representations whose rows ranks share: each ranks all items for its own users.

#include <rearm/eval/evaluator.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// All rows of a matrix that ranks share, on every rank, each of which must call it.
template <class T>
Matrix<T> whole_rows(ConstView<T> own, const RowBlocks& blocks) {
  detail::require_shape(own, blocks.size(), own.cols, "whole_rows", "rows");
  Matrix<T> all(blocks.rows(), own.cols);
  for (Index i = 0; i < own.rows; ++i) std::copy_n(own.row(i), own.cols, all.row(blocks.begin() + i));
  blocks.ranks->all_gather(all.data(), blocks.counts(own.cols));
  return all;
}

/// How many users' lists a rank holds at a time.
inline constexpr Index shared_lists = 8192;

/// `evaluate` on every rank, with the metrics of a single process, to the last bit: `user_rows`, `masked` and
/// `relevant` are of this rank's users, numbered from 0, `item_rows` of its items. Every rank must call it.
template <Backend B>
MetricValues evaluate_shared(Context<B>& ctx, In<B> user_rows, In<B> item_rows, const RowBlocks& item_blocks,
                             const Adjacency* masked, const Adjacency& relevant, std::span<const Index> ks,
                             std::span<const Metric> metrics) try {
  static_assert(B::Memory::host_accessible);
  Communicator& ranks = *item_blocks.ranks;
  detail::require_rows(relevant, user_rows.rows, item_blocks.rows(), "the relevant items");
  const std::vector<Id> users = detail::users_to_rank_for(relevant);
  auto n_users = static_cast<Index>(users.size());
  ranks.sum(std::span<Index>(&n_users, 1));
  if (n_users == 0) throw DataError("evaluate: no user has a relevant item; the split to be evaluated is empty");
  for (const Index k : ks) detail::require_cutoff(k);
  if (ks.empty() || metrics.empty()) return {};
  const Index longest = *std::ranges::max_element(ks);
  const Matrix<Real<B>> items = whole_rows(item_rows, item_blocks);
  std::vector<double> values;
  for (std::size_t first = 0; first < users.size(); first += shared_lists) {
    const auto part =
        std::span<const Id>(users).subspan(first, std::min<std::size_t>(shared_lists, users.size() - first));
    const TopK<Real<B>> lists = recommend<B>(ctx, user_rows, part, items.view(), masked, longest);
    detail::for_each_user(std::as_const(lists.ids).view(), part, relevant, ks, metrics,
                          [&](std::size_t, std::span<const double> of_user) {
                            values.insert(values.end(), of_user.begin(), of_user.end());
                          });
  }
  // A rank's users go on with the sums of those before them.
  std::vector<double> sums(ks.size() * metrics.size(), 0.0);
  for (int rank = 0; rank < ranks.size(); ++rank) {
    if (rank == ranks.rank())
      for (std::size_t i = 0; i < values.size(); ++i) sums[i % sums.size()] += values[i];
    ranks.broadcast(rank, std::span<double>(sums));
  }
  MetricValues out;
  std::size_t slot = 0;
  for (const Metric metric : metrics)
    for (const Index k : ks) out[metric_name(metric, k)] = sums[slot++] / static_cast<double>(n_users);
  return out;
} catch (const std::bad_alloc&) {
  detail::throw_out_of_memory("evaluating");
}

}  // namespace rearm::REARM_ABI
