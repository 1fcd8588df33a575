#pragma once
/// @file share.hpp
/// Graphs in blocks of rows, one a rank.

#include <rearm/core/csr.hpp>
#include <rearm/data/node_blocks.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

namespace detail {

inline std::vector<const RowBlocks*> layout_of(const std::vector<std::shared_ptr<const RowBlocks>>& parts) {
  std::vector<const RowBlocks*> out(parts.size());
  std::ranges::transform(parts, out.begin(), [](const auto& part) { return part.get(); });
  return out;
}

/// f(row of all ranks', row here) for each of this rank's rows.
template <class F>
void for_each_own_row(RowLayout rows, const F& f) {
  Index first = 0, here = 0;
  for (const RowBlocks* part : rows) {
    for (Index i = 0; i < part->size(); ++i) f(first + part->begin() + i, here + i);
    first += part->rows();
    here += part->size();
  }
}

/// This rank's rows of a matrix that every rank has as a whole.
template <class T>
Csr<T> take_rows(const Csr<T>& whole, RowLayout rows) {
  Csr<T> out{own_rows(rows), whole.cols, Buffer<Index>(own_rows(rows) + 1), {}, {}};
  for_each_own_row(rows, [&](Index from, Index to) {
    out.offsets[to + 1] = out.offsets[to] + whole.offsets[from + 1] - whole.offsets[from];
  });
  out.indices = Buffer<Id>(out.offsets[out.rows]);
  out.values = Buffer<T>(out.offsets[out.rows]);
  for_each_own_row(rows, [&](Index from, Index to) {
    const Index begin = whole.offsets[from], n = whole.offsets[from + 1] - begin;
    std::copy_n(whole.indices.data() + begin, n, out.indices.data() + out.offsets[to]);
    std::copy_n(whole.values.data() + begin, n, out.values.data() + out.offsets[to]);
  });
  return out;
}

/// This rank's rows, with columns numbered as all ranks' rows of `columns`, <- numbered as `halo` then says. Each row
/// keeps the order of its entries, so that sums have the bits of a single process. Every rank must call it.
template <class T>
void number_columns(Csr<T>& own, std::vector<const RowBlocks*> columns, Halo& halo) {
  Communicator& ranks = *columns.front()->ranks;
  const auto n_ranks = static_cast<std::size_t>(ranks.size());
  // Which rows of others are read: by rank, ascending; then their numbers.
  constexpr Id unread = -1, read = -2;
  std::vector<Id> number(static_cast<std::size_t>(own.cols), unread);
  for (const Id column : own.indices) number[static_cast<std::size_t>(column)] = read;
  halo.layout = std::move(columns);
  halo.own_rows = own_rows(halo.layout);
  halo.receive.assign(n_ranks, 0);
  for (Index c = 0; c < own.cols; ++c)
    if (number[static_cast<std::size_t>(c)] == read)
      if (const int rank = place_of(halo.layout, c).rank; rank != ranks.rank())
        ++halo.receive[static_cast<std::size_t>(rank)];
  std::vector<Index> next(n_ranks, 0);
  std::exclusive_scan(halo.receive.begin(), halo.receive.end(), next.begin(), Index{0});
  halo.rows = std::accumulate(halo.receive.begin(), halo.receive.end(), Index{0});
  halo.receive_rows = Buffer<Id>(halo.rows);
  for (Index c = 0; c < own.cols; ++c) {
    Id& to = number[static_cast<std::size_t>(c)];
    if (to != read) continue;
    const RowPlace place = place_of(halo.layout, c);
    if (place.rank == ranks.rank()) {
      to = static_cast<Id>(place.row);
      continue;
    }
    const Index slot = next[static_cast<std::size_t>(place.rank)]++;
    halo.receive_rows[slot] = static_cast<Id>(place.row);
    to = static_cast<Id>(halo.own_rows + slot);
  }
  own.cols = halo.all_rows();
  for (Id& column : own.indices) column = number[static_cast<std::size_t>(column)];

  // Every rank tells the owners which rows it reads.
  std::vector<std::span<const std::byte>> send(n_ranks);
  std::vector<std::span<std::byte>> receive(n_ranks);
  halo.send.assign(n_ranks, 0);
  for (std::size_t q = 0; q < n_ranks; ++q) {
    send[q] = std::as_bytes(std::span(&halo.receive[q], 1));
    receive[q] = std::as_writable_bytes(std::span(&halo.send[q], 1));
  }
  ranks.exchange(send, receive);
  halo.send_rows = Buffer<Id>(std::accumulate(halo.send.begin(), halo.send.end(), Index{0}));
  const Id* from = halo.receive_rows.data();
  Id* to = halo.send_rows.data();
  for (std::size_t q = 0; q < n_ranks; ++q) {
    send[q] = std::as_bytes(std::span(std::exchange(from, from + halo.receive[q]), std::size_t(halo.receive[q])));
    receive[q] = std::as_writable_bytes(std::span(std::exchange(to, to + halo.send[q]), std::size_t(halo.send[q])));
  }
  ranks.exchange(send, receive);
  // What all must do alike: a product's columns in so many parts that a part of all rows takes about the room of the
  // own ones.
  std::vector<Index> all(2 * n_ranks);
  const auto mine = 2 * static_cast<std::size_t>(ranks.rank());
  all[mine] = *std::ranges::max_element(halo.send);
  all[mine + 1] = (2 * halo.all_rows() + halo.own_rows) / std::max<Index>(2 * halo.own_rows, 1);
  ranks.all_gather(all.data(), std::vector<Index>(n_ranks, 2));
  for (std::size_t q = 0; q < n_ranks; ++q) {
    halo.most_rows = std::max(halo.most_rows, all[2 * q]);
    halo.column_blocks = std::max(halo.column_blocks, all[2 * q + 1]);
  }
}

inline std::shared_ptr<SharedOperator> shared_operator(const std::vector<std::shared_ptr<const RowBlocks>>& rows,
                                                       const std::vector<std::shared_ptr<const RowBlocks>>& columns) {
  auto out = std::make_shared<SharedOperator>();
  out->parts = rows;
  out->parts.insert(out->parts.end(), columns.begin(), columns.end());
  out->row_layout = layout_of(rows);
  return out;
}

}  // namespace detail

