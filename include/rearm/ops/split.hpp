#pragma once
/// @file split.hpp
/// Rows of a matrix that ranks share, gathered for a batch whose positions ranks share as well.

#include <rearm/core/context.hpp>
#include <rearm/functors/gather.hpp>
#include <rearm/ops/elementwise.hpp>
#include <rearm/ops/gather.hpp>
#include <rearm/ops/ranks.hpp>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <numeric>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// A list of rows that every rank has, of `n_lists` lists of equal length one behind the other, each rank's positions a
/// block of every one of them. All know all ids, so that nobody asks for a row: the rows that others need here come
/// first, `own` of them, and behind these the ones that others send. Points into the arena.
struct SplitList {
  RowExchange exchange;
  IndexList own;     ///< the distinct rows here that the list names, ascending
  IndexList places;  ///< of this rank's positions, list by list: which of the rows above
  Index rows() const noexcept { return exchange.own_rows + exchange.rows; }
};

namespace detail {

template <Backend B>
IndexList ascending_list(Context<B>& ctx, const Id* ids, Index n) {
  Id* const order = ctx.arena().template allocate<Id>(n);
  Index* const segments = ctx.arena().template allocate<Index>(n + 1);
  std::iota(order, order + n, Id{0});
  std::iota(segments, segments + n + 1, Index{0});
  return {ids, n, order, segments, n};
}

/// Which rows are sent to each rank, as they are found: `add(rank, row)` twice, once to count them.
template <Backend B>
class SendLists {
 public:
  explicit SendLists(Context<B>& ctx)
      : ctx_(ctx), n_(ctx.ranks()->size()), counts_(ctx.arena().template allocate<Index>(n_)) {
    std::fill_n(counts_, n_, Index{0});
  }
  void count(int rank) { ++counts_[rank]; }
  void begin_rows() {
    std::exclusive_scan(counts_, counts_ + n_, std::back_inserter(next_), Index{0});
    size_ = next_.back() + counts_[n_ - 1];
    rows_ = ctx_.arena().template allocate<Id>(size_);
  }
  void add(int rank, Index row) { rows_[next_[static_cast<std::size_t>(rank)]++] = static_cast<Id>(row); }
  void put(RowExchange& to) const {
    to.send = counts_;
    to.send_rows = rows_;
    to.sent_rows = size_;
  }

 private:
  Context<B>& ctx_;
  Index n_;
  Index* counts_;
  std::vector<Index> next_;
  Id* rows_ = nullptr;
  Index size_ = 0;
};

/// f(segment, the owner's place of its id) for every distinct id.
template <class F>
void for_each_id(RowLayout layout, const IndexList& ids, const F& f) {
  for (Index s = 0; s < ids.n_segments; ++s)
    if (ids.segments[s] < ids.segments[s + 1]) f(s, place_of(layout, ids.ids[ids.order[ids.segments[s]]]));
}

}  // namespace detail

/// For `ids` of a matrix shared as `layout` says, positions as `positions`, whose rows are ids.size / n_lists.
template <Backend B>
SplitList split_list(Context<B>& ctx, RowLayout layout, const IndexList& ids, const RowBlocks& positions,
                     Index n_lists) {
  const int me = positions.ranks->rank(), n_ranks = positions.ranks->size();
  const auto n = static_cast<std::size_t>(n_ranks);
  const auto rank_of = [&](Index place) { return positions.owner(place % positions.rows()); };
  // f(q, first place of q) for each rank with a place of segment s.
  std::vector<Index> seen(n, -1);
  const auto for_each_reader = [&](Index s, const auto& f) {
    for (Index p = ids.segments[s]; p < ids.segments[s + 1]; ++p) {
      const int rank = rank_of(ids.order[p]);
      if (std::exchange(seen[static_cast<std::size_t>(rank)], s) != s) f(rank);
    }
  };
  SplitList out;
  detail::SendLists<B> send(ctx);
  Index* const receive = ctx.arena().template allocate<Index>(n_ranks);
  std::vector<Index> sent(n * n, 0);  // by q to r
  Index n_own = 0;
  detail::for_each_id(layout, ids, [&](Index s, const detail::RowPlace& place) {
    n_own += place.rank == me ? 1 : 0;
    for_each_reader(s, [&](int reader) {
      if (reader == place.rank) return;
      ++sent[static_cast<std::size_t>(place.rank) * n + static_cast<std::size_t>(reader)];
      if (place.rank == me) send.count(reader);
    });
  });
  send.begin_rows();
  std::vector<Index> next(n, n_own);
  for (std::size_t q = 0; q < n; ++q) {
    receive[q] = sent[q * n + static_cast<std::size_t>(me)];
    if (q > 0) next[q] = next[q - 1] + receive[q - 1];
    out.exchange.rows += receive[q];
  }
  Id* const own = ctx.arena().template allocate<Id>(n_own);
  Id* const row_of = ctx.arena().template allocate<Id>(n_lists * positions.size());
  Index here = 0;
  std::ranges::fill(seen, -1);
  detail::for_each_id(layout, ids, [&](Index s, const detail::RowPlace& place) {
    bool mine = false;
    for_each_reader(s, [&](int reader) {
      mine = mine || reader == me;
      if (place.rank == me && reader != me) send.add(reader, here);
    });
    Index row = here;
    if (place.rank == me)
      own[here++] = static_cast<Id>(place.row);
    else if (mine)
      row = next[static_cast<std::size_t>(place.rank)]++;
    if (!mine) return;
    for (Index p = ids.segments[s]; p < ids.segments[s + 1]; ++p) {
      const Index at = ids.order[p], list = at / positions.rows(), position = at % positions.rows();
      if (rank_of(at) == me) row_of[list * positions.size() + position - positions.begin()] = static_cast<Id>(row);
    }
  });
  send.put(out.exchange);
  out.exchange.own_rows = n_own;
  out.exchange.receive = receive;
  out.exchange.most_rows = *std::ranges::max_element(sent);
  out.own = detail::ascending_list(ctx, own, n_own);
  out.places = B::index_list(ctx, {row_of, static_cast<std::size_t>(n_lists * positions.size())}, out.rows());
  return out;
}

