#pragma once
/// @file triplets.hpp
/// The rows that a batch of (user, positive, negative) reads, and the losses computed from them.

#include <rearm/autodiff/ops.hpp>
#include <rearm/data/batch.hpp>

namespace rearm::REARM_ABI {

/// A batch's ids with one negative per pair, sorted once for all gathers.
template <Backend B>
struct TripletIds {
  IndexList users, positives, negatives;

  /// Throws DataError for an id out of range, if the host can read the ids.
  TripletIds(Context<B>& ctx, const BatchView<typename B::Memory>& batch, Index n_users, Index n_items)
      : users(make_index_list(ctx, batch.users, n_users)),
        positives(make_index_list(ctx, batch.positives, n_items)),
        negatives(make_index_list(ctx, batch.negatives, n_items)) {}
};

/// A batch's users, positives and negatives one behind the other, as rows of [users; items]. Throws DataError for an id
/// out of range, if the host can read the ids.
template <Backend B>
IndexList triplet_nodes(Context<B>& ctx, const BatchView<typename B::Memory>& batch, Index n_users, Index n_items) {
  return make_index_list(ctx,
                         {StackedIds{batch.users, 0, n_users}, StackedIds{batch.positives, n_users, n_items},
                          StackedIds{batch.negatives, n_users, n_items}},
                         n_users + n_items);
}
/// Its positives and negatives one behind the other.
template <Backend B>
IndexList triplet_items(Context<B>& ctx, const BatchView<typename B::Memory>& batch, Index n_items) {
  return make_index_list(ctx, {StackedIds{batch.positives, 0, n_items}, StackedIds{batch.negatives, 0, n_items}},
                         n_items);
}

/// Row b belongs to triplet b; all three b x w.
template <Backend B>
struct Triplets {
  Var<B> users, positives, negatives;
};

/// Of the rows of `triplet_nodes`.
template <Backend B>
Triplets<B> triplets(Var<B> rows) {
  const Index n = rows.rows() / 3;
  return {rows.rows(0, n), rows.rows(n, n), rows.rows(2 * n, n)};
}
/// Of the users' rows and those of `triplet_items`.
template <Backend B>
Triplets<B> triplets(Var<B> users, Var<B> items) {
  const Index n = users.rows();
  return {users, items.rows(0, n), items.rows(n, n)};
}

/// The batch's rows of two tables; a row named twice appears twice. Of tables that ranks share, those of this rank's
/// positions.
template <Backend B>
Triplets<B> gather(Var<B> users, Var<B> items, const TripletIds<B>& ids) {
  return {split_gather(users, ids.users), split_gather(items, ids.positives), split_gather(items, ids.negatives)};
}

/// -mean_b log(epsilon + sigmoid(u_b . (p_b - n_b))) (Rendle et al., UAI'09).
template <Backend B>
Var<B> bpr_mean(const Triplets<B>& rows, double epsilon = 0) {
  using T = Real<B>;
  return bpr(rows.users, rows.positives, rows.negatives, T{1} / static_cast<T>(rows.users.rows()),
             static_cast<T>(epsilon));
}

/// weight / b (||U||_F + ||P||_F + ||N||_F): norms of the whole b x w matrices, not squared. No part for weight 0.
template <Backend B>
Var<B> norm_penalty(const Triplets<B>& rows, double weight) {
  if (weight == 0) return {};
  const Var<B> pair = add(frobenius_norm(rows.users), frobenius_norm(rows.positives));
  return scale(add(pair, frobenius_norm(rows.negatives)), static_cast<Real<B>>(weight) / Real<B>(rows.users.rows()));
}

/// weight / 2b (||U||_F^2 + ||P||_F^2 + ||N||_F^2). No part for weight 0.
template <Backend B>
Var<B> square_penalty(const Triplets<B>& rows, double weight) {
  if (weight == 0) return {};
  const auto half = static_cast<Real<B>>(weight) / (Real<B>(2) * Real<B>(rows.users.rows()));
  const Var<B> pair = add(sum_of_squares(rows.users, half), sum_of_squares(rows.positives, half));
  return add(pair, sum_of_squares(rows.negatives, half));
}

}  // namespace rearm::REARM_ABI
