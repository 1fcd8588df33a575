#pragma once
/// @file model_case.hpp
/// Loads one folder of reference numbers as a data set, graphs, parameters and expected results.

#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/data/npy.hpp>
#include <rearm/model/rearm.hpp>

#include <tests/support/shared.hpp>

#include <nlohmann/json.hpp>

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

template <Backend B>
Graphs<B> read_graphs(const std::filesystem::path& dir) {
  using T = typename B::Scalar;
  const auto load = [&](const char* name) {
    return SparseOperator<T>::general(csr_from_dense<T>(read_npy<double>(dir / name)));
  };
  return {load("graph_interaction_norm.npy"), load("graph_user.npy"), load("graph_item.npy")};
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

template <class T>
void assign(Matrix<T>& target, const std::vector<double>& values) {
  REQUIRE(static_cast<Index>(values.size()) == target.size());
  for (Index i = 0; i < target.size(); ++i) target.data()[i] = static_cast<T>(values[static_cast<std::size_t>(i)]);
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

/// A parameter's gradient, formed from its factors where it is kept as such.
template <Backend B>
Matrix<typename B::Scalar> gradient_of(Context<B>& ctx, const Parameter<B>& p) {
  using T = typename B::Scalar;
  Matrix<T> grad(p.rows(), p.cols());
  if (!p.has_grad) return grad;
  if (p.factored)
    gemm(ctx, Op::none, Op::none, T{1}, p.factor_output, p.factor_weight, grad.view());
  else
    scaled_copy(ctx, T{1}, p.grad.view(), grad.view());
  return grad;
}

/// Batch `b` of an array of batches (steps x 3 x size).
inline Batch read_batch(const NpyArray<Id>& batches, Index b) {
  const Index size = batches.shape.back();
  const auto row = [&](Index r) {
    const auto begin = batches.values.begin() + static_cast<std::ptrdiff_t>((b * 3 + r) * size);
    return std::vector<Id>(begin, begin + static_cast<std::ptrdiff_t>(size));
  };
  return {row(0), row(1), row(2)};
}

}  // namespace rearm::test
