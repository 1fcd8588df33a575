#pragma once
/// @file graph_builders.cuh
/// The device's part of building graphs: counting, products and top-k. What costs O(pairs + n k) is done on the host.

#include <rearm/backend/cuda/knn.cuh>
#include <rearm/core/random.hpp>
#include <rearm/data/interactions.hpp>
#include <rearm/graph/co_occurrence.hpp>
#include <rearm/graph/item_neighbors.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace rearm::REARM_ABI {
namespace gpu {

/// Bytes of counters in use at a time.
inline constexpr Index count_bytes = Index{256} << 20;

/// The arrays of an Adjacency, on the device.
struct AdjacencyCopy {
  Buffer<Index, CudaMemory> offsets;
  Buffer<Id, CudaMemory> ids;
  explicit AdjacencyCopy(const Adjacency& a) : offsets(a.offsets), ids(a.ids) {}
};

/// counts(b, j) += columns that rows first + b and j != first + b share, one block per row, one warp per column.
/// Integers, so the order of the additions does not matter.
REARM_KERNEL void co_occurrence_kernel(const Index* row_offsets, const Id* row_ids, const Index* column_offsets,
                                       const Id* column_ids, Index first, MatrixView<int> counts) {
  const Index i = first + blockIdx.x;
  int* const count = counts.row(blockIdx.x);
  for (Index e = row_offsets[i] + threadIdx.x / warp_size; e < row_offsets[i + 1]; e += row_warps) {
    const Id column = row_ids[e];
    for (Index f = column_offsets[column] + own_lane().lane; f < column_offsets[column + 1]; f += warp_size)
      if (column_ids[f] != i) atomicAdd(count + column_ids[f], 1);
  }
}

/// Row i of `values`: the counts. If there is a list of popular nodes, short and empty rows are filled as by
/// `pad_neighbors` (graph/co_occurrence.hpp).
struct CountedRow {
  MatrixView<Id> ids;
  MatrixView<const int> counts;
  MatrixView<double> values;
  RandomKey key;
  MatrixView<const Id> popular;          ///< 1 x k, or empty
  MatrixView<const int> popular_counts;  ///< 1 x k, or empty
  __device__ void operator()(Index i, const WarpLane& lane) const {
    int found = 0;
    for (Index j = lane.first(); j < ids.cols; j += WarpLane::step) found += ids(i, j) >= 0 ? 1 : 0;
    const Index own = lane.sum(found);
    for (Index j = lane.first(); j < own; j += WarpLane::step) values(i, j) = static_cast<double>(counts(i, j));
    if (popular.empty()) return;
    double total = 0;
    for (Index j = lane.first(); j < ids.cols; j += WarpLane::step) total += static_cast<double>(popular_counts(0, j));
    total = lane.sum(total);
    for (Index j = lane.first(); j < ids.cols; j += WarpLane::step) {
      if (j < own) continue;
      if (own > 0) {
        const auto position = static_cast<std::uint64_t>(i * ids.cols + j);
        const Index drawn = key.below(position, static_cast<std::uint32_t>(own));
        ids(i, j) = ids(i, drawn);
        values(i, j) = static_cast<double>(counts(i, drawn));
      } else {
        ids(i, j) = popular(0, j);
        values(i, j) = total > 0 ? static_cast<double>(popular_counts(0, j)) / total : 0.0;
      }
    }
  }
};

/// The k highest counts of every row of R R^T without the diagonal, as `co_occurrence_top_k`, padded from draws of
/// `key` if asked for, as `pad_neighbors`. `rows` is R, `columns` its transpose; 1 <= k <= n. Takes `scratch_bytes` of
/// counters, at least one row.
inline NeighborTable co_occurrence_neighbors(const Resources& resources, const Adjacency& rows,
                                             const Adjacency& columns, Index k, Padding padding, RandomKey key,
                                             Index scratch_bytes = count_bytes) {
  const Index n = rows.rows();
  const AdjacencyCopy by_row(rows), by_column(columns);
  Matrix<Id, CudaMemory> ids(n, k);
  Matrix<int, CudaMemory> best(n, k);
  const Index batch = std::clamp<Index>(scratch_bytes / (n * static_cast<Index>(sizeof(int))), 1, n);
  Matrix<int, CudaMemory> counts(batch, n);
  for (Index first = 0; first < n; first += batch) {
    const MatrixView<int> part = counts.view().row_block(0, std::min(batch, n - first));
    const DeviceGuard here = resources.start();
    REARM_CUDA_CHECK(
        cudaMemsetAsync(part.data, 0, static_cast<std::size_t>(part.size()) * sizeof(int), resources.stream()));
    launch(resources, static_cast<unsigned>(part.rows), row_warps * warp_size, co_occurrence_kernel,
           by_row.offsets.data(), by_row.ids.data(), by_column.offsets.data(), by_column.ids.data(), first, part);
    for_each(resources, part.rows,
             KeepBestRow<int>{part, 0, 0, true, ids.view().row_block(first, part.rows),
                              best.view().row_block(first, part.rows)});
  }
  Matrix<Id, CudaMemory> popular;
  Matrix<int, CudaMemory> popular_counts;
  Buffer<int, CudaMemory> degrees;
  if (padding == Padding::fill) {
    std::vector<int> on_host;
    for (Index i = 0; i < n; ++i) on_host.push_back(static_cast<int>(rows.degree(i)));
    degrees = Buffer<int, CudaMemory>(on_host);
    popular = Matrix<Id, CudaMemory>(1, k);
    popular_counts = Matrix<int, CudaMemory>(1, k);
    for_each(resources, 1,
             KeepBestRow<int>{{degrees.data(), 1, n}, 0, -1, true, popular.view(), popular_counts.view()});
  }
  Matrix<double, CudaMemory> values(n, k);
  for_each(resources, n,
           CountedRow{ids.view(), best.view(), values.view(), key, popular.view(), popular_counts.view()});
  NeighborTable table(n, k);
  copy_lists(ids, values, table);  // waits: nothing is in flight when the counters are freed
  return table;
}

}  // namespace gpu

