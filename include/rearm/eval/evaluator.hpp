#pragma once
/// @file evaluator.hpp
/// Top-k recommendation and all-ranking evaluation from representations, never storing the whole score matrix.

#include <rearm/core/context.hpp>
#include <rearm/data/interactions.hpp>
#include <rearm/eval/metrics.hpp>
#include <rearm/eval/top_k.hpp>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

namespace rearm::REARM_ABI {

/// Row i: the best items of the i-th user, best first. Where candidates run out: id -1, score -infinity.
template <class T>
struct TopK {
  Matrix<Id> ids;
  Matrix<T> scores;
};

namespace detail {

inline void require_rows(const Adjacency& lists, Index n_users, Index n_items, const char* what) {
  if (lists.rows() != n_users)
    throw ShapeError(message("recommend: ", what, " has ", lists.rows(), " rows but there are ", n_users, " users"));
  for (Index u = 0; u < n_users; ++u) {
    const auto row = lists.row(u);
    if (!row.empty() && (row.front() < 0 || row.back() >= n_items))
      throw DataError(message("recommend: ", what, " of user ", u, " names item ",
                              row.front() < 0 ? row.front() : row.back(), " but ids must be in [0, ", n_items, ")"));
  }
}

/// Ranking with nothing but the backend's dense product, a block of users at a time.
template <Backend B>
void rank_by_products(Context<B>& ctx, ConstView<typename B::Scalar> user_rows, std::span<const Id> users,
                      ConstView<typename B::Scalar> item_rows, const Adjacency* masked, MatrixView<Id> ids,
                      MatrixView<typename B::Scalar> scores) {
  using T = typename B::Scalar;
  static_assert(B::Memory::host_accessible, "a backend whose memory the host cannot read must have its own rank_items");
  constexpr Index block = 64;
  Matrix<T> rows(block, user_rows.cols), products(block, item_rows.rows);
  for (Index first = 0; first < ids.rows; first += block) {
    const Index n = std::min(block, ids.rows - first);
    const std::span<const Id> part = users.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(n));
    for (Index i = 0; i < n; ++i)
      std::copy_n(user_rows.row(part[static_cast<std::size_t>(i)]), user_rows.cols, rows.row(i));
    const MatrixView<T> tile = products.view().row_block(0, n);
    B::gemm(ctx, Op::none, Op::transpose, T{1}, ConstView<T>(rows.view().row_block(0, n)), item_rows, tile,
            Write::overwrite);
    for (Index i = 0; i < n; ++i) {
      const Id user = part[static_cast<std::size_t>(i)];
      if (masked != nullptr)
        for (const Id item : masked->row(user)) tile(i, item) = -std::numeric_limits<T>::infinity();
      const auto best = top_k(std::span<const T>(tile.row(i), static_cast<std::size_t>(tile.cols)), ids.cols);
      for (Index r = 0; r < ids.cols; ++r) {
        const Scored<T> entry =
            static_cast<std::size_t>(r) < best.size() ? best[static_cast<std::size_t>(r)] : Scored<T>{};
        ids(first + i, r) = entry.id;
        scores(first + i, r) = entry.score;
      }
    }
  }
}

}  // namespace detail

