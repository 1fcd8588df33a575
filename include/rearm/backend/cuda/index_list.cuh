#pragma once
/// @file index_list.cuh
/// Ids sorted and grouped on the device (CUB), so that the transpose of a gather adds in a fixed order.

#include <rearm/backend/cuda/rows.cuh>
#include <rearm/core/index_list.hpp>

#include <cub/cub.cuh>

#include <bit>
#include <limits>
#include <span>

namespace rearm::REARM_ABI::gpu {

/// CUB's protocol: called once for the size of its work array, then to run. f(work, bytes) returns a status.
template <class F>
void with_work(const Resources& resources, Arena<CudaMemory>& arena, const char* call, const F& f) {
  const DeviceGuard here = resources.start();
  std::size_t bytes = 0;
  check(f(nullptr, bytes), call);
  const auto mark = arena.mark();
  check(f(arena.template allocate<unsigned char>(static_cast<Index>(bytes) + 1), bytes), call);
  arena.rewind(mark);
}

inline int item_count(Index n, const char* what) {
  if (n > std::numeric_limits<int>::max())
    throw ShapeError(detail::message(what, ": ", n, " elements are more than one call takes"));
  return static_cast<int>(n);
}
/// Bits needed for ids below n_rows.
inline int id_bits(Index n_rows) {
  return std::max(1, static_cast<int>(std::bit_width(static_cast<std::uint64_t>(n_rows))));
}

REARM_KERNEL void positions_kernel(Id* order, Index n) {
  const Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) order[i] = static_cast<Id>(i);
}
/// 1 where a run of equal ids begins.
REARM_KERNEL void heads_kernel(const Id* sorted, Index n, Index* head) {
  const Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) head[i] = i == 0 || sorted[i] != sorted[i - 1] ? 1 : 0;
}
/// rank (1-based, inclusive sums of the heads) -> segments: where each run begins, and n after the last.
REARM_KERNEL void segments_kernel(const Id* sorted, const Index* rank, Index n, Index* segments) {
  const Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i > n) return;
  const Index n_runs = rank[n - 1];
  if (i >= n_runs) segments[i] = n;
  if (i < n && (i == 0 || sorted[i] != sorted[i - 1])) segments[rank[i] - 1] = i;
}
/// Each distinct id once; padding repeats the first and has empty segments.
REARM_KERNEL void distinct_kernel(const Id* sorted, const Index* rank, Index n, Id* ids, Id* order, Index* segments,
                                  Index* count) {
  const Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i > n) return;
  const Index n_runs = rank[n - 1];
  segments[i] = i < n_runs ? i : n_runs;
  order[i] = i < n ? static_cast<Id>(i) : 0;
  if (i == 0) *count = n_runs;
  if (i >= n) return;
  if (i >= n_runs) ids[i] = sorted[0];
  if (i == 0 || sorted[i] != sorted[i - 1]) ids[rank[i] - 1] = sorted[i];
}

/// Up to this many ids are sorted by counting, each against all: fewer launches than CUB's sort and scan.
inline constexpr Index counted_ids = 8192;

/// The ids of one list after the other.
struct TwoLists {
  const Id* first;
  Index n_first;
  const Id* second;
  Index n_second;
  REARM_HD Index size() const { return n_first + n_second; }
  __device__ Id operator[](Index i) const { return i < n_first ? first[i] : second[i - n_first]; }
};

/// Puts id i after all smaller ids and after the equal ones that precede it, and a copy where it stood.
struct CountPlaceRow {
  TwoLists ids;
  Id* copy;
  Id* sorted;
  Id* order;
  Index* head;
  __device__ void operator()(Index i, const WarpLane& lane) const {
    const Id own = ids[i];
    int smaller = 0;
    int equal = 0;
    const auto count = [&](const Id* list, Index n, Index before) {
      for (Index j = lane.first(); j < n; j += WarpLane::step) {
        smaller += list[j] < own ? 1 : 0;
        equal += list[j] == own && j < before ? 1 : 0;
      }
    };
    count(ids.first, ids.n_first, i);
    count(ids.second, ids.n_second, i - ids.n_first);
    smaller = lane.sum(smaller);
    equal = lane.sum(equal);
    if (!lane.leads()) return;
    copy[i] = own;
    sorted[smaller + equal] = own;
    order[smaller + equal] = static_cast<Id>(i);
    head[smaller + equal] = equal == 0 ? 1 : 0;
    if (i == 0) order[ids.size()] = 0;
  }
};
REARM_KERNEL void join_kernel(TwoLists ids, Id* to) {
  const Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < ids.size()) to[i] = ids[i];
}
/// rank_i = head_0 + ... + head_i
struct CountHeadsRow {
  const Index* head;
  Index* rank;
  __device__ void operator()(Index i, const WarpLane& lane) const {
    Index count = 0;
    for (Index j = lane.first(); j <= i; j += WarpLane::step) count += head[j];
    count = lane.sum(count);
    if (lane.leads()) rank[i] = count;
  }
};

