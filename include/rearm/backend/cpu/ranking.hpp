#pragma once
/// @file ranking.hpp
/// All-ranking on the CPU: product, mask and running top-k of a block of users on one thread, one tile of items at a
/// time.

#include <rearm/backend/cpu/blas.hpp>
#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/data/interactions.hpp>
#include <rearm/eval/top_k.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

namespace rearm::REARM_ABI {
namespace cpu {

/// Users x items of one score tile: 1.2 MB of floats, about a second-level cache, which holds it from the product to
/// the top-k; larger tiles repack fewer operands.
inline constexpr Index rank_users = 384;
inline constexpr Index rank_items_tile = 768;
/// A product has a multiple of so many users: what a BLAS does with rows left over would give a user other bits there.
/// OpenBLAS takes 12 rows at a time with AVX2, 16 with AVX-512.
inline constexpr Index rank_granule = 48;

/// What one thread needs to rank a block of users; reused from block to block.
template <class T>
class BlockRanker {
 public:
  BlockRanker(Index dim, Index n_items, Index k)
      : gathered_(rank_users, dim), scores_(rank_users, std::min(rank_items_tile, n_items)), k_(k) {}

  void run(ConstView<T> user_rows, std::span<const Id> users, ConstView<T> item_rows, const Adjacency* masked,
           MatrixView<Id> ids, MatrixView<T> scores) {
    const Index n = static_cast<Index>(users.size());
    const Index padded = (n + rank_granule - 1) / rank_granule * rank_granule;
    best_.resize(users.size(), TopKSelector<T>(k_));
    next_masked_.assign(users.size(), 0);
    for (Index i = 0; i < n; ++i) {
      std::copy_n(user_rows.row(users[static_cast<std::size_t>(i)]), user_rows.cols, gathered_.row(i));
      best_[static_cast<std::size_t>(i)].clear();
    }
    for (Index first = 0; first < item_rows.rows; first += rank_items_tile) {
      const Index width = std::min(rank_items_tile, item_rows.rows - first);
      const MatrixView<T> tile = scores_.view().row_block(0, padded).col_block(0, width);
      gemm_serial<T>(Op::none, Op::transpose, T{1}, ConstView<T>(gathered_.view().row_block(0, padded)),
                     item_rows.row_block(first, width), tile, Write::overwrite);
      for (Index i = 0; i < n; ++i) rank_row(users[static_cast<std::size_t>(i)], i, first, tile, masked);
    }
    for (Index i = 0; i < n; ++i) {
      const auto list = best_[static_cast<std::size_t>(i)].sorted();
      for (Index r = 0; r < k_; ++r) {
        const Scored<T> entry =
            static_cast<std::size_t>(r) < list.size() ? list[static_cast<std::size_t>(r)] : Scored<T>{};
        ids(i, r) = entry.id;
        scores(i, r) = entry.score;
      }
    }
  }

 private:
  void rank_row(Id user, Index i, Index first, MatrixView<T> tile, const Adjacency* masked) {
    if (masked != nullptr) {
      const auto hidden = masked->row(user);
      std::size_t& next = next_masked_[static_cast<std::size_t>(i)];
      for (; next < hidden.size() && hidden[next] < first + tile.cols; ++next)
        tile(i, hidden[next] - first) = -std::numeric_limits<T>::infinity();
    }
    try {
      best_[static_cast<std::size_t>(i)].offer({tile.row(i), static_cast<std::size_t>(tile.cols)},
                                               static_cast<Id>(first));
    } catch (const NumericError& e) {
      throw NumericError(detail::message("ranking the items of user ", user, ": ", e.what()));
    }
  }
  Matrix<T> gathered_;
  Matrix<T> scores_;
  Index k_;
  std::vector<TopKSelector<T>> best_;
  std::vector<std::size_t> next_masked_;
};

}  // namespace cpu

/// The CPU's part of `recommend` (eval/evaluator.hpp), which has checked the arguments. Blocks are fixed, so the result
/// does not depend on the number of threads; scratch is one tile and one block of lists per thread.
template <std::floating_point T>
void CpuBackend<T>::rank_items(Context<CpuBackend>& ctx, ConstView<T> user_rows, std::span<const Id> users,
                               ConstView<T> item_rows, const Adjacency* masked, MatrixView<Id> ids,
                               MatrixView<T> scores) {
  const Index n = static_cast<Index>(users.size());
  const Index n_blocks = (n + cpu::rank_users - 1) / cpu::rank_users;
  const Index n_workers = std::min<Index>(ctx.resources().threads(), n_blocks);
  std::atomic<Index> next_block{0};
  cpu::parallel_chunks(ctx.resources(), n_workers, [&](Index) {
    cpu::BlockRanker<T> ranker(user_rows.cols, item_rows.rows, ids.cols);
    for (Index block = next_block++; block < n_blocks; block = next_block++) {
      const Index begin = block * cpu::rank_users;
      const Index count = std::min(cpu::rank_users, n - begin);
      ranker.run(user_rows, users.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)), item_rows,
                 masked, ids.row_block(begin, count), scores.row_block(begin, count));
    }
  });
}

}  // namespace rearm::REARM_ABI
