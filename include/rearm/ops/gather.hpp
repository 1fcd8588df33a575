#pragma once
/// @file gather.hpp
/// Rows by id, and the transposed operator, which adds rows to the ids they came from.

#include <rearm/core/context.hpp>
#include <rearm/core/index_list.hpp>
#include <rearm/functors/gather.hpp>

#include <span>

namespace rearm::REARM_ABI {

namespace detail {
inline void require_ids(std::span<const Id> ids, Index n_rows) {
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || ids[i] >= n_rows)
      throw DataError(message("gather: id ", ids[i], " at position ", i, " is outside [0, ", n_rows, ")"));
}
}  // namespace detail

/// Prepares ids, in the backend's memory, for gather and its backward pass. Every id must lie in [0, n_rows), which is
/// checked if the host can read the ids (DataError with position and value).
template <Backend B>
IndexList make_index_list(Context<B>& ctx, std::span<const Id> ids, Index n_rows) {
  if constexpr (B::Memory::host_accessible) detail::require_ids(ids, n_rows);
  return B::index_list(ctx, ids, n_rows);
}

/// make_index_list of the distinct ids of a and b together, in ascending order.
template <Backend B>
IndexList make_distinct_list(Context<B>& ctx, std::span<const Id> a, std::span<const Id> b, Index n_rows) {
  if constexpr (B::Memory::host_accessible) {
    detail::require_ids(a, n_rows);
    detail::require_ids(b, n_rows);
  }
  if constexpr (requires { B::distinct_list(ctx, a, b, n_rows); }) {
    return B::distinct_list(ctx, a, b, n_rows);
  } else {
    const auto capacity = static_cast<Index>(a.size() + b.size());
    Arena<typename B::Memory>& arena = ctx.arena();
    Id* const both = arena.template allocate<Id>(capacity);
    Id* const ids = arena.template allocate<Id>(capacity);
    Id* const order = arena.template allocate<Id>(capacity);
    Index* const segments = arena.template allocate<Index>(capacity + 1);
    B::for_each(ctx, capacity, functors::JoinIdsRow{a.data(), static_cast<Index>(a.size()), b.data(), both});
    const IndexList all = B::index_list(ctx, {both, static_cast<std::size_t>(capacity)}, n_rows);
    B::for_each(ctx, all.n_segments + 1, functors::DistinctIdsRow{all, ids, order, segments});
    return {ids, all.n_segments, order, segments, all.n_segments};
  }
}

/// y_i = x_{ids[i]}: x n x w, y size x w.
template <Backend B>
void gather(Context<B>& ctx, In<B> x, const IndexList& ids, Out<B> y) {
  detail::require_shape(y, ids.size, x.cols, "gather", "output");
  B::for_each(ctx, ids.size, functors::GatherRow<Real<B>>{x, ids.ids, y});
}

/// y_i = row ids[i] of the sparse matrix A, written out: A n x w with distinct columns in a row, `ids` in the backend's
/// memory, y size x w. Each id must lie in [0, n), which is checked as in make_index_list.
template <Backend B>
void gather(Context<B>& ctx, const CsrView<Real<B>>& a, std::span<const Id> ids, Out<B> y) {
  if constexpr (B::Memory::host_accessible) detail::require_ids(ids, a.rows);
  detail::require_shape(y, static_cast<Index>(ids.size()), a.cols, "gather", "output");
  B::for_each(ctx, y.rows, functors::GatherSparseRow<Real<B>>{a, ids.data(), y});
}

/// d_x_{ids[i]} += d_y_i; repeated ids add in ascending position.
template <Backend B>
void scatter_add(Context<B>& ctx, const IndexList& ids, In<B> d_y, Out<B> d_x) {
  detail::require_shape(d_y, ids.size, d_x.cols, "scatter_add", "input");
  using T = Real<B>;
  B::for_each(ctx, ids.n_segments, functors::ScatterAddRow<T>{ids.ids, ids.order, ids.segments, d_y, d_x});
}

}  // namespace rearm::REARM_ABI