/// The ids, sorted ids, their positions (stable; n of each) and the 1-based rank of each id's run.
struct SortedIds {
  Id* ids;
  Id* sorted;
  Id* order;  ///< n + 1: the last is read where a segment is empty
  Index* rank;
};

inline SortedIds sort_ids(const Resources& resources, Arena<CudaMemory>& arena, const TwoLists& ids, Index n_rows) {
  const Index n = ids.size();
  const int items = item_count(n, "gather");
  const SortedIds out{arena.allocate<Id>(n), arena.allocate<Id>(n), arena.allocate<Id>(n + 1),
                      arena.allocate<Index>(n)};
  Index* const head = arena.allocate<Index>(n);
  if (n <= counted_ids) {
    for_each(resources, n, CountPlaceRow{ids, out.ids, out.sorted, out.order, head});
    for_each(resources, n, CountHeadsRow{head, out.rank});
    return out;
  }
  launch(resources, blocks_for(n, 256), 256, join_kernel, ids, out.ids);
  Id* const positions = arena.allocate<Id>(n);
  launch(resources, blocks_for(n, 256), 256, positions_kernel, positions, n);
  launch(resources, 1, 1, positions_kernel, out.order + n, Index{1});
  with_work(resources, arena, "cub::DeviceRadixSort::SortPairs", [&](void* work, std::size_t& bytes) {
    return cub::DeviceRadixSort::SortPairs(work, bytes, static_cast<const Id*>(out.ids), out.sorted,
                                           static_cast<const Id*>(positions), out.order, items, 0, id_bits(n_rows),
                                           resources.stream());
  });
  launch(resources, blocks_for(n, 256), 256, heads_kernel, static_cast<const Id*>(out.sorted), n, head);
  with_work(resources, arena, "cub::DeviceScan::InclusiveSum", [&](void* work, std::size_t& bytes) {
    return cub::DeviceScan::InclusiveSum(work, bytes, static_cast<const Index*>(head), out.rank, items,
                                         resources.stream());
  });
  return out;
}

inline IndexList index_list(const Resources& resources, Arena<CudaMemory>& arena, std::span<const Id> ids,
                            Index n_rows) {
  const auto n = static_cast<Index>(ids.size());
  if (n == 0) return {};
  Index* const segments = arena.allocate<Index>(n + 1);
  const SortedIds s = sort_ids(resources, arena, {ids.data(), n, nullptr, 0}, n_rows);
  launch(resources, blocks_for(n + 1, 256), 256, segments_kernel, static_cast<const Id*>(s.sorted),
         static_cast<const Index*>(s.rank), n, segments);
  return {s.ids, n, s.order, segments, n};
}

inline IndexList distinct_list(const Resources& resources, Arena<CudaMemory>& arena, std::span<const Id> a,
                               std::span<const Id> b, Index n_rows) {
  const auto n = static_cast<Index>(a.size() + b.size());
  if (n == 0) return {};
  Id* const ids = arena.allocate<Id>(n);
  Id* const order = arena.allocate<Id>(n + 1);
  Index* const segments = arena.allocate<Index>(n + 1);
  Index* const count = arena.allocate<Index>(1);
  const SortedIds s = sort_ids(
      resources, arena, {a.data(), static_cast<Index>(a.size()), b.data(), static_cast<Index>(b.size())}, n_rows);
  launch(resources, blocks_for(n + 1, 256), 256, distinct_kernel, static_cast<const Id*>(s.sorted),
         static_cast<const Index*>(s.rank), n, ids, order, segments, count);
  return {ids, n, order, segments, n, count};
}

}  // namespace rearm::REARM_ABI::gpu
