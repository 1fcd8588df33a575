#pragma once
/// @file model_case.hpp
/// Loads one folder of reference numbers as a data set, graphs, parameters and expected results.

#include "tests/support/backend.hpp"
#include "tests/support/gradient_check.hpp"

#include <rearm/data/npy.hpp>
#include <rearm/models/rearm/rearm.hpp>

#include <tests/support/shared.hpp>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace rearm::test {

inline nlohmann::json read_json(const std::filesystem::path& path) {
  std::ifstream in(path);
  return nlohmann::json::parse(in);
}

inline std::vector<double> read_doubles(const std::filesystem::path& path) { return read_npy<double>(path).values; }

/// Keeps the nonzeros of a dense matrix.
template <class T>
Csr<T> csr_from_dense(const NpyArray<double>& dense) {
  const Index rows = dense.shape[0];
  const Index cols = dense.shape[1];
  std::vector<Index> offsets{0};
  std::vector<Id> indices;
  std::vector<T> values;
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < cols; ++j) {
      const double value = dense.values[static_cast<std::size_t>(i * cols + j)];
      if (value == 0) continue;
      indices.push_back(static_cast<Id>(j));
      values.push_back(static_cast<T>(value));
    }
    offsets.push_back(static_cast<Index>(indices.size()));
  }
  return {rows, cols, Buffer<Index>(offsets), Buffer<Id>(indices), Buffer<T>(values)};
}

template <class T>
GraphSet<T> read_graphs(const std::filesystem::path& dir) {
  const auto load = [&](const char* name) {
    return SparseOperator<T>::general(csr_from_dense<T>(read_npy<double>(dir / name)));
  };
  return {load("graph_interaction_norm.npy"), load("graph_user.npy"), load("graph_item.npy")};
}

/// A row's co-occurring nodes in the order of torch.topk(counts, min(200, how many there are)) on the CPU: libstdc++'s
/// selection, then its sort of all but the last, ties as they fall.
inline std::vector<Id> program_order(const double* counts, Index n) {
  std::vector<std::pair<double, Id>> queue;
  Index met = 0;
  for (Index j = 0; j < n; ++j) {
    queue.emplace_back(counts[j], static_cast<Id>(j));
    met += counts[j] > 0 ? 1 : 0;
  }
  const Index k = std::min<Index>(met, 200);
  std::vector<Id> order;
  if (k == 0) return order;
  const auto more = [](const auto& a, const auto& b) { return a.first > b.first; };
  if (k * 64 <= n) {
    std::partial_sort(queue.begin(), queue.begin() + k, queue.end(), more);
  } else {
    std::nth_element(queue.begin(), queue.begin() + k - 1, queue.end(), more);
    std::sort(queue.begin(), queue.begin() + k - 1, more);
  }
  for (Index p = 0; p < k; ++p) order.push_back(queue[static_cast<std::size_t>(p)].second);
  return order;
}

/// A homograph as the program multiplied by it, w C + (1 - w) S. C's entries lie in the order of their counts while the
/// tensor passes for sorted, and torch's sparse sum walks both lists once: an edge of both is added in float32 where
/// the walks meet, which is where its column is the largest of C's row so far, and stays two entries elsewhere, added
/// in double by the product (as do the padding's repetitions). The dense file holds the float32 sums throughout.
template <class T>
SparseOperator<T> program_homograph(const std::filesystem::path& dir, const nlohmann::json& manifest, bool user) {
  const std::string side = user ? "user" : "item";
  const auto load = [&](const std::string& name) { return read_npy<double>(dir / (name + ".npy")); };
  NpyArray<double> sum = load("graph_" + side);
  const NpyArray<double> co = load("graph_" + side + "_cooccurrence");
  const NpyArray<double> similar = load("graph_" + side + (user ? "_interest" : "_semantic"));
  const NpyArray<double> counts = load(side + "_cooccurrence_counts");
  const auto w = manifest.at(user ? "uu_co_weight" : "ii_co_weight").get<double>();
  const Index k = manifest.at(user ? "user_knn_k" : "item_knn_k").get<Index>();
  const Index n = sum.shape[0];
  for (Index i = 0; i < n; ++i) {
    const auto at = [&](const NpyArray<double>& a, Id j) { return a.values[static_cast<std::size_t>(i * n + j)]; };
    const std::vector<Id> all = program_order(counts.values.data() + i * n, n);
    const std::vector<Id> order(all.begin(), all.begin() + std::min<Index>(k, static_cast<Index>(all.size())));
    double share = 0;  // of one entry: C_ij / exp(count) over the k entries of the row
    for (const Id j : order) share += at(co, j) / std::exp(at(counts, j)) / static_cast<double>(k);
    Id last = -1;
    for (const Id j : order) {
      CHECK(at(co, j) > 0);  // the order's first k are the row's neighbors
      const double times = std::round(at(co, j) / std::exp(at(counts, j)) / share);
      const float c = static_cast<float>(w) * static_cast<float>(at(co, j) / times);
      const float s = static_cast<float>(1 - w) * static_cast<float>(at(similar, j));
      const double met = j > last ? static_cast<double>(c + s) : static_cast<double>(c) + static_cast<double>(s);
      const double value = met + (times - 1) * static_cast<double>(c);
      CHECK(std::abs(value - at(sum, j)) < 1e-6);
      sum.values[static_cast<std::size_t>(i * n + j)] = value;
      last = std::max(last, j);
    }
  }
  return SparseOperator<T>::general(csr_from_dense<T>(sum));
}

