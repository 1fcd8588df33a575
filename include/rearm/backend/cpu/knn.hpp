#pragma once
/// @file knn.hpp
/// Cosine k-nearest neighbors, block by block with a running top-k: never an n x n matrix.

#include <rearm/backend/cpu/graph_backend.hpp>
#include <rearm/eval/top_k.hpp>
#include <rearm/graph/feature_rows.hpp>
#include <rearm/graph/neighbors.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

namespace rearm::REARM_ABI {
namespace detail {

/// Rows per block, so that two blocks of rows and the tile of their products stay near 64 MB.
template <class T>
Index knn_block_rows(Index n, Index dim) {
  constexpr Index budget = (Index{64} << 20) / static_cast<Index>(sizeof(T));
  Index block = 2048;
  while (block > 16 && 2 * block * dim + block * block > budget) block /= 2;
  return std::min(block, n);
}

/// sqrt(sum x^2) in double, so that no float overflows. Throws DataError on NaN or infinity.
template <class T>
double finite_norm(const T* x, Index dim, Index row) {
  double sum = 0;
  for (Index j = 0; j < dim; ++j) sum += static_cast<double>(x[j]) * static_cast<double>(x[j]);
  if (!std::isfinite(sum))
    throw DataError(message("cosine kNN: feature row ", row, " holds NaN or infinity; clean the feature file"));
  return std::sqrt(sum);
}

/// out = rows [begin, begin + out.rows) of the features, each of norm 1; a zero row stays zero.
template <HostBackend B, class Features>
void copy_unit_rows(Context<B>& ctx, const Features& features, Index begin, MatrixView<typename B::Scalar> out) {
  using T = typename B::Scalar;
  B::for_each(ctx, out.rows, [&](Index i, SoleLane) {
    T* row = out.row(i);
    features.copy_rows(begin + i, MatrixView<T>(row, 1, out.cols));
    const double norm = finite_norm(row, out.cols, begin + i);
    const double scale = norm > 0 ? 1.0 / norm : 0.0;
    for (Index j = 0; j < out.cols; ++j) row[j] = static_cast<T>(static_cast<double>(row[j]) * scale);
  });
}

/// Calls visit(I, unit rows of block I, J, unit rows of block J) for all pairs of blocks I <= J, each named by its
/// first row: half the products of a symmetric matrix. For each J the I ascend, and for each I the J.
template <HostBackend B, class Features, class Visit>
void for_each_block_pair(Context<B>& ctx, const Features& features, const Visit& visit) {
  using T = typename B::Scalar;
  const Index n = features.rows();
  const Index block = knn_block_rows<T>(n, features.cols());
  Matrix<T> first(block, features.cols());
  Matrix<T> second(n > block ? block : 0, features.cols());
  for (Index i = 0; i < n; i += block) {
    const MatrixView<T> a = first.view().row_block(0, std::min(block, n - i));
    copy_unit_rows(ctx, features, i, a);
    visit(i, ConstView<T>(a), i, ConstView<T>(a));
    for (Index j = i + block; j < n; j += block) {
      const MatrixView<T> b = second.view().row_block(0, std::min(block, n - j));
      copy_unit_rows(ctx, features, j, b);
      visit(i, ConstView<T>(a), j, ConstView<T>(b));
    }
  }
}

/// Columns transposed at a time: one cache line of floats.
inline constexpr Index strip_width = 16;

/// Calls visit(column, its values, contiguous) for every column, in parallel over strips.
template <HostBackend B, class Visit>
void for_each_column(Context<B>& ctx, ConstView<typename B::Scalar> tile, const Visit& visit) {
  using T = typename B::Scalar;
  cpu::parallel_ranges(ctx.resources(), tile.cols, strip_width, [&](Index begin, Index end) {
    Matrix<T> strip(end - begin, tile.rows);
    for (Index i = 0; i < tile.rows; ++i)
      for (Index j = begin; j < end; ++j) strip(j - begin, i) = tile(i, j);
    for (Index j = begin; j < end; ++j)
      visit(j, std::span<const T>(strip.row(j - begin), static_cast<std::size_t>(tile.rows)));
  });
}

/// Candidates kept beyond k, so that ties at the boundary can be settled.
inline constexpr Index tie_margin = 8;

/// Rescores `entries` by their cosines with row i, summed in double in one fixed order, and sorts them.
template <class Features, class T>
void rank_exactly(const Features& features, Index i, std::span<Scored<T>> entries) {
  const Index dim = features.cols();
  Matrix<double> rows(2, dim);
  features.copy_rows(i, rows.view().row_block(0, 1));
  const double norm = finite_norm(rows.row(0), dim, i);
  std::vector<Scored<double>> exact;
  for (const Scored<T>& entry : entries) {
    features.copy_rows(Index{entry.id}, rows.view().row_block(1, 1));
    const double norms = norm * finite_norm(rows.row(1), dim, entry.id);
    double product = 0;
    for (Index j = 0; j < dim; ++j) product += rows(0, j) * rows(1, j);
    exact.push_back({entry.id, norms > 0 ? product / norms : 0.0});
  }
  std::ranges::sort(exact, ranks_before<double>);
  for (std::size_t j = 0; j < exact.size(); ++j) entries[j] = {exact[j].id, static_cast<T>(exact[j].score)};
}

/// The k best of each list as a table of n x k. A product's rounding depends on a row's position in its block, so even
/// equal rows differ in the last bits; if the choice of the k-th depends on that, it is made in double.
template <HostBackend B, class Features>
NeighborTable collect(Context<B>& ctx, const Features& features, std::vector<TopKSelector<typename B::Scalar>>& best,
                      Index k) {
  using T = typename B::Scalar;
  constexpr T rounding = 16 * std::numeric_limits<T>::epsilon();
  NeighborTable table(static_cast<Index>(best.size()), k);
  B::for_each(ctx, table.rows(), [&](Index i, SoleLane) {
    const auto sorted = best[static_cast<std::size_t>(i)].sorted();
    std::vector<Scored<T>> list(sorted.begin(), sorted.end());
    const auto boundary = list.begin() + std::min(k, static_cast<Index>(list.size()));
    const T edge = (boundary - 1)->score;
    const auto first = std::find_if(list.begin(), boundary, [&](const auto& e) { return e.score - edge <= rounding; });
    const auto last = std::find_if(boundary, list.end(), [&](const auto& e) { return edge - e.score > rounding; });
    // Equal scores are in order of id already.
    if (last != boundary && first->score != (last - 1)->score) rank_exactly<Features, T>(features, i, {first, last});
    table.counts[i] = boundary - list.begin();
    for (Index j = 0; j < table.counts[i]; ++j) {
      table.ids(i, j) = list[static_cast<std::size_t>(j)].id;
      table.values(i, j) = static_cast<double>(list[static_cast<std::size_t>(j)].score);
    }
  });
  return table;
}

}  // namespace detail

/// For every feature row, the k rows of greatest cosine, itself included, greatest first, ties by lower id; negative
/// cosines are not clamped. A zero row has cosine 0 with all, itself included. Throws ConfigError unless 1 <= k < n,
/// DataError on NaN or infinity. n^2 dim / 2 multiply-adds, about 64 MB besides the result.
template <HostBackend B, FeatureRows<typename B::Scalar> Features>
NeighborTable cosine_knn(Context<B>& ctx, const Features& features, Index k) {
  using T = typename B::Scalar;
  detail::require_knn_k(k, features.rows(), "k", "rows");
  const Index block = detail::knn_block_rows<T>(features.rows(), features.cols());
  Matrix<T> products(block, block);
  std::vector<TopKSelector<T>> best(static_cast<std::size_t>(features.rows()), TopKSelector<T>(k + detail::tie_margin));
  detail::for_each_block_pair(ctx, features, [&](Index i, ConstView<T> a, Index j, ConstView<T> b) {
    const MatrixView<T> tile(products.data(), a.rows, b.rows);
    B::gemm(ctx, Op::none, Op::transpose, T{1}, a, b, tile, Write::overwrite);
    B::for_each(ctx, tile.rows, [&](Index r, SoleLane) {
      best[static_cast<std::size_t>(i + r)].offer({tile.row(r), static_cast<std::size_t>(tile.cols)},
                                                  static_cast<Id>(j));
    });
    if (i == j) return;
    detail::for_each_column(ctx, tile, [&](Index c, std::span<const T> scores) {
      best[static_cast<std::size_t>(j + c)].offer(scores, static_cast<Id>(i));
    });
  });
  return detail::collect(ctx, features, best, k);
}

}  // namespace rearm::REARM_ABI
