#pragma once
/// @file new_users.hpp
/// Representations of users with whom a model was not trained, from their items, whatever the model.

#include <rearm/core/backend.hpp>
#include <rearm/core/cholesky.hpp>
#include <rearm/core/context.hpp>
#include <rearm/core/matrix.hpp>
#include <rearm/data/interactions.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

namespace rearm::REARM_ABI {
namespace detail {

/// m(S) = sum of the items' rows / sqrt(|S|).
template <class T>
void add_up_items(ConstView<T> items, std::span<const Id> list, T* out) {
  std::fill_n(out, items.cols, T{});
  for (const Id item : list)
    for (Index c = 0; c < items.cols; ++c) out[c] += items(item, c);
  if (list.empty()) return;
  const T scale = T{1} / std::sqrt(static_cast<T>(list.size()));
  for (Index c = 0; c < items.cols; ++c) out[c] *= scale;
}

}  // namespace detail

/// A row for each list of items, `lists.rows()` x D: u(S) = m(S) W with m(S) = |S|^-1/2 sum_{i in S} q_i, a step of
/// propagation, and W the D x D map that takes the known users' m(S_v) to their representations u_v best, by ridge
/// regression over the users who have items in `seen`:
///     W = (M^T M + lambda I)^-1 M^T U,  lambda = ridge trace(M^T M) / D.
/// So a model whose users are sums of what their items are (LightGCN) and one with user embeddings of their own
/// (BPR-MF) are treated alike, and scores have the scale of known users'. An empty list gives zeros. `users` is n_users
/// x D, `items` n_items x D, both on the host. Throws ShapeError for shapes that do not fit, DataError for an item out
/// of range or if no known user has items, NumericError for representations that are not finite. Cost: 2 n_users D^2 +
/// D^3 multiply-adds.
template <Backend B>
Matrix<typename B::Scalar> represent_users(Context<B>& ctx, ConstView<typename B::Scalar> users,
                                           ConstView<typename B::Scalar> items, const Adjacency& seen,
                                           const Adjacency& lists, double ridge = 1e-2) {
  using T = typename B::Scalar;
  static_assert(B::Memory::host_accessible, "represent_users reads the rows on the host; copy them there");
  if (users.cols != items.cols || seen.rows() != users.rows)
    throw ShapeError(detail::message("represent_users: users are ", shape_string(users), ", items ",
                                     shape_string(items), ", lists of seen items ", seen.rows()));
  for (const Adjacency* rows : {&seen, &lists})
    for (const Id item : rows->ids)
      if (item < 0 || item >= items.rows)
        throw DataError(detail::message("represent_users: item ", item, " is outside [0, ", items.rows, ")"));
  const Index d = items.cols;
  std::vector<Id> known;
  for (Index u = 0; u < users.rows; ++u)
    if (seen.degree(u) > 0) known.push_back(static_cast<Id>(u));
  if (known.empty()) throw DataError("represent_users: the model has no user with items to learn from");
  constexpr Index block = 4096;
  const Index most = std::min(block, static_cast<Index>(known.size()));
  Matrix<T> m(most, d), u(most, d), product(d, d);
  Matrix<double> a(d, d), w(d, d);  // w is transposed: row c solves for column c of the representation
  for (Index first = 0; first < static_cast<Index>(known.size()); first += block) {
    const Index n = std::min(block, static_cast<Index>(known.size()) - first);
    B::for_each(ctx, n, [&](Index i, auto) {
      const Id user = known[static_cast<std::size_t>(first + i)];
      detail::add_up_items<T>(items, seen.row(user), m.row(i));
      std::copy_n(users.row(user), d, u.row(i));
    });
    const ConstView<T> part = m.view().row_block(0, n);
    const auto add = [&](ConstView<T> left, Matrix<double>& to) {
      B::gemm(ctx, Op::transpose, Op::none, T{1}, left, part, product.view(), Write::overwrite);
      for (Index i = 0; i < to.size(); ++i) to.data()[i] += static_cast<double>(product.data()[i]);
    };
    add(part, a);
    add(u.view().row_block(0, n), w);
  }
  double trace = 0;
  for (Index c = 0; c < d; ++c) trace += a(c, c);
  for (Index c = 0; c < d; ++c) a(c, c) += ridge * trace / static_cast<double>(d) + 1e-30;
  const Cholesky factors(std::move(a));
  for (Index c = 0; c < d; ++c) factors.solve(w.row(c));
  Matrix<T> out(lists.rows(), d);
  B::for_each(ctx, out.rows(), [&](Index i, auto) {
    std::vector<T> sum(static_cast<std::size_t>(d));
    detail::add_up_items<T>(items, lists.row(i), sum.data());
    for (Index c = 0; c < d; ++c) {
      double value = 0;
      for (Index j = 0; j < d; ++j) value += static_cast<double>(sum[static_cast<std::size_t>(j)]) * w(c, j);
      out(i, c) = static_cast<T>(value);
    }
  });
  return out;
}

}  // namespace rearm::REARM_ABI
