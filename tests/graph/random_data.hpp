#pragma once
/// @file random_data.hpp
/// Small awkward inputs for the graph builders, and their naive dense counterparts.

#include <rearm/core/csr.hpp>
#include <rearm/core/random.hpp>
#include <rearm/data/dataset.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace rearm::test {

using Dense = Matrix<double>;

/// Pairs drawn at random, early items more often; the last user and the last item have none.
inline Interactions random_pairs(Index n_users, Index n_items, Index n_pairs, std::uint64_t seed) {
  const RandomKey key{seed, 1, 0};
  Interactions pairs;
  for (Index e = 0; e < n_pairs; ++e) {
    const auto at = static_cast<std::uint64_t>(2 * e);
    const double skewed = key.uniform(at + 1) * key.uniform(at + 1);
    pairs.users.push_back(static_cast<Id>(key.below(at, static_cast<std::uint32_t>(n_users - 1))));
    pairs.items.push_back(static_cast<Id>(skewed * static_cast<double>(n_items - 1)));
  }
  return pairs;
}

/// Normal numbers; every seventh row is zero, every fifth repeats the row before.
inline Matrix<float> random_features(Index rows, Index cols, std::uint64_t seed) {
  const RandomKey key{seed, 2, 0};
  Matrix<float> x(rows, cols);
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < cols; ++j)
      x(i, j) = i % 7 == 3            ? 0.0F
                : i > 0 && i % 5 == 0 ? x(i - 1, j)
                                      : static_cast<float>(key.normal(static_cast<std::uint64_t>(i * cols + j)));
  return x;
}

inline Dataset random_dataset(Index n_users, Index n_items, Index n_pairs, std::uint64_t seed) {
  Dataset data;
  data.name = "random";
  data.n_users = n_users;
  data.n_items = n_items;
  data.train = random_pairs(n_users, n_items, n_pairs, seed);
  data.modalities.push_back({"image", "synthetic", FeatureMatrix::from(random_features(n_items, 12, seed)), {}});
  data.modalities.push_back({"text", "synthetic", FeatureMatrix::from(random_features(n_items, 7, seed + 1)), {}});
  return data;
}

template <class T>
Dense to_dense(const Csr<T>& a) {
  Dense out(a.rows, a.cols);
  for (Index i = 0; i < a.rows; ++i)
    for (Index e = a.offsets[i]; e < a.offsets[i + 1]; ++e) out(i, a.indices[e]) += static_cast<double>(a.values[e]);
  return out;
}

inline double max_difference(const Dense& a, const Dense& b) {
  double worst = a.rows() == b.rows() && a.cols() == b.cols() ? 0.0 : 1e300;
  for (Index e = 0; e < a.size() && worst < 1e300; ++e)
    worst = std::max(worst, std::isfinite(a.data()[e]) ? std::abs(a.data()[e] - b.data()[e]) : 1e300);
  return worst;
}

/// R, n_users x n_items.
inline Dense naive_incidence(const Interactions& pairs, Index n_users, Index n_items) {
  Dense r(n_users, n_items);
  for (Index e = 0; e < pairs.size(); ++e)
    r(pairs.users[static_cast<std::size_t>(e)], pairs.items[static_cast<std::size_t>(e)]) = 1;
  return r;
}

inline Dense naive_transpose(const Dense& a) {
  Dense t(a.cols(), a.rows());
  for (Index i = 0; i < a.rows(); ++i)
    for (Index j = 0; j < a.cols(); ++j) t(j, i) = a(i, j);
  return t;
}

/// A A^T.
inline Dense naive_gram(const Dense& a) {
  Dense g(a.rows(), a.rows());
  for (Index i = 0; i < a.rows(); ++i)
    for (Index j = 0; j < a.rows(); ++j)
      for (Index c = 0; c < a.cols(); ++c) g(i, j) += a(i, c) * a(j, c);
  return g;
}

/// R R^T with a zero diagonal.
inline Dense naive_counts(const Dense& r) {
  Dense c = naive_gram(r);
  for (Index i = 0; i < c.rows(); ++i) c(i, i) = 0;
  return c;
}

inline Dense naive_user_means(const Dense& r, const Dense& x) {
  Dense out(r.rows(), x.cols());
  for (Index u = 0; u < r.rows(); ++u) {
    double degree = 0;
    for (Index i = 0; i < r.cols(); ++i) degree += r(u, i);
    for (Index i = 0; i < r.cols(); ++i)
      for (Index j = 0; j < x.cols(); ++j)
        if (r(u, i) > 0) out(u, j) += x(i, j) / degree;
  }
  return out;
}

/// All cosines; 0 with a zero row.
inline Dense naive_cosines(const Dense& x) {
  Dense g = naive_gram(x);
  std::vector<double> norm(static_cast<std::size_t>(x.rows()));
  for (Index i = 0; i < x.rows(); ++i) norm[static_cast<std::size_t>(i)] = std::sqrt(g(i, i));
  for (Index i = 0; i < x.rows(); ++i)
    for (Index j = 0; j < x.rows(); ++j) {
      const double product = norm[static_cast<std::size_t>(i)] * norm[static_cast<std::size_t>(j)];
      g(i, j) = product > 0 ? g(i, j) / product : 0.0;
    }
  return g;
}

/// Columns of row i by falling value, then rising id.
inline std::vector<Id> naive_order(const Dense& a, Index i) {
  std::vector<Id> order(static_cast<std::size_t>(a.cols()));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](Id p, Id q) { return a(i, p) > a(i, q); });
  return order;
}

/// Any matrix in memory as doubles.
template <class T>
Dense to_double(const Matrix<T>& a) {
  Dense out(a.rows(), a.cols());
  for (Index e = 0; e < a.size(); ++e) out.data()[e] = static_cast<double>(a.data()[e]);
  return out;
}

/// Deletes a temporary folder at the end of a test.
struct TemporaryFolder {
  std::filesystem::path path;
  explicit TemporaryFolder(const std::string& name)
      : path(std::filesystem::temp_directory_path() / ("rearm_" + name + "_" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
};

}  // namespace rearm::test
