#pragma once
/// @file ranks.hpp
/// What operators say to other ranks. In a dry run, which computes nothing, they take the memory and say nothing.

#include <rearm/core/context.hpp>
#include <rearm/core/csr.hpp>
#include <rearm/ops/gather.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace rearm::REARM_ABI {

namespace detail {

template <class B>
bool dry_run(const Context<B>& ctx) {
  if constexpr (requires { ctx.resources().dry_run(); })
    return ctx.resources().dry_run();
  else
    return false;
}

template <class T>
std::span<std::byte> rows_as_bytes(const MatrixView<T>& m) {
  return {reinterpret_cast<std::byte*>(m.data), static_cast<std::size_t>(m.size()) * sizeof(T)};
}

}  // namespace detail

/// x <- the sum of all ranks' x, in the order of ranks. x contiguous.
template <Backend B>
void sum_over_ranks(Context<B>& ctx, Out<B> x) {
  if (ctx.ranks() != nullptr && !detail::dry_run(ctx))
    ctx.ranks()->sum(std::span<Real<B>>(x.data, static_cast<std::size_t>(x.size())));
}

namespace detail {

/// f(rows of `packed` for each rank, the first of each rank's rows among those sent, the rows that each sends), for
/// pieces of an exchange: what is being sent, or added, then takes little room.
template <Backend B, class F>
void for_each_piece(Context<B>& ctx, const RowExchange& rows, Index n_packed, Index cols, const F& f) {
  using T = Real<B>;
  const Index n = ctx.ranks()->size();
  constexpr Index room = (Index{1} << 22) / static_cast<Index>(sizeof(T));  // elements, for all ranks together
  const Index piece = std::clamp<Index>(room / (n * std::max<Index>(cols, 1)), 64, std::max<Index>(rows.most_rows, 64));
  Scratch<B> scratch(ctx);
  const Out<B> packed = scratch.template matrix<T>(std::min(n * piece, n_packed), cols);
  if (dry_run(ctx)) return;
  for (Index begin = 0; begin < rows.most_rows; begin += piece)
    f(packed, begin, [=](Index all) { return std::clamp<Index>(all - begin, 0, piece); });
}

}  // namespace detail

/// The rows of `all` below its own ones <- the other ranks', where all has rows.own_rows and at least rows.rows more.
/// `all` contiguous.
template <Backend B>
void receive_rows(Context<B>& ctx, const RowExchange& rows, Out<B> all) {
  using T = Real<B>;
  // A few pointers a rank, on the heap: ranks are few, and a step of several says little else.
  const auto n = static_cast<std::size_t>(ctx.ranks()->size());
  std::vector<std::span<const std::byte>> send(n);
  std::vector<std::span<std::byte>> receive(n);
  detail::for_each_piece(ctx, rows, rows.sent_rows, all.cols, [&](Out<B> packed, Index begin, const auto& part) {
    Index first = begin, to = rows.own_rows + begin, slot = 0;
    for (std::size_t q = 0; q < n; ++q) {
      const Out<B> out = packed.row_block(slot, part(rows.send[q]));
      B::for_each(ctx, out.rows, functors::GatherRow<T>{all, rows.send_rows + first, out});
      send[q] = detail::rows_as_bytes(out);
      receive[q] = detail::rows_as_bytes(all.row_block(to, part(rows.receive[q])));
      slot += out.rows;
      first += rows.send[q];
      to += rows.receive[q];
    }
    ctx.ranks()->exchange(send, receive);
  });
}
/// The way back: the own rows of `all` += what other ranks have in the rows that they received.
template <Backend B>
void add_received_rows(Context<B>& ctx, const RowExchange& rows, Out<B> all) {
  using T = Real<B>;
  const auto n = static_cast<std::size_t>(ctx.ranks()->size());
  std::vector<std::span<const std::byte>> send(n);
  std::vector<std::span<std::byte>> receive(n);
  detail::for_each_piece(ctx, rows, rows.sent_rows, all.cols, [&](Out<B> packed, Index begin, const auto& part) {
    Index from = rows.own_rows + begin, slot = 0;
    for (std::size_t q = 0; q < n; ++q) {
      send[q] = detail::rows_as_bytes(all.row_block(from, part(rows.receive[q])));
      receive[q] = detail::rows_as_bytes(packed.row_block(slot, part(rows.send[q])));
      slot += part(rows.send[q]);
      from += rows.receive[q];
    }
    ctx.ranks()->exchange(send, receive);
    Index first = begin;
    slot = 0;
    for (std::size_t q = 0; q < n; ++q) {  // one rank's rows differ
      const Index count = part(rows.send[q]);
      B::for_each(ctx, count, functors::AddToRow<T>{packed.row_block(slot, count), rows.send_rows + first, all});
      slot += count;
      first += rows.send[q];
    }
  });
}
/// The rows of `all` below its own ones, halo.all_rows() in all, <- the other ranks'. `all` contiguous.
template <Backend B>
void fill_halo(Context<B>& ctx, const Halo& halo, Out<B> all) {
  detail::require_shape(all, halo.all_rows(), all.cols, "fill_halo", "rows");
  receive_rows<B>(ctx, halo.exchange(), all);
}
/// The own rows of `all` <- x, those of its halo <- the other ranks'.
template <Backend B>
void put_with_halo(Context<B>& ctx, const Halo& halo, In<B> x, Out<B> all) {
  detail::require_shape(x, halo.own_rows, all.cols, "put_with_halo", "rows");
  B::for_each(ctx, x.rows, functors::ScaleRow<Real<B>>{Real<B>{1}, x, all.row_block(0, x.rows)});
  fill_halo(ctx, halo, all);
}
/// f(all, first, n, scratch) for every block of columns [first, first + n) that a product takes at once: `all` has room
/// for these columns of a matrix with its halo, `scratch` for more.
template <Backend B, class F>
void for_each_column_block(Context<B>& ctx, const Halo& halo, Index cols, const F& f) {
  const Index width = std::max<Index>(halo.columns_at_once(cols), 1);
  for (Index first = 0; first < cols; first += width) {
    const Index n = std::min(width, cols - first);
    Scratch<B> scratch(ctx);
    f(scratch.template matrix<Real<B>>(halo.all_rows(), n), first, n, scratch);
  }
}

