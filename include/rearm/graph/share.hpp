#pragma once
/// @file share.hpp
/// Users, items and graphs in blocks of rows, one a rank.

#include <rearm/core/context.hpp>
#include <rearm/core/csr.hpp>
#include <rearm/data/dataset.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// How ranks share users and items; null where there is one rank, which has them all.
struct NodeBlocks {
  std::shared_ptr<const RowBlocks> users, items;
  std::vector<std::shared_ptr<const RowBlocks>> nodes() const { return {users, items}; }
};

/// Contiguous blocks of about the same total weight, none empty. Throws ConfigError for fewer rows than ranks.
inline std::shared_ptr<const RowBlocks> balanced_blocks(Communicator& ranks, std::span<const double> weight) {
  const auto n = static_cast<Index>(weight.size());
  if (n < ranks.size())
    throw ConfigError(detail::message("ranks = ", ranks.size(), ": more than the ", n,
                                      " users or items that they are to share; use fewer"));
  auto out = std::make_shared<RowBlocks>(RowBlocks{&ranks, {0}});
  const double all = std::accumulate(weight.begin(), weight.end(), 0.0);
  double before = 0;
  Index row = 0;
  for (int rank = 1; rank < ranks.size(); ++rank) {
    const double end = all * rank / ranks.size();
    const Index least = out->bounds.back() + 1, most = n - (ranks.size() - rank);
    for (; row < most && (row < least || before + weight[static_cast<std::size_t>(row)] / 2 < end); ++row)
      before += weight[static_cast<std::size_t>(row)];
    out->bounds.push_back(row);
  }
  out->bounds.push_back(n);
  return out;
}

/// A row weighs half as much as an average row for being there, and half by its number of train pairs: rows of
/// embeddings and entries of graphs both take memory and time.
template <Backend B>
NodeBlocks share_nodes(const Context<B>& ctx, const Dataset& data) {
  if (ctx.ranks() == nullptr) return {};
  const auto blocks = [&](const std::vector<Id>& ids, Index n) {
    const double mean = static_cast<double>(ids.size()) / static_cast<double>(std::max<Index>(n, 1));
    std::vector<double> weight(static_cast<std::size_t>(n), std::max(mean, 1.0));
    for (const Id id : ids) weight[static_cast<std::size_t>(id)] += 1;
    return balanced_blocks(*ctx.ranks(), weight);
  };
  return {blocks(data.train.users, data.n_users), blocks(data.train.items, data.n_items)};
}

namespace detail {

inline std::vector<const RowBlocks*> layout_of(const std::vector<std::shared_ptr<const RowBlocks>>& parts) {
  std::vector<const RowBlocks*> out(parts.size());
  std::ranges::transform(parts, out.begin(), [](const auto& part) { return part.get(); });
  return out;
}

/// This rank's rows of `whole`, columns numbered as `halo` says. Each row keeps the order of its entries, so that sums
/// have the bits of a single process. Every rank must call it.
template <class T>
Csr<T> cut(const Csr<T>& whole, RowLayout rows, std::vector<const RowBlocks*> columns, Halo& halo) {
  Communicator& ranks = *rows.front()->ranks;
  const auto n_ranks = static_cast<std::size_t>(ranks.size());
  if (whole.rows != all_rows(rows) || whole.cols != all_rows(columns))
    throw ShapeError(message("a graph of ", shape_string(whole.rows, whole.cols), " is not shared as ",
                             shape_string(all_rows(rows), all_rows(columns))));
  Csr<T> out;
  out.rows = own_rows(rows);
  out.offsets = Buffer<Index>(out.rows + 1);
  const auto for_each_own = [&](const auto& f) {
    Index first = 0, here = 0;
    for (const RowBlocks* part : rows) {
      for (Index i = 0; i < part->size(); ++i) f(first + part->begin() + i, here + i);
      first += part->rows();
      here += part->size();
    }
  };
  for_each_own([&](Index from, Index to) { out.offsets[to + 1] = whole.offsets[from + 1] - whole.offsets[from]; });
  for (Index i = 0; i < out.rows; ++i) out.offsets[i + 1] += out.offsets[i];
  const Index nonzeros = out.offsets[out.rows];
  out.indices = Buffer<Id>(nonzeros);
  out.values = Buffer<T>(nonzeros);

  // Which rows of others are read: by rank, ascending; then their numbers.
  constexpr Id unread = -1, read = -2;
  std::vector<Id> number(static_cast<std::size_t>(whole.cols), unread);
  for_each_own([&](Index from, Index) {
    for (Index e = whole.offsets[from]; e < whole.offsets[from + 1]; ++e)
      number[static_cast<std::size_t>(whole.indices[e])] = read;
  });
  halo.layout = std::move(columns);
  halo.own_rows = own_rows(halo.layout);
  halo.receive.assign(n_ranks, 0);
  for (Index c = 0; c < whole.cols; ++c)
    if (number[static_cast<std::size_t>(c)] == read)
      if (const int rank = place_of(halo.layout, c).rank; rank != ranks.rank())
        ++halo.receive[static_cast<std::size_t>(rank)];
  std::vector<Index> next(n_ranks, 0);
  std::exclusive_scan(halo.receive.begin(), halo.receive.end(), next.begin(), Index{0});
  halo.rows = std::accumulate(halo.receive.begin(), halo.receive.end(), Index{0});
  halo.receive_rows = Buffer<Id>(halo.rows);
  for (Index c = 0; c < whole.cols; ++c) {
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
  out.cols = halo.all_rows();
  for_each_own([&](Index from, Index to) {
    const Index begin = whole.offsets[from], at = out.offsets[to];
    for (Index e = 0; e < out.offsets[to + 1] - at; ++e) {
      out.indices[at + e] = number[static_cast<std::size_t>(whole.indices[begin + e])];
      out.values[at + e] = whole.values[begin + e];
    }
  });

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
    auto shared = std::make_shared<SharedOperator>();
    shared->parts = rows;
    shared->parts.insert(shared->parts.end(), columns.begin(), columns.end());
    shared->row_layout = detail::layout_of(rows);
    const std::vector<const RowBlocks*> of_columns = detail::layout_of(columns);
    Csr<T> matrix = detail::cut(whole.matrix(), shared->row_layout, of_columns, shared->forward);
    Csr<T> transpose;
    if (!whole.is_symmetric())
      transpose = detail::cut(whole.transpose(), of_columns, shared->row_layout, shared->backward);
    return SparseOperator<T, Memory>::block(std::move(matrix), std::move(transpose), whole.is_symmetric(), shared);
  }
}

}  // namespace rearm::REARM_ABI
