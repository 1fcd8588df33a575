#pragma once
/// @file top_k.cuh
/// The running k best of rows of scores, one warp per row.

#include <rearm/backend/cuda/rows.cuh>

namespace rearm::REARM_ABI::gpu {

/// Offers row i of `scores`, for ids from `first_id` on, to the lists in row i of `ids` and `best`: higher score first,
/// ties by lower id, -1 and `none` if there are fewer. Only scores above `none` enter. Ids ascend from call to call;
/// `restart` empties the lists first. A NaN raises `failed`, if given, to 1 + the owner of its row.
template <class S>
struct KeepBestRow {
  MatrixView<const S> scores;
  Index first_id;
  S none;
  bool restart;
  MatrixView<Id> ids;
  MatrixView<S> best;
  const Id* owners = nullptr;
  int* failed = nullptr;

  __device__ void operator()(Index i, const WarpLane& lane) const {
    const Index k = best.cols;
    if (restart) {
      for (Index j = lane.first(); j < k; j += WarpLane::step) {
        best(i, j) = none;
        ids(i, j) = -1;
      }
      lane.sync();
    }
    S worst = best(i, k - 1);
    for (Index first = 0; first < scores.cols; first += WarpLane::step) {
      const Index j = first + lane.first();
      const S score = j < scores.cols ? scores(i, j) : none;
      if (failed != nullptr && score != score) atomicMax(failed, owners[i] + 1);  // a NaN never enters
      unsigned candidates = __ballot_sync(full_warp, score > worst);
      while (candidates != 0) {
        const int source = __ffs(static_cast<int>(candidates)) - 1;
        candidates &= candidates - 1;
        const S candidate = __shfl_sync(full_warp, score, source);
        if (candidate > worst) worst = insert(i, candidate, static_cast<Id>(first_id + first + source), lane);
      }
    }
  }

 private:
  /// Inserts a score after those at least as high (their ids are lower) and returns the last score kept.
  __device__ S insert(Index i, S score, Id id, const WarpLane& lane) const {
    const Index k = best.cols;
    int ahead = 0;
    for (Index j = lane.first(); j < k; j += WarpLane::step) ahead += best(i, j) >= score ? 1 : 0;
    const Index place = lane.sum(ahead);
    // From the end, 32 at a time: what moves is read before any of it is written.
    for (Index first = (k - 1) / WarpLane::step * WarpLane::step; first >= 0 && first + WarpLane::step > place;
         first -= WarpLane::step) {
      const Index j = first + lane.first();
      const bool moves = j > place && j < k;
      const S score_before = moves ? best(i, j - 1) : S{0};
      const Id id_before = moves ? ids(i, j - 1) : 0;
      lane.sync();
      if (moves) {
        best(i, j) = score_before;
        ids(i, j) = id_before;
      }
    }
    if (lane.leads()) {
      best(i, place) = score;
      ids(i, place) = id;
    }
    lane.sync();
    return best(i, k - 1);
  }
};

}  // namespace rearm::REARM_ABI::gpu
