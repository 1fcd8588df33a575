#pragma once
/// @file ranking.cuh
/// All-ranking on the device: a block of users' scores by one product, seen items masked, the k best kept by one warp
/// per user.

#include <rearm/backend/cuda/cuda_backend.cuh>
#include <rearm/backend/cuda/top_k.cuh>
#include <rearm/data/interactions.hpp>
#include <rearm/functors/gather.hpp>

#include <algorithm>
#include <cmath>
#include <span>

namespace rearm::REARM_ABI {
namespace gpu {

/// Scores in memory at a time.
inline constexpr Index rank_scores = Index{1} << 25;

template <class T>
struct MaskRow {
  const Id* users;
  const Index* offsets;
  const Id* seen;
  MatrixView<T> scores;
  template <class L>
  __device__ void operator()(Index i, const L& lane) const {
    const Id user = users[i];
    for (Index e = offsets[user] + lane.first(); e < offsets[user + 1]; e += L::step)
      scores(i, seen[e]) = -static_cast<T>(INFINITY);
  }
};

}  // namespace gpu

/// The device's part of `recommend` (eval/evaluator.hpp), which has checked the arguments. user_rows and item_rows are
/// on the device, the rest on the host; ids and scores have no gaps between rows.
template <std::floating_point T>
void CudaBackend<T>::rank_items(Context<CudaBackend>& ctx, ConstView<T> user_rows, std::span<const Id> users,
                                ConstView<T> item_rows, const Adjacency* masked, MatrixView<Id> ids,
                                MatrixView<T> scores) {
  using B = CudaBackend<T>;
  ctx.enter();
  const auto n = static_cast<Index>(users.size());
  const Buffer<Id, CudaMemory> user_ids(users);
  Buffer<Index, CudaMemory> offsets;
  Buffer<Id, CudaMemory> seen;
  if (masked != nullptr) {
    offsets = Buffer<Index, CudaMemory>(masked->offsets);
    seen = Buffer<Id, CudaMemory>(masked->ids);
  }
  Buffer<int, CudaMemory> failed(1);
  const Index rows = std::clamp<Index>(gpu::rank_scores / std::max<Index>(item_rows.rows, 1), 1, n);
  Scratch<B> scratch(ctx);
  const MatrixView<T> gathered = scratch.template matrix<T>(rows, user_rows.cols);
  const MatrixView<T> tile = scratch.template matrix<T>(rows, item_rows.rows);
  const MatrixView<T> best = scratch.template matrix<T>(rows, ids.cols);
  const MatrixView<Id> best_ids = scratch.template matrix<Id>(rows, ids.cols);
  for (Index begin = 0; begin < n; begin += rows) {
    const Index m = std::min(rows, n - begin);
    const Id* const block = user_ids.data() + begin;
    const MatrixView<T> part = tile.row_block(0, m);
    B::for_each(ctx, m, functors::GatherRow<T>{user_rows, block, gathered.row_block(0, m)});
    B::gemm(ctx, Op::none, Op::transpose, T{1}, ConstView<T>(gathered.row_block(0, m)), item_rows, part,
            Write::overwrite);
    if (masked != nullptr) B::for_each(ctx, m, gpu::MaskRow<T>{block, offsets.data(), seen.data(), part});
    B::for_each(ctx, m,
                gpu::KeepBestRow<T>{part, 0, -static_cast<T>(INFINITY), true, best_ids.row_block(0, m),
                                    best.row_block(0, m), block, failed.data()});
    CudaMemory::copy_to_host(ids.row(begin), best_ids.data, static_cast<std::size_t>(m * ids.cols) * sizeof(Id));
    CudaMemory::copy_to_host(scores.row(begin), best.data, static_cast<std::size_t>(m * ids.cols) * sizeof(T));
  }
  int user = 0;
  CudaMemory::copy_to_host(&user, failed.data(), sizeof user);
  if (user != 0)
    throw NumericError(
        detail::message("ranking the items of user ", user - 1, ": a score is NaN; the model has diverged"));
}

}  // namespace rearm::REARM_ABI