inline Modality read_modality(const std::filesystem::path& dir, const std::string& name) {
  return {name, "made up", FeatureMatrix::open(dir / (name + "_feat.npy")), std::nullopt};
}

inline Dataset read_case_dataset(const std::filesystem::path& dir, const nlohmann::json& manifest) {
  Dataset data;
  data.name = dir.filename();
  data.n_users = manifest.at("n_users");
  data.n_items = manifest.at("n_items");
  const NpyArray<Id> train = read_npy<Id>(dir / "train.npy");
  const auto n = static_cast<std::ptrdiff_t>(train.shape[1]);
  data.train.users.assign(train.values.begin(), train.values.begin() + n);
  data.train.items.assign(train.values.begin() + n, train.values.end());
  data.modalities.push_back(read_modality(dir, "image"));
  data.modalities.push_back(read_modality(dir, "text"));
  return data;
}

template <class X>
void assign(X& target, const std::vector<double>& values) {
  Matrix<typename X::T> here(target.rows(), target.cols());
  REQUIRE(static_cast<Index>(values.size()) == here.size());
  for (Index i = 0; i < here.size(); ++i)
    here.data()[i] = static_cast<typename X::T>(values[static_cast<std::size_t>(i)]);
  set(target, here);
}

/// |a - b| / |b|, or |a - b| where b is zero.
template <class T>
double relative_error(MatrixView<const T> a, const std::vector<double>& b) {
  REQUIRE(a.size() == static_cast<Index>(b.size()));
  double difference = 0;
  double norm = 0;
  for (Index i = 0; i < a.rows; ++i)
    for (Index j = 0; j < a.cols; ++j) {
      const double expected = b[static_cast<std::size_t>(i * a.cols + j)];
      difference += (static_cast<double>(a(i, j)) - expected) * (static_cast<double>(a(i, j)) - expected);
      norm += expected * expected;
    }
  return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

/// Largest absolute difference.
template <class T>
double max_difference(MatrixView<const T> a, const std::vector<double>& b) {
  REQUIRE(a.size() == static_cast<Index>(b.size()));
  double worst = 0;
  for (Index i = 0; i < a.rows; ++i)
    for (Index j = 0; j < a.cols; ++j)
      worst = std::max(worst, std::abs(static_cast<double>(a(i, j)) - b[static_cast<std::size_t>(i * a.cols + j)]));
  return worst;
}

/// Batch `b` of an array of batches (steps x 3 x size), in the backend's memory.
inline BatchThere read_batch(const NpyArray<Id>& batches, Index b) {
  const Index size = batches.shape.back();
  const auto row = [&](Index r) {
    const auto begin = batches.values.begin() + static_cast<std::ptrdiff_t>((b * 3 + r) * size);
    return std::vector<Id>(begin, begin + static_cast<std::ptrdiff_t>(size));
  };
  return BatchThere({row(0), row(1), row(2)});
}

}  // namespace rearm::test
