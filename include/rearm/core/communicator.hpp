#pragma once
/// @file communicator.hpp
/// Several ranks that train one model together, each with a part of its rows: what they say to each other.

#include <rearm/core/error.hpp>
#include <rearm/core/matrix_view.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace rearm::REARM_ABI {

/// Ranks that can no longer work together: one of them has failed (the message names it), or they did not do the same.
struct RankError : Error {
  using Error::Error;
};

/// One of `size` ranks, numbered from 0. All ranks make the same calls in the same order, from the thread that drives
/// their context. How bytes travel is one function, `transfer`; everything else is made of it, so that the same number
/// of ranks gives the same bits whatever connects them: sums add rank 0's part first, then rank 1's, and so on.
class Communicator {
 public:
  Communicator(int rank, int size) : rank_(rank), size_(size), send_(n()), receive_(n()) {
    if (size < 1 || rank < 0 || rank >= size)
      throw ConfigError(detail::message("rank ", rank, " of ", size, ": must be one of at least 1"));
  }
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  virtual ~Communicator() = default;

  int rank() const noexcept { return rank_; }
  int size() const noexcept { return size_; }
  /// That this rank has sent to others.
  std::uint64_t bytes_sent() const noexcept { return bytes_sent_; }

  /// send[q] to every rank q, receive[q] from it; either side knows the lengths, which may be 0. The own part is
  /// copied, unless it is there already.
  void exchange(std::span<const std::span<const std::byte>> send, std::span<const std::span<std::byte>> receive) {
    const auto own = static_cast<std::size_t>(rank_);
    if (send.size() != n() || receive.size() != n() || send[own].size() != receive[own].size())
      throw ShapeError(detail::message("exchange: ", send.size(), " and ", receive.size(), " parts for ", size_,
                                       " ranks, or an own part of two lengths"));
    if (!send[own].empty() && send[own].data() != receive[own].data())
      std::memmove(receive[own].data(), send[own].data(), send[own].size());
    for (std::size_t q = 0; q < n(); ++q)
      if (q != own) bytes_sent_ += send[q].size();
    if (size_ > 1) transfer(send, receive);
  }
  /// Rank q's `counts[q]` elements, one rank's behind the other's in `all`; the own ones must be there already.
  template <class T>
  void all_gather(T* all, std::span<const Index> counts) {
    static_assert(std::is_trivially_copyable_v<T>);
    Index begin = 0;
    for (std::size_t q = 0; q < n(); ++q) {
      receive_[q] = bytes(all + begin, counts[q]);
      begin += counts[q];
    }
    std::fill(send_.begin(), send_.end(), receive_[static_cast<std::size_t>(rank_)]);
    exchange(send_, receive_);
  }
  /// Every rank's own elements behind each other at `root` alone, where `all` has room for them (elsewhere it is not
  /// used).
  template <class T>
  void gather(int root, std::span<const T> own, T* all, std::span<const Index> counts) {
    clear();
    send_[static_cast<std::size_t>(root)] = std::as_bytes(own);
    if (rank_ == root)
      for (std::size_t q = 0; q < n(); all += counts[q], ++q) receive_[q] = bytes(all, counts[q]);
    exchange(send_, receive_);
  }
  /// data[i] <- the sum of all ranks' data[i], in the order of ranks: the same bits on every rank.
  template <class T>
  void sum(std::span<T> data) {
    if (size_ == 1) return;
    const auto count = static_cast<Index>(data.size());
    // Few numbers go to everybody at once; of many every rank adds up its share, which it then gives to the others.
    const bool few = count <= 1024;
    const auto begin = [&](int q) { return few ? 0 : count * q / size_; };
    const auto length = [&](int q) { return few ? count : count * (q + 1) / size_ - begin(q); };
    const Index own = length(rank_);
    const auto work_bytes = static_cast<std::size_t>(own * size_) * sizeof(T);
    if (work_.size() < work_bytes) work_.resize(work_bytes);
    const auto part = [&](int q) { return work_.data() + static_cast<std::size_t>(own * q) * sizeof(T); };
    for (int q = 0; q < size_; ++q) {
      const auto i = static_cast<std::size_t>(q);
      send_[i] = bytes(data.data() + begin(q), length(q));
      receive_[i] = {part(q), static_cast<std::size_t>(own) * sizeof(T)};
    }
    exchange(send_, receive_);
    T* const out = data.data() + begin(rank_);
    std::memcpy(out, part(0), static_cast<std::size_t>(own) * sizeof(T));
    for (int q = 1; q < size_; ++q)
      for (Index i = 0; i < own; ++i) {
        T x;
        std::memcpy(&x, part(q) + static_cast<std::size_t>(i) * sizeof(T), sizeof(T));
        out[i] += x;
      }
    if (few) return;
    for (int q = 0; q < size_; ++q) receive_[static_cast<std::size_t>(q)] = bytes(data.data() + begin(q), length(q));
    std::fill(send_.begin(), send_.end(), receive_[static_cast<std::size_t>(rank_)]);
    exchange(send_, receive_);
  }
  /// The root's data to every rank.
  template <class T>
  void broadcast(int root, std::span<T> data) {
    static_assert(std::is_trivially_copyable_v<T>);
    clear();
    const auto all = bytes(data.data(), static_cast<Index>(data.size()));
    receive_[static_cast<std::size_t>(root)] = all;
    if (rank_ == root) std::fill(send_.begin(), send_.end(), all);
    exchange(send_, receive_);
  }
  /// Every rank's text, on every rank.
  std::vector<std::string> all_texts(const std::string& own) {
    std::vector<Index> lengths(n());
    lengths[static_cast<std::size_t>(rank_)] = static_cast<Index>(own.size());
    all_gather(lengths.data(), std::vector<Index>(n(), 1));
    Index begin = 0, total = 0;
    for (int q = 0; q < size_; ++q) {
      if (q == rank_) begin = total;
      total += lengths[static_cast<std::size_t>(q)];
    }
    std::string all(static_cast<std::size_t>(total), ' ');
    std::copy(own.begin(), own.end(), all.begin() + begin);
    all_gather(all.data(), lengths);
    std::vector<std::string> out;
    std::size_t at = 0;
    for (const Index length : lengths) {
      out.push_back(all.substr(at, static_cast<std::size_t>(length)));
      at += static_cast<std::size_t>(length);
    }
    return out;
  }
  /// Returns when all ranks have called it.
  void barrier() {
    std::byte everybody{};
    const std::span<std::byte> one(&everybody, 1);
    std::vector<std::byte> heard(n());
    std::fill(send_.begin(), send_.end(), std::span<const std::byte>(one));
    for (std::size_t q = 0; q < n(); ++q) receive_[q] = {&heard[q], 1};
    exchange(send_, receive_);
  }