/// A matrix that every rank has made as a whole, as blocks of rows of which each keeps its own; the rows and columns
/// are those of `rows` and `columns` one below the other. As it is where there are no blocks. Every rank must call it.
template <class T, class Memory>
SparseOperator<T, Memory> share_rows(SparseOperator<T, Memory> whole,
                                     const std::vector<std::shared_ptr<const RowBlocks>>& rows,
                                     const std::vector<std::shared_ptr<const RowBlocks>>& columns) {
  if (rows.front() == nullptr || whole.empty()) return whole;
  if constexpr (!Memory::host_accessible) {
    throw ConfigError("graphs are shared by ranks on the CPU so far");
  } else {
    const auto shared = detail::shared_operator(rows, columns);
    const std::vector<const RowBlocks*> of_columns = detail::layout_of(columns);
    if (whole.rows() != detail::all_rows(shared->row_layout) || whole.cols() != detail::all_rows(of_columns))
      throw ShapeError(
          detail::message("a graph of ", shape_string(whole.rows(), whole.cols()), " is not shared as ",
                          shape_string(detail::all_rows(shared->row_layout), detail::all_rows(of_columns))));
    Csr<T> matrix = detail::take_rows(whole.matrix(), shared->row_layout), transpose;
    if (!whole.is_symmetric()) transpose = detail::take_rows(whole.transpose(), of_columns);
    const bool symmetric = whole.is_symmetric();
    whole = {};
    detail::number_columns(matrix, of_columns, shared->forward);
    if (!symmetric) detail::number_columns(transpose, shared->row_layout, shared->backward);
    return SparseOperator<T, Memory>::block(std::move(matrix), std::move(transpose), symmetric, shared);
  }
}

}  // namespace rearm::REARM_ABI