/// The places of `ids`, rows of a matrix that ranks share, which name a row of this rank, as a list of the rows here.
/// Ids at other places are not to be read.
template <Backend B>
IndexList own_list(Context<B>& ctx, RowLayout layout, const IndexList& ids) {
  Arena<typename B::Memory>& arena = ctx.arena();
  Id* const rows = arena.template allocate<Id>(ids.size);
  Id* const order = arena.template allocate<Id>(ids.size);
  Index* const segments = arena.template allocate<Index>(ids.size + 1);
  IndexList out{rows, ids.size, order, segments, 0};
  if (detail::dry_run(ctx)) return out;
  Index n = 0;
  segments[0] = 0;
  for (Index s = 0; s < ids.n_segments; ++s) {
    const Index begin = ids.segments[s], end = ids.segments[s + 1];
    if (begin == end) continue;
    const detail::RowPlace place = detail::place_of(layout, ids.ids[ids.order[begin]]);
    if (place.rank != ctx.ranks()->rank()) continue;
    for (Index p = begin; p < end; ++p) {
      order[n++] = ids.order[p];
      rows[ids.order[p]] = static_cast<Id>(place.row);
    }
    segments[++out.n_segments] = n;
  }
  return out;
}

/// Row i of y, rows `ids` of a matrix that ranks share, <- its owner's: each rank has filled the places of its own
/// rows. The distinct ones travel. y contiguous.
template <Backend B>
void share_places(Context<B>& ctx, RowLayout layout, const IndexList& ids, Out<B> y) {
  using T = Real<B>;
  detail::require_shape(y, ids.size, y.cols, "share_places", "output");
  Scratch<B> scratch(ctx);
  const Out<B> distinct = scratch.template matrix<T>(ids.size, y.cols);
  Id* const row_of = scratch.template allocate<Id>(ids.size);
  if (detail::dry_run(ctx)) return;
  Communicator& ranks = *ctx.ranks();
  std::vector<Index> counts(static_cast<std::size_t>(ranks.size()), 0);
  // f(segment, the rank of its id)
  const auto for_each_segment = [&](const auto& f) {
    for (Index s = 0; s < ids.n_segments; ++s)
      if (ids.segments[s] < ids.segments[s + 1])
        f(s, detail::place_of(layout, ids.ids[ids.order[ids.segments[s]]]).rank);
  };
  for_each_segment([&](Index, int rank) { ++counts[static_cast<std::size_t>(rank)]; });
  std::vector<Index> next(counts.size(), 0);
  for (std::size_t q = 1; q < next.size(); ++q) next[q] = next[q - 1] + counts[q - 1];
  for_each_segment([&](Index s, int rank) {
    const Index slot = next[static_cast<std::size_t>(rank)]++;
    if (rank == ranks.rank()) std::copy_n(y.row(ids.order[ids.segments[s]]), y.cols, distinct.row(slot));
    for (Index p = ids.segments[s]; p < ids.segments[s + 1]; ++p) row_of[ids.order[p]] = static_cast<Id>(slot);
  });
  for (Index& count : counts) count *= y.cols;
  ranks.all_gather(distinct.data, counts);
  B::for_each(ctx, y.rows, functors::GatherRow<T>{distinct, row_of, y});
}

}  // namespace rearm::REARM_ABI
