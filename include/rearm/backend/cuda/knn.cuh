#pragma once
/// @file knn.cuh
/// Cosine k-nearest neighbors on the device: products of blocks of unit rows in double, and a running top-k with one
/// warp per row. Never an n x n matrix.

#include <rearm/backend/cuda/cuda_backend.cuh>
#include <rearm/backend/cuda/top_k.cuh>
#include <rearm/graph/neighbors.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

namespace rearm::REARM_ABI::gpu {

/// Candidates kept beyond k, so that ties at the boundary can be settled.
inline constexpr Index knn_margin = 8;
/// Cosines that differ by no more may be equal: a product's rounding depends on a row's position in its block.
inline constexpr double knn_rounding = 64 * std::numeric_limits<double>::epsilon();

/// Raw features of the items on the device, as rows of doubles.
template <class T>
struct ItemFeatures {
  MatrixView<const T> x;
  REARM_HD Index rows() const { return x.rows; }
  REARM_HD Index cols() const { return x.cols; }
  __device__ double operator()(Index i, Index j) const { return static_cast<double>(x(i, j)); }
};

/// A user's feature row: the mean of its items' rows, summed in order of item id; zero for a user without items.
template <class T>
struct UserFeatures {
  Index n_users;
  const Index* offsets;
  const Id* items;
  MatrixView<const T> x;
  REARM_HD Index rows() const { return n_users; }
  REARM_HD Index cols() const { return x.cols; }
  __device__ double operator()(Index u, Index j) const {
    const Index begin = offsets[u], end = offsets[u + 1];
    double sum = 0;
    for (Index e = begin; e < end; ++e) sum += static_cast<double>(x(items[e], j));
    return end - begin > 1 ? sum / static_cast<double>(end - begin) : sum;
  }
};

/// Raises `failed` to n - i if row i holds NaN or infinity, which is greatest for the first such row.
template <class T>
struct FiniteRow {
  MatrixView<const T> x;
  int* failed;
  __device__ void operator()(Index i, const WarpLane& lane) const {
    double square = 0;
    for (Index j = lane.first(); j < x.cols; j += WarpLane::step)
      square += static_cast<double>(x(i, j)) * static_cast<double>(x(i, j));
    square = lane.sum(square);
    // Infinity minus itself is NaN.
    if (square - square != 0 && lane.leads()) atomicMax(failed, static_cast<int>(x.rows - i));
  }
};

/// Row i of `out`: row begin + i of the features with norm 1; a zero row stays zero.
template <class Rows>
struct UnitRow {
  Rows features;
  Index begin;
  MatrixView<double> out;
  __device__ void operator()(Index i, const WarpLane& lane) const {
    double square = 0;
    for (Index j = lane.first(); j < out.cols; j += WarpLane::step) {
      const double value = features(begin + i, j);
      out(i, j) = value;
      square += value * value;
    }
    square = lane.sum(square);
    const double scale = square > 0 ? 1.0 / std::sqrt(square) : 0.0;
    for (Index j = lane.first(); j < out.cols; j += WarpLane::step) out(i, j) *= scale;
  }
};

/// If the choice of the k-th in row i depends on rounding, it is made again, as by `rank_exactly`
/// (backend/cpu/knn.hpp): the cosines that may equal the k-th are summed in one order, whatever their position, and
/// sorted, ties by lower id. Rows are full.
template <class Rows>
struct SettleTiesRow {
  Rows features;
  Index k;
  MatrixView<Id> ids;
  MatrixView<double> best;
  __device__ void operator()(Index i, const WarpLane& lane) const {
    const double edge = best(i, k - 1);
    Index first = k - 1, last = k;
    while (first > 0 && best(i, first - 1) - edge <= knn_rounding) --first;
    while (last < best.cols && edge - best(i, last) <= knn_rounding) ++last;
    // Equal scores are in order of id already.
    const bool settled = last == k || best(i, first) == best(i, last - 1);
    lane.sync();
    if (settled) return;
    for (Index e = first + lane.first(); e < last; e += WarpLane::step) best(i, e) = exact(i, ids(i, e));
    lane.sync();
    if (lane.leads()) sort(i, first, last);
  }

