#pragma once
/// @file ranking.cuh
/// All-ranking on the device: a block of users' scores by one product, seen items masked, the k best kept by a warp a
/// user.

#include <rearm/backend/cuda/cuda_backend.cuh>
#include <rearm/data/interactions.hpp>
#include <rearm/functors/gather.hpp>

#include <algorithm>
#include <cmath>
#include <span>

namespace rearm {
namespace gpu {

/// Scores that exist at once.
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

/// Row i of ids and best: the highest scores of row i, best first, ties by lower id; -1 and -infinity where there are
/// fewer. A NaN makes `failed` the number of its user, counted from 1.
template <class T>
struct TopKRow {
  MatrixView<const T> scores;
  const Id* users;
  MatrixView<Id> ids;
  MatrixView<T> best;
  int* failed;

  __device__ void operator()(Index i, const WarpLane& lane) const {
    const Index k = best.cols;
    const T none = -static_cast<T>(INFINITY);
    for (Index j = lane.first(); j < k; j += WarpLane::step) {
      best(i, j) = none;
      ids(i, j) = -1;
    }
    lane.sync();
    T worst = none;
    for (Index first = 0; first < scores.cols; first += WarpLane::step) {
      const Index j = first + lane.first();
      T score = j < scores.cols ? scores(i, j) : none;
      if (score != score) {
        atomicMax(failed, users[i] + 1);
        score = none;
      }
      unsigned candidates = __ballot_sync(full_warp, score > worst);
      while (candidates != 0) {
        const int source = __ffs(static_cast<int>(candidates)) - 1;
        candidates &= candidates - 1;
        const T candidate = __shfl_sync(full_warp, score, source);
        if (candidate > worst) worst = insert(i, candidate, static_cast<Id>(first + source), lane);
      }
    }
  }

 private:
  /// Puts a score behind those that are as high (their ids are lower) and returns the last one kept.
  __device__ T insert(Index i, T score, Id id, const WarpLane& lane) const {
    const Index k = best.cols;
    int ahead = 0;
    for (Index j = lane.first(); j < k; j += WarpLane::step) ahead += best(i, j) >= score ? 1 : 0;
    const Index place = lane.sum(ahead);
    for (Index first = (k - 1) / WarpLane::step * WarpLane::step; first + WarpLane::step > place;
         first -= WarpLane::step) {
      const Index j = first + lane.first();
      const bool moves = j > place && j < k;
      const T score_before = moves ? best(i, j - 1) : T{0};
      const Id id_before = moves ? ids(i, j - 1) : 0;
      lane.sync();
      if (moves) {
        best(i, j) = score_before;
        ids(i, j) = id_before;
      }
      lane.sync();
      if (first == 0) break;
    }
    if (lane.leads()) {
      best(i, place) = score;
      ids(i, place) = id;
    }
    lane.sync();
    return best(i, k - 1);
  }
};

template <class T>
void copy_rows_to_host(MatrixView<const T> from, MatrixView<T> to) {
  for (Index i = 0; i < (to.contiguous() ? 1 : to.rows); ++i)
    CudaMemory::copy_to_host(to.row(i), from.row(i),
                             static_cast<std::size_t>(to.contiguous() ? to.size() : to.cols) * sizeof(T));
}

}  // namespace gpu

/// The device's part of `recommend` (eval/evaluator.hpp), which has checked the arguments. user_rows and item_rows lie
/// on the device, the rest on the host.
template <class T>
void rank_items(Context<CudaBackend<T>>& ctx, ConstView<T> user_rows, std::span<const Id> users, ConstView<T> item_rows,
                const Adjacency* masked, MatrixView<Id> ids, MatrixView<T> scores) {
  using B = CudaBackend<T>;
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
    B::for_each(ctx, m, gpu::TopKRow<T>{part, block, best_ids.row_block(0, m), best.row_block(0, m), failed.data()});
    gpu::copy_rows_to_host<Id>(best_ids.row_block(0, m), ids.row_block(begin, m));
    gpu::copy_rows_to_host<T>(best.row_block(0, m), scores.row_block(begin, m));
  }
  int user = 0;
  CudaMemory::copy_to_host(&user, failed.data(), sizeof user);
  if (user != 0)
    throw NumericError(
        detail::message("ranking the items of user ", user - 1, ": a score is NaN; the model has diverged"));
}

}  // namespace rearm
