#pragma once
/// @file gather.hpp
/// Rows by id, and the transposed operator, which adds rows to the ids they came from.

#include <rearm/core/context.hpp>
#include <rearm/core/index_list.hpp>
#include <rearm/functors/gather.hpp>

#include <initializer_list>
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

/// Ids of rows [0, n) of a matrix that begins at row `first` of a stack of matrices.
struct StackedIds {
  std::span<const Id> ids;
  Index first, n;
};

/// make_index_list of the rows of a stack that several lists name, one list behind the other. The rows may overlap.
template <Backend B>
IndexList make_index_list(Context<B>& ctx, std::initializer_list<StackedIds> parts, Index n_rows) {
  Index size = 0;
  for (const StackedIds& part : parts) {
    if constexpr (B::Memory::host_accessible) detail::require_ids(part.ids, part.n);
    size += static_cast<Index>(part.ids.size());
  }
  Id* const all = ctx.arena().template allocate<Id>(size);
  Index begin = 0;
  for (const StackedIds& part : parts) {
    const auto n = static_cast<Index>(part.ids.size());
    const functors::MoveIdRow row{part.ids.data(), part.first, all + begin};
    if constexpr (B::Memory::host_accessible)  // also where a backend's rows are not run: the list is as long as it is
      for (Index i = 0; i < n; ++i) row(i, SoleLane{});
    else
      B::for_each(ctx, n, row);
    begin += n;
  }
  return B::index_list(ctx, {all, static_cast<std::size_t>(size)}, n_rows);
}

/// make_index_list of the distinct ids of a and b together, in ascending order.
template <Backend B>
IndexList make_distinct_list(Context<B>& ctx, std::span<const Id> a, std::span<const Id> b, Index n_rows) {
  if constexpr (requires { B::distinct_list(ctx, a, b, n_rows); }) {
    return B::distinct_list(ctx, a, b, n_rows);
  } else {
    const IndexList all = make_index_list(ctx, {StackedIds{a, 0, n_rows}, StackedIds{b, 0, n_rows}}, n_rows);
    Arena<typename B::Memory>& arena = ctx.arena();
    Id* const ids = arena.template allocate<Id>(all.size);
    Id* const order = arena.template allocate<Id>(all.size);
    Index* const segments = arena.template allocate<Index>(all.size + 1);
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