/// y <- the rows at this rank's positions: `rows` has the own ones, and room for all of the list.
template <Backend B>
void hand_out_rows(Context<B>& ctx, const SplitList& list, Out<B> rows, Out<B> y) {
  using T = Real<B>;
  receive_rows<B>(ctx, list.exchange, rows.row_block(0, list.rows()));
  B::for_each(ctx, y.rows, functors::GatherRow<T>{rows, list.places.ids, y});
}
/// The own rows of `d_rows` <- alpha times the sums of all ranks' d_y at their places; the others are left as they may
/// be.
template <Backend B>
void collect_gradients(Context<B>& ctx, const SplitList& list, Real<B> alpha, In<B> d_y, Out<B> d_rows) {
  using T = Real<B>;
  const Out<B> all = d_rows.row_block(0, list.rows());
  fill(ctx, T{0}, all);
  B::for_each(ctx, list.places.n_segments, functors::SumOfPlacesRow<T>{list.places, alpha, d_y, all});
  add_received_rows<B>(ctx, list.exchange, all);
}

/// y <- rows of x at this rank's positions.
template <Backend B>
void split_gather(Context<B>& ctx, const SplitList& list, In<B> x, Out<B> y) {
  using T = Real<B>;
  Scratch<B> scratch(ctx);
  const Out<B> rows = scratch.template matrix<T>(list.rows(), x.cols);
  B::for_each(ctx, list.own.size, functors::GatherRow<T>{x, list.own.ids, rows});
  hand_out_rows<B>(ctx, list, rows, y);
}
/// d_x (+)= the gradients of all ranks' positions.
template <Backend B>
void split_gather_backward(Context<B>& ctx, const SplitList& list, In<B> d_y, Into<Real<B>> d_x) {
  using T = Real<B>;
  Scratch<B> scratch(ctx);
  const Out<B> rows = scratch.template matrix<T>(list.rows(), d_y.cols);
  collect_gradients<B>(ctx, list, T{1}, d_y, rows);
  if (d_x.write == Write::overwrite) fill(ctx, T{0}, d_x.view);
  scatter_add<B>(ctx, list.own, rows.row_block(0, list.own.size), d_x.view);
}

/// The rows of a matrix that is zero but for the distinct ids of a split list, as the columns of a rank's block of a
/// sparse matrix name them.
struct SplitColumns {
  RowExchange exchange;  ///< behind the list's own rows those of the halo that are in the list
  const Id* row_of;      ///< of each column: which of these rows, or the one behind them all
  Index rows() const noexcept { return exchange.own_rows + exchange.rows; }
};

/// For a `list` of `ids` and the columns of `halo`, which is that of a square matrix.
template <Backend B>
SplitColumns split_columns(Context<B>& ctx, const SplitList& list, const IndexList& ids, const Halo& halo) {
  const int me = ctx.ranks()->rank(), n_ranks = ctx.ranks()->size();
  SplitColumns out{list.exchange, nullptr};
  Id* const row_of = ctx.arena().template allocate<Id>(halo.all_rows());
  Index* const receive = ctx.arena().template allocate<Index>(n_ranks);
  std::fill_n(receive, n_ranks, Index{0});
  std::vector<Index> of_rank(static_cast<std::size_t>(n_ranks), 0);
  constexpr Id none = -1;
  std::fill_n(row_of, halo.all_rows(), none);
  for (Index s = 0; s < list.own.size; ++s) row_of[list.own.ids[s]] = static_cast<Id>(s);
  detail::for_each_id(halo.layout, ids, [&](Index s, const detail::RowPlace& place) {
    ++of_rank[static_cast<std::size_t>(place.rank)];
    if (place.rank == me) return;
    const Index column = halo.column_of(ids.ids[ids.order[ids.segments[s]]]);
    if (column < 0) return;
    ++receive[place.rank];
    row_of[column] = 0;  // marked; the halo's rows stand rank by rank, each rank's ascending, as they will be sent
  });
  out.exchange.rows = 0;
  for (Index column = halo.own_rows; column < halo.all_rows(); ++column)
    if (row_of[column] != none) row_of[column] = static_cast<Id>(list.own.size + out.exchange.rows++);
  for (Index column = 0; column < halo.all_rows(); ++column)
    if (row_of[column] == none) row_of[column] = static_cast<Id>(out.rows());
  detail::SendLists<B> send(ctx);
  for (const bool count : {true, false}) {
    const Id* row = halo.send_rows.data();
    for (int q = 0; q < n_ranks; ++q)
      for (Index i = 0; i < halo.send[static_cast<std::size_t>(q)]; ++i, ++row) {
        if (row_of[*row] >= list.own.size) continue;
        if (count)
          send.count(q);
        else
          send.add(q, row_of[*row]);
      }
    if (count) send.begin_rows();
  }
  send.put(out.exchange);
  out.exchange.receive = receive;
  out.exchange.most_rows = std::min(halo.most_rows, *std::ranges::max_element(of_rank));
  out.row_of = row_of;
  return out;
}

}  // namespace rearm::REARM_ABI
