#pragma once
/// @file knn_graph.hpp
/// Graphs of rows that are alike.

#include <rearm/core/backend.hpp>
#include <rearm/core/context.hpp>
#include <rearm/data/dataset.hpp>
#include <rearm/data/features.hpp>
#include <rearm/graph/cache.hpp>
#include <rearm/graph/neighbors.hpp>
#include <rearm/graph/normalize.hpp>
#include <rearm/graph/options.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

namespace rearm::REARM_ABI {

namespace detail {

/// What computes cosines, for keys of the cache: a device rounds otherwise than the CPU, whose backends need no name.
template <Backend B>
std::string_view cosine_arithmetic(const GraphOptions& options) {
  return B::Memory::host_accessible || options.of_any_backend ? std::string_view() : B::name();
}

/// All features, in double.
inline void add_features(ContentHash& hash, const FeatureMatrix& features) {
  Matrix<double> rows(std::min<Index>(features.rows(), 64), features.cols());
  for (Index i = 0; i < features.rows(); i += rows.rows()) {
    const Index n = std::min(rows.rows(), features.rows() - i);
    features.copy_rows(i, rows.view().row_block(0, n));
    hash.add(std::span<const double>(rows.data(), static_cast<std::size_t>(n * rows.cols())));
  }
}

}  // namespace detail

/// S, items x items, on the host: row i has the cosines of item i with the k items of greatest cosine, itself among
/// them; the backend (`cosine_knn`) says how ties and zero rows are taken. Read from and kept in the cache folder, if
/// there is one; otherwise a stage of progress. O(items^2 width). Throws ConfigError unless 1 <= k < items, DataError
/// on NaN or infinity, and what `GraphCache::keep` throws.
template <Backend B>
Csr<double> knn_cosines(Context<B>& ctx, const Modality& modality, Index k, const GraphOptions& options = {}) {
  const FeatureMatrix& features = modality.features;
  detail::require_knn_k(k, features.rows(), "k", "items");
  const auto key = [&] {
    ContentHash hash;
    hash.add(std::string_view("rearm knn cosines 1"));
    hash.add(detail::cosine_arithmetic<B>(options));
    hash.add(sizeof(Real<B>));
    hash.add(k);
    detail::add_features(hash, features);
    return hash.digest();
  };
  return GraphCache(options.cache_dir).keep<double>("knn", key, [&] {
    if (options.progress) options.progress("neighbors by " + modality.name, 0);
    const std::shared_ptr<void> held = features.hold(options.gram_bytes);
    return to_csr(cosine_knn(ctx, features, k));
  });
}

/// D^-1/2 S D^-1/2 of knn_cosines, where D holds the sums of the rows of S, for rows and columns alike (LATTICE, Zhang
/// et al., MM'21). Not symmetric. Where a sum is not above 0, as for an item whose features are 0, row and column are
/// 0.
template <Backend B>
Csr<Real<B>> knn_graph(Context<B>& ctx, const Modality& modality, Index k, const GraphOptions& options = {}) {
  Csr<double> graph = knn_cosines(ctx, modality, k, options);
  normalize_by_row_sums(graph);
  return cast<Real<B>>(graph);
}

/// 1 / (k + epsilon) in place of every cosine of knn_cosines: D^-1/2 K D^-1/2 of the 0/1 matrix K with D its row sums.
template <Backend B>
Csr<double> unweighted_knn_graph(Context<B>& ctx, const Modality& modality, Index k, double epsilon,
                                 const GraphOptions& options = {}) {
  Csr<double> graph = knn_cosines(ctx, modality, k, options);
  std::fill_n(graph.values.data(), graph.values.size(), 1.0 / (static_cast<double>(k) + epsilon));
  return graph;
}

}  // namespace rearm::REARM_ABI