/// A backend whose graphs are built on a CUDA device.
template <class B>
concept CudaGraphBackend = Backend<B> && std::same_as<typename B::Resources, gpu::Resources>;

/// The device's part of `co_occurrence_graph`; up to 256 MiB of counters. Throws DeviceError if memory runs out.
template <CudaGraphBackend B>
NeighborTable co_occurrence_neighbors(Context<B>& ctx, const Adjacency& rows, const Adjacency& columns, Index k,
                                      Padding padding, RandomKey key) {
  return gpu::co_occurrence_neighbors(ctx.resources(), rows, columns, k, padding, key);
}

/// The k nearest rows by cosine, as on the CPU (backend/cpu/knn.hpp). Cosines are computed in double for either Scalar,
/// so the neighbors are the same unless cosines are equal up to rounding. Takes on the device all the features and up
/// to 1 GiB for blocks of unit rows and products, and frees it all.
template <CudaGraphBackend B, class Features>
NeighborTable cosine_knn(Context<B>& ctx, const Features& features, Index k) {
  using T = typename B::Scalar;
  const Matrix<T, CudaMemory> x = gpu::upload_features<T>(ctx.resources(), features);
  return gpu::cosine_neighbors(ctx.resources(), gpu::ItemFeatures<T>{x.view()}, k,
                               gpu::knn_block_rows(x.rows(), x.cols()));
}
/// The same for the users' mean features. Does not yield the items' neighbors.
template <CudaGraphBackend B, class Features>
NeighborTable user_knn(Context<B>& ctx, const Adjacency& items_by_user, const Features& features, Index k,
                       std::size_t /*gram_bytes*/, ItemNeighbors* /*of_items*/ = nullptr) {
  using T = typename B::Scalar;
  const Matrix<T, CudaMemory> x = gpu::upload_features<T>(ctx.resources(), features);
  const gpu::AdjacencyCopy items(items_by_user);
  const Index n = items_by_user.rows();
  return gpu::cosine_neighbors(ctx.resources(),
                               gpu::UserFeatures<T>{n, items.offsets.data(), items.ids.data(), x.view()}, k,
                               gpu::knn_block_rows(n, x.cols()));
}

}  // namespace rearm::REARM_ABI