 protected:
  /// What `exchange` does between ranks, of which there are several; the own parts are not its concern.
  virtual void transfer(std::span<const std::span<const std::byte>> send,
                        std::span<const std::span<std::byte>> receive) = 0;

 private:
  std::size_t n() const noexcept { return static_cast<std::size_t>(size_); }
  template <class T>
  static std::span<std::byte> bytes(T* data, Index count) {
    return {reinterpret_cast<std::byte*>(data), static_cast<std::size_t>(count) * sizeof(T)};
  }
  void clear() {
    std::fill(send_.begin(), send_.end(), std::span<const std::byte>());
    std::fill(receive_.begin(), receive_.end(), std::span<std::byte>());
  }

  int rank_;
  int size_;
  std::vector<std::span<const std::byte>> send_;  ///< kept, so that a step allocates nothing
  std::vector<std::span<std::byte>> receive_;
  std::vector<std::byte> work_;
  std::uint64_t bytes_sent_ = 0;
};

/// The rows of a matrix in blocks, rank r with rows [bounds[r], bounds[r + 1]).
struct RowBlocks {
  Communicator* ranks;
  std::vector<Index> bounds;  ///< ranks->size() + 1, ascending from 0

  Index rows() const noexcept { return bounds.back(); }
  Index begin(int rank) const { return bounds[static_cast<std::size_t>(rank)]; }
  Index size(int rank) const { return begin(rank + 1) - begin(rank); }
  Index begin() const { return begin(ranks->rank()); }
  Index size() const { return size(ranks->rank()); }
  /// The rank of a row.
  int owner(Index row) const {
    return static_cast<int>(std::upper_bound(bounds.begin(), bounds.end() - 1, row) - bounds.begin()) - 1;
  }
  /// How many elements each rank has of rows of so many columns.
  std::vector<Index> counts(Index cols) const {
    std::vector<Index> out(static_cast<std::size_t>(ranks->size()));
    for (int q = 0; q < ranks->size(); ++q) out[static_cast<std::size_t>(q)] = size(q) * cols;
    return out;
  }
};

/// A matrix: all its rows, or of one that ranks share those that are here, and how.
template <class T>
struct SharedView {
  ConstView<T> here;
  const RowBlocks* blocks = nullptr;

  SharedView(ConstView<T> view, const RowBlocks* blocks_ = nullptr)  // NOLINT(google-explicit-constructor)
      : here(view), blocks(blocks_) {}
  SharedView(MatrixView<T> view) : here(view) {}  // NOLINT(google-explicit-constructor)
  /// Of all ranks.
  Index rows() const noexcept { return blocks != nullptr ? blocks->rows() : here.rows; }
};

/// What a matrix is made of whose rows are shared by ranks, one part below the other, such as users and items; a rank
/// holds its blocks of them one below the other. Empty: a matrix that every rank has as a whole.
using RowLayout = std::span<const RowBlocks* const>;

namespace detail {

inline bool same_layout(RowLayout a, RowLayout b) { return std::ranges::equal(a, b); }
/// Rows of all ranks.
inline Index all_rows(RowLayout layout) {
  Index n = 0;
  for (const RowBlocks* part : layout) n += part->rows();
  return n;
}
inline Index own_rows(RowLayout layout) {
  Index n = 0;
  for (const RowBlocks* part : layout) n += part->size();
  return n;
}
/// A row's rank, and which of that rank's rows it is.
struct RowPlace {
  int rank;
  Index row;
};
inline RowPlace place_of(RowLayout layout, Index row) {
  std::size_t p = 0;
  while (p + 1 < layout.size() && row >= layout[p]->rows()) row -= layout[p++]->rows();
  RowPlace out{layout[p]->owner(row), row};
  out.row -= layout[p]->begin(out.rank);
  while (p > 0) out.row += layout[--p]->size(out.rank);
  return out;
}

}  // namespace detail
}  // namespace rearm::REARM_ABI
