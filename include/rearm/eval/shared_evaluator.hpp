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

/// `recommend` on every rank, with the lists that a single process makes: `user_rows` and `item_rows` are this rank's,
/// `users`, ascending, and `masked` all ranks'. Takes n_items x D and the lists beside its arguments. Every rank must
/// call it.
template <Backend B>
TopK<Real<B>> recommend_shared(Context<B>& ctx, In<B> user_rows, const RowBlocks& user_blocks,
                               std::span<const Id> users, In<B> item_rows, const RowBlocks& item_blocks,
                               const Adjacency* masked, Index k) {
  using T = Real<B>;
  static_assert(B::Memory::host_accessible);
  detail::require_shape(user_rows, user_blocks.size(), user_rows.cols, "recommend_shared", "users");
  detail::require_shape(item_rows, item_blocks.size(), user_rows.cols, "recommend_shared", "items");
  if (!std::ranges::is_sorted(users)) throw ShapeError("recommend_shared: the users must ascend");
  Communicator& ranks = *user_blocks.ranks;
  Matrix<T> items(item_blocks.rows(), item_rows.cols);
  for (Index i = 0; i < item_rows.rows; ++i)
    std::copy_n(item_rows.row(i), item_rows.cols, items.row(item_blocks.begin() + i));
  ranks.all_gather(items.data(), item_blocks.counts(items.cols()));

  const auto first_of = [&](int rank) {
    return std::ranges::lower_bound(users, static_cast<Id>(user_blocks.begin(rank))) - users.begin();
  };
  std::vector<Index> counts;
  for (int rank = 0; rank < ranks.size(); ++rank) counts.push_back(first_of(rank + 1) - first_of(rank));
  const Index first = first_of(ranks.rank()), n = counts[static_cast<std::size_t>(ranks.rank())];
  std::vector<Id> own(users.begin() + first, users.begin() + first + n);
  for (Id& user : own) user -= static_cast<Id>(user_blocks.begin());
  Adjacency own_masked;
  if (masked != nullptr) {
    detail::require_rows(*masked, user_blocks.rows(), item_blocks.rows(), "the mask");
    for (Index u = 0; u < user_blocks.size(); ++u) {
      const auto row = masked->row(user_blocks.begin() + u);
      own_masked.ids.insert(own_masked.ids.end(), row.begin(), row.end());
      own_masked.offsets.push_back(static_cast<Index>(own_masked.ids.size()));
    }
  }
  const TopK<T> lists =
      recommend<B>(ctx, user_rows, own, std::as_const(items).view(), masked != nullptr ? &own_masked : nullptr, k);
  TopK<T> out{Matrix<Id>(static_cast<Index>(users.size()), k), Matrix<T>(static_cast<Index>(users.size()), k)};
  std::copy_n(lists.ids.data(), lists.ids.size(), out.ids.data() + first * k);
  std::copy_n(lists.scores.data(), lists.scores.size(), out.scores.data() + first * k);
  for (Index& count : counts) count *= k;
  ranks.all_gather(out.ids.data(), counts);
  ranks.all_gather(out.scores.data(), counts);
  return out;
}

/// `evaluate` on every rank, with the metrics of a single process.
template <Backend B>
MetricValues evaluate_shared(Context<B>& ctx, In<B> user_rows, const RowBlocks& user_blocks, In<B> item_rows,
                             const RowBlocks& item_blocks, const Adjacency* masked, const Adjacency& relevant,
                             std::span<const Index> ks, std::span<const Metric> metrics) {
  return detail::with_lists<B>(
      user_blocks.rows(), item_blocks.rows(), relevant, ks, metrics,
      [&](std::span<const Id> users, Index k) {
        return recommend_shared<B>(ctx, user_rows, user_blocks, users, item_rows, item_blocks, masked, k);
      },
      [&](ConstView<Id> lists, const std::vector<Id>& users) {
        return mean_metrics(lists, users, relevant, ks, metrics);
      });
}

}  // namespace rearm::REARM_ABI
