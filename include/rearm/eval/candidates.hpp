#pragma once
/// @file candidates.hpp
/// Rankings of some items: of a part of all, or of each user's own candidates.

#include <rearm/core/backend.hpp>
#include <rearm/core/context.hpp>
#include <rearm/core/matrix.hpp>
#include <rearm/data/interactions.hpp>
#include <rearm/eval/evaluator.hpp>
#include <rearm/eval/top_k.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// A part of the items, which `recommend` ranks as if there were no others: it costs as much as the part is large.
template <class T>
class ItemSubset {
 public:
  /// `items` in any order, repeats dropped; `item_rows` (n_items x D) on the host. Throws DataError for an id outside
  /// [0, n_items).
  ItemSubset(ConstView<T> item_rows, std::vector<Id> items) : items_(std::move(items)) {
    std::ranges::sort(items_);
    items_.erase(std::unique(items_.begin(), items_.end()), items_.end());
    if (!items_.empty() && (items_.front() < 0 || items_.back() >= item_rows.rows))
      throw DataError(detail::message("item ", items_.front() < 0 ? items_.front() : items_.back(), " is outside [0, ",
                                      item_rows.rows, ")"));
    rows_ = Matrix<T>(static_cast<Index>(items_.size()), item_rows.cols);
    for (std::size_t p = 0; p < items_.size(); ++p)
      std::copy_n(item_rows.row(items_[p]), item_rows.cols, rows_.row(static_cast<Index>(p)));
  }
  /// Ascending.
  const std::vector<Id>& items() const noexcept { return items_; }
  /// The part's rows, in that order: what `recommend` is given.
  ConstView<T> rows() const noexcept { return rows_.view(); }
  /// The items of each list that are in the part, as numbers of rows.
  Adjacency renumber(const Adjacency& lists) const {
    Adjacency out;
    for (Index u = 0; u < lists.rows(); ++u) {
      auto at = items_.begin();
      for (const Id item : lists.row(u)) {
        at = std::lower_bound(at, items_.end(), item);
        if (at == items_.end()) break;
        if (*at == item) out.ids.push_back(static_cast<Id>(at - items_.begin()));
      }
      out.offsets.push_back(static_cast<Index>(out.ids.size()));
    }
    return out;
  }
  /// Numbers of rows, as `recommend` gave them, become items; -1 stays.
  void restore(MatrixView<Id> ids) const {
    for (Index i = 0; i < ids.rows; ++i)
      for (Index r = 0; r < ids.cols; ++r)
        if (ids(i, r) >= 0) ids(i, r) = items_[static_cast<std::size_t>(ids(i, r))];
  }

 private:
  std::vector<Id> items_;
  Matrix<T> rows_;
};

/// The k best of each user's own candidates: row i ranks candidates.row(users[i]) without masked->row(users[i]) by
/// user_rows[users[i]] . item_rows[item], summed in double; ties by lower id. Throws what `recommend` throws. Cost:
/// D multiply-adds a candidate, users in parallel.
template <Backend B>
TopK<typename B::Scalar> rank_candidates(Context<B>& ctx, ConstView<typename B::Scalar> user_rows,
                                         std::span<const Id> users, ConstView<typename B::Scalar> item_rows,
                                         const Adjacency* masked, const Adjacency& candidates, Index k) {
  using T = typename B::Scalar;
  static_assert(B::Memory::host_accessible, "rank_candidates reads the rows on the host; copy them there");
  if (k < 1) throw ConfigError(detail::message("k = ", k, ": must be at least 1"));
  if (user_rows.cols != item_rows.cols)
    throw ShapeError(detail::message("rank_candidates: users are ", shape_string(user_rows), " but items ",
                                     shape_string(item_rows), "; their widths must agree"));
  detail::require_rows(candidates, user_rows.rows, item_rows.rows, "the candidates");
  if (masked != nullptr) detail::require_rows(*masked, user_rows.rows, item_rows.rows, "the mask");
  for (const Id u : users)
    if (u < 0 || u >= user_rows.rows)
      throw DataError(detail::message("recommend: user ", u, " is outside [0, ", user_rows.rows, ")"));
  TopK<T> out{Matrix<Id>(static_cast<Index>(users.size()), k), Matrix<T>(static_cast<Index>(users.size()), k)};
  B::for_each(ctx, out.ids.rows(), [&](Index i, auto) {
    const Id user = users[static_cast<std::size_t>(i)];
    const T* const row = user_rows.row(user);
    TopKSelector<T> best(k);
    for (const Id item : candidates.row(user)) {
      if (masked != nullptr && masked->contains(user, item)) continue;
      double score = 0;
      for (Index c = 0; c < user_rows.cols; ++c)
        score += static_cast<double>(row[c]) * static_cast<double>(item_rows(item, c));
      best.offer(static_cast<T>(score), item);
    }
    const auto list = best.sorted();
    for (Index r = 0; r < k; ++r) {
      const Scored<T> entry =
          static_cast<std::size_t>(r) < list.size() ? list[static_cast<std::size_t>(r)] : Scored<T>{};
      out.ids(i, r) = entry.id;
      out.scores(i, r) = entry.score;
    }
  });
  return out;
}

/// A list with the id itself for each of n: the mask that leaves an item out of those similar to it.
inline Adjacency each_itself(Index n) {
  Adjacency out;
  for (Index i = 0; i < n; ++i) {
    out.ids.push_back(static_cast<Id>(i));
    out.offsets.push_back(i + 1);
  }
  return out;
}

/// The rows, each divided by its norm; a zero row stays zero. On the host.
template <class T>
Matrix<T> unit_rows(ConstView<T> rows) {
  Matrix<T> out(rows.rows, rows.cols);
  for (Index i = 0; i < rows.rows; ++i) {
    double sum = 0;
    for (Index j = 0; j < rows.cols; ++j) sum += static_cast<double>(rows(i, j)) * static_cast<double>(rows(i, j));
    const double scale = sum > 0 ? 1 / std::sqrt(sum) : 0;
    for (Index j = 0; j < rows.cols; ++j) out(i, j) = static_cast<T>(static_cast<double>(rows(i, j)) * scale);
  }
  return out;
}

/// By what rows are alike: x . y / (|x| |y|), or x . y.
enum class Similarity { cosine, inner_product };

/// The k rows most similar to each of `ids`, itself left out, most similar first, ties by lower id; TopK::scores has
/// the similarities. For the representations of a model's items or users. Throws what `recommend` throws. A program
/// that asks again and again keeps unit_rows and each_itself, and calls `recommend`.
template <Backend B>
TopK<typename B::Scalar> similar_rows(Context<B>& ctx, ConstView<typename B::Scalar> rows, std::span<const Id> ids,
                                      Index k, Similarity by = Similarity::cosine) {
  const Matrix<typename B::Scalar> units =
      by == Similarity::cosine ? unit_rows<typename B::Scalar>(rows) : Matrix<typename B::Scalar>();
  const ConstView<typename B::Scalar> compared = by == Similarity::cosine ? units.view() : rows;
  const Adjacency self = each_itself(rows.rows);
  return recommend<B>(ctx, compared, ids, compared, &self, k);
}

}  // namespace rearm::REARM_ABI
