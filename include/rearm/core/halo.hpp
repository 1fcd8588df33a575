#pragma once
/// @file halo.hpp
/// The rows of other ranks that a block of a sparse matrix multiplies.

#include <rearm/core/communicator.hpp>
#include <rearm/core/matrix.hpp>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace rearm::REARM_ABI {

/// Which rows go between ranks: those of `own_rows` here that others read, and behind these the ones that they send. A
/// view: what it points to is elsewhere.
struct RowExchange {
  Index own_rows = 0;
  const Index* receive = nullptr;  ///< how many rows from each rank
  const Index* send = nullptr;     ///< how many own rows to each
  const Id* send_rows = nullptr;   ///< which, rank by rank
  Index rows = 0;                  ///< that are received
  Index sent_rows = 0;
  Index most_rows = 0;  ///< that any rank sends to another one, or more; the same number on all
};

/// What a rank's block of a sparse matrix A reads of a matrix X whose rows ranks share, to give A X: X's own rows, and
/// below them those of other ranks that have an entry in the block, rank by rank. Columns of the block are numbered so.
struct Halo {
  std::vector<const RowBlocks*> layout;  ///< of X
  Index own_rows = 0;                    ///< of X
  Index rows = 0;                        ///< of other ranks
  std::vector<Index> receive;            ///< of those, how many from each rank
  Buffer<Id> receive_rows;               ///< which of its own rows, ascending
  std::vector<Index> send;               ///< own rows that each rank reads
  Buffer<Id> send_rows;                  ///< which, rank by rank
  Index most_rows = 0;                   ///< that any rank sends to another one
  Index column_blocks = 1;               ///< in how many parts all ranks multiply the columns of X, see columns_at_once

  Index all_rows() const noexcept { return own_rows + rows; }
  RowExchange exchange() const noexcept {
    return {own_rows, receive.data(), send.data(), send_rows.data(), rows, send_rows.size(), most_rows};
  }
  /// A product's columns do not meet, so that X with its halo may be there for some of them at a time: for so many of
  /// `cols`, whole cache lines of floats, that it takes about the room of X's own rows with all columns.
  Index columns_at_once(Index cols) const noexcept {
    constexpr Index line = 16;
    const Index each = (cols + column_blocks - 1) / column_blocks;
    return std::min(cols, (each + line - 1) / line * line);
  }
  /// The block's column that multiplies a row of X, of all ranks' rows; -1 if none does.
  Index column_of(Index row) const {
    const detail::RowPlace place = detail::place_of(layout, row);
    if (place.rank == layout.front()->ranks->rank()) return place.row;
    const Id* begin = receive_rows.data();
    for (int rank = 0; rank < place.rank; ++rank) begin += receive[static_cast<std::size_t>(rank)];
    const Id* const end = begin + receive[static_cast<std::size_t>(place.rank)];
    const Id* const found = std::lower_bound(begin, end, static_cast<Id>(place.row));
    return found != end && *found == place.row ? own_rows + (found - receive_rows.data()) : -1;
  }
};

}  // namespace rearm::REARM_ABI