/// The k items with the highest score user_rows[u] . item_rows[i] for each of `users`; ties by lower id.
/// user_rows is n_users x D, item_rows n_items x D, `masked` (may be null) the items of each user to leave out.
/// Throws ShapeError for widths or rows that do not match, DataError for ids out of range, ConfigError for k < 1,
/// NumericError for a NaN score. A backend may have a `rank_items` of its own. Cost: users x items x D, in blocks of
/// users; the same bits for any number of threads.
template <Backend B>
TopK<typename B::Scalar> recommend(Context<B>& ctx, ConstView<typename B::Scalar> user_rows, std::span<const Id> users,
                                   ConstView<typename B::Scalar> item_rows, const Adjacency* masked, Index k) {
  if (user_rows.cols != item_rows.cols)
    throw ShapeError(detail::message("recommend: users are ", shape_string(user_rows), " but items ",
                                     shape_string(item_rows), "; their widths must agree"));
  if (item_rows.rows > std::numeric_limits<Id>::max())
    throw ShapeError(detail::message("recommend: ", item_rows.rows, " items are more than 32-bit ids can name"));
  if (k < 1 || k > std::numeric_limits<Id>::max())
    throw ConfigError(detail::message("recommend: k = ", k, ": must be 1 to ", std::numeric_limits<Id>::max()));
  for (const Id u : users)
    if (u < 0 || u >= user_rows.rows)
      throw DataError(detail::message("recommend: user ", u, " is outside [0, ", user_rows.rows, ")"));
  if (masked != nullptr) detail::require_rows(*masked, user_rows.rows, item_rows.rows, "the mask");
  const Index n = static_cast<Index>(users.size());
  TopK<typename B::Scalar> out{Matrix<Id>(n, k), Matrix<typename B::Scalar>(n, k)};
  if (n == 0) return out;
  detail::with_memory_errors("ranking items", [&] {
    if constexpr (requires {
                    B::rank_items(ctx, user_rows, users, item_rows, masked, out.ids.view(), out.scores.view());
                  })
      B::rank_items(ctx, user_rows, users, item_rows, masked, out.ids.view(), out.scores.view());
    else
      detail::rank_by_products(ctx, user_rows, users, item_rows, masked, out.ids.view(), out.scores.view());
  });
  return out;
}

namespace detail {

/// The users who have a relevant item, ascending.
inline std::vector<Id> users_to_rank_for(const Adjacency& relevant) {
  std::vector<Id> users;
  for (Index u = 0; u < relevant.rows(); ++u)
    if (relevant.degree(u) > 0) users.push_back(static_cast<Id>(u));
  return users;
}

/// f(lists, users) with the lists of the users who have a relevant item, as long as the largest cutoff.
template <Backend B, class F>
auto with_lists(Context<B>& ctx, ConstView<typename B::Scalar> user_rows, ConstView<typename B::Scalar> item_rows,
                const Adjacency* masked, const Adjacency& relevant, std::span<const Index> ks,
                std::span<const Metric> metrics, const F& f) -> decltype(f(ConstView<Id>(), std::vector<Id>())) try {
  require_rows(relevant, user_rows.rows, item_rows.rows, "the relevant items");
  const std::vector<Id> users = users_to_rank_for(relevant);
  if (users.empty()) throw DataError("evaluate: no user has a relevant item; the split to be evaluated is empty");
  for (const Index k : ks) require_cutoff(k);
  if (ks.empty() || metrics.empty()) return {};
  const TopK<typename B::Scalar> lists =
      recommend<B>(ctx, user_rows, users, item_rows, masked, *std::ranges::max_element(ks));
  return f(lists.ids.view(), users);
} catch (const std::bad_alloc&) {
  throw_out_of_memory("evaluating");
}

}  // namespace detail

/// Mean metrics over the users with at least one relevant item, with every item but the masked ones as a candidate.
/// `masked` are the items of train, `relevant` those of the split under test. Throws what `recommend` and
/// `mean_metrics` throw; DataError if no user has a relevant item.
template <Backend B>
MetricValues evaluate(Context<B>& ctx, ConstView<typename B::Scalar> user_rows, ConstView<typename B::Scalar> item_rows,
                      const Adjacency* masked, const Adjacency& relevant, std::span<const Index> ks,
                      std::span<const Metric> metrics) {
  return detail::with_lists<B>(ctx, user_rows, item_rows, masked, relevant, ks, metrics,
                               [&](ConstView<Id> lists, const std::vector<Id>& users) {
                                 return mean_metrics(lists, users, relevant, ks, metrics);
                               });
}

/// The same user by user.
template <Backend B>
UserMetrics evaluate_users(Context<B>& ctx, ConstView<typename B::Scalar> user_rows,
                           ConstView<typename B::Scalar> item_rows, const Adjacency* masked, const Adjacency& relevant,
                           std::span<const Index> ks, std::span<const Metric> metrics) {
  return detail::with_lists<B>(ctx, user_rows, item_rows, masked, relevant, ks, metrics,
                               [&](ConstView<Id> lists, const std::vector<Id>& users) {
                                 return user_metrics(lists, users, relevant, ks, metrics);
                               });
}

}  // namespace rearm::REARM_ABI
