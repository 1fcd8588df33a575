#pragma once
/// @file neighbors.hpp
/// For each node a short list of weighted neighbors, and its sparse matrix.

#include <rearm/core/csr.hpp>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// n rows of up to k (id, value), best first; row i has counts[i] of them. An id may repeat (padding).
struct NeighborTable {
  Matrix<Id> ids;         ///< n x k
  Matrix<double> values;  ///< n x k
  Buffer<Index> counts;   ///< n

  NeighborTable() = default;
  NeighborTable(Index n, Index k) : ids(n, k), values(n, k), counts(n) {}
  Index rows() const noexcept { return ids.rows(); }
  Index capacity() const noexcept { return ids.cols(); }
  std::span<const Id> row_ids(Index i) const noexcept { return {ids.row(i), static_cast<std::size_t>(counts[i])}; }
  std::span<const double> row_values(Index i) const noexcept {
    return {values.row(i), static_cast<std::size_t>(counts[i])};
  }
};

namespace detail {

/// Grows a CSR row by row, up to so many rows and entries.
class CsrBuilder {
 public:
  CsrBuilder(Index rows, Index entries)
      : out_{rows, 0, Buffer<Index>(rows + 1), Buffer<Id>(entries), Buffer<double>(entries)} {}

  /// Ends the row `entries`: ids are put in order, repeats summed in the order in which they were given.
  void add_row(std::vector<std::pair<Id, double>>& entries) {
    std::ranges::stable_sort(entries, {}, &std::pair<Id, double>::first);
    const Index first = size_;
    for (const auto& [id, value] : entries) {
      if (size_ > first && out_.indices[size_ - 1] == id) {
        out_.values[size_ - 1] += value;
      } else {
        out_.indices[size_] = id;
        out_.values[size_++] = value;
      }
    }
    out_.offsets[++row_] = size_;
  }
  /// After the last row.
  Csr<double> finish(Index cols) && {
    out_.cols = cols;
    if (size_ == out_.nonzeros()) return std::move(out_);
    const auto n = static_cast<std::size_t>(size_);
    return {out_.rows, cols, std::move(out_.offsets), Buffer<Id>(std::as_const(out_.indices).span().first(n)),
            Buffer<double>(std::as_const(out_.values).span().first(n))};
  }

 private:
  Csr<double> out_;
  Index row_ = 0, size_ = 0;
};

}  // namespace detail

/// The n x n matrix whose row i holds scale * value at each neighbor of i; ids ascend, repeats are summed.
inline Csr<double> to_csr(const NeighborTable& table, double scale = 1.0) {
  detail::CsrBuilder builder(table.rows(), std::accumulate(table.counts.begin(), table.counts.end(), Index{0}));
  std::vector<std::pair<Id, double>> row;
  for (Index i = 0; i < table.rows(); ++i) {
    row.clear();
    for (Index j = 0; j < table.counts[i]; ++j) row.emplace_back(table.ids(i, j), scale * table.values(i, j));
    builder.add_row(row);
  }
  return std::move(builder).finish(table.rows());
}

namespace detail {

/// Throws ConfigError unless 1 <= k < n; `field` names the setting, `nodes` what n counts.
inline void require_knn_k(Index k, Index n, std::string_view field, std::string_view nodes) {
  if (k < 1 || k >= n)
    throw ConfigError(message(field, " = ", k, ": must be at least 1 and below the number of ", nodes, " (", n,
                              "); choose a smaller ", field));
}

}  // namespace detail
}  // namespace rearm::REARM_ABI
