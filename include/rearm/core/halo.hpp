#pragma once
/// @file halo.hpp
/// The rows of other ranks that a block of a sparse matrix multiplies.

#include <rearm/core/communicator.hpp>
#include <rearm/core/matrix.hpp>

#include <vector>

namespace rearm::REARM_ABI {

/// What a rank's block of a sparse matrix A reads of a matrix X whose rows ranks share, to give A X: X's own rows, and
/// below them those of other ranks that have an entry in the block, rank by rank. Columns of the block are numbered so.
struct Halo {
  std::vector<const RowBlocks*> layout;  ///< of X
  Index own_rows = 0;                    ///< of X
  Index rows = 0;                        ///< of other ranks
  std::vector<Index> receive;            ///< of those, how many from each rank
  std::vector<Index> send;               ///< own rows that each rank reads
  Buffer<Id> send_rows;                  ///< which, rank by rank

  Index all_rows() const noexcept { return own_rows + rows; }
};

}  // namespace rearm::REARM_ABI