 private:
  /// By one lane, from the first column to the last: the host's order.
  __device__ double exact(Index i, Index other) const {
    double product = 0, square = 0, other_square = 0;
    for (Index j = 0; j < features.cols(); ++j) {
      const double a = features(i, j), b = features(other, j);
      product += a * b;
      square += a * a;
      other_square += b * b;
    }
    const double norms = std::sqrt(square) * std::sqrt(other_square);
    return norms > 0 ? product / norms : 0.0;
  }
  /// Insertion sort: there are few.
  __device__ void sort(Index i, Index first, Index last) const {
    for (Index e = first + 1; e < last; ++e) {
      const double score = best(i, e);
      const Id id = ids(i, e);
      Index at = e;
      for (; at > first && (best(i, at - 1) < score || (best(i, at - 1) == score && ids(i, at - 1) > id)); --at) {
        best(i, at) = best(i, at - 1);
        ids(i, at) = ids(i, at - 1);
      }
      best(i, at) = score;
      ids(i, at) = id;
    }
  }
};

/// All features of one modality on the device, n_items x width in T, as a model with raw features holds them too.
/// Throws DataError naming the first row that holds NaN or infinity.
template <class T, class Features>
Matrix<T, CudaMemory> upload_features(const Resources& resources, const Features& features) {
  Matrix<T, CudaMemory> x(features.rows(), features.cols());
  fill_on_host(x, [&](Index begin, MatrixView<T> rows) { features.copy_rows(begin, rows); });
  Buffer<int, CudaMemory> failed(1);
  for_each(resources, x.rows(), FiniteRow<T>{x.view(), failed.data()});
  int from_end = 0;
  CudaMemory::copy_to_host(&from_end, failed.data(), sizeof from_end);
  if (from_end != 0)
    throw DataError(detail::message("cosine kNN: feature row ", x.rows() - from_end,
                                    " holds NaN or infinity; clean the feature file"));
  return x;
}

/// Rows per block, so that two blocks of unit rows and the tile of their products take at most 1 GiB.
inline Index knn_block_rows(Index n, Index dim) {
  constexpr Index budget = (Index{1} << 30) / static_cast<Index>(sizeof(double));
  Index block = 8192;
  while (block > 32 && 2 * block * dim + block * block > budget) block /= 2;
  return std::min(block, n);
}

/// Copies the first table.capacity() columns of lists on the device; a row ends at the first id below 0.
inline void copy_lists(const Matrix<Id, CudaMemory>& ids, const Matrix<double, CudaMemory>& values,
                       NeighborTable& table) {
  const OnHost<Id, CudaMemory> host_ids(ids.view());
  const OnHost<double, CudaMemory> host_values(values.view());
  for (Index i = 0; i < table.rows(); ++i) {
    Index& n = table.counts[i];
    for (n = 0; n < table.capacity() && host_ids.view()(i, n) >= 0; ++n) {
      table.ids(i, n) = host_ids.view()(i, n);
      table.values(i, n) = host_values.view()(i, n);
    }
  }
}

/// For each row of `features` (`ItemFeatures`, `UserFeatures`; finite), the k rows of greatest cosine, itself included,
/// greatest first, ties by lower id; the rules of `cosine_knn` (backend/cpu/knn.hpp), all arithmetic in double. 1 <= k
/// < n. n^2 dim multiply-adds; `block` rows at a time (see `knn_block_rows`).
template <class Rows>
NeighborTable cosine_neighbors(const Resources& resources, const Rows& features, Index k, Index block) {
  const Index n = features.rows();
  const Index width = std::min(k + knn_margin, n);
  Matrix<Id, CudaMemory> ids(n, width);
  Matrix<double, CudaMemory> best(n, width);
  Matrix<double, CudaMemory> first(block, features.cols());
  Matrix<double, CudaMemory> second(n > block ? block : 0, features.cols());
  Matrix<double, CudaMemory> products(block, block);
  for (Index i = 0; i < n; i += block) {
    const MatrixView<double> a = first.view().row_block(0, std::min(block, n - i));
    for_each(resources, a.rows, UnitRow<Rows>{features, i, a});
    for (Index j = 0; j < n; j += block) {
      const MatrixView<double> b = i == j ? a : second.view().row_block(0, std::min(block, n - j));
      if (i != j) for_each(resources, b.rows, UnitRow<Rows>{features, j, b});
      const MatrixView<double> tile(products.data(), a.rows, b.rows);
      gemm<double>(resources, Op::none, Op::transpose, 1.0, a, b, tile, Write::overwrite);
      for_each(resources, a.rows,
               KeepBestRow<double>{tile, j, -std::numeric_limits<double>::infinity(), j == 0,
                                   ids.view().row_block(i, a.rows), best.view().row_block(i, a.rows)});
    }
  }
  for_each(resources, n, SettleTiesRow<Rows>{features, k, ids.view(), best.view()});
  NeighborTable table(n, k);
  copy_lists(ids, best, table);  // waits: nothing is in flight when the blocks are freed
  return table;
}

}  // namespace rearm::REARM_ABI::gpu
