#pragma once
/// @file sparse_pattern.hpp
/// A sparse matrix whose values are computed: its places alone.

#include <rearm/core/csr.hpp>

#include <numeric>

namespace rearm::REARM_ABI {

/// Where a sparse matrix has entries. Values lie apart, one an entry in stored order (n x 1). The transpose is stored
/// beside it, with the number that each of its entries has in the matrix, so that no backward pass scatters.
template <class Memory = HostMemory>
class SparsePattern {
 public:
  SparsePattern() = default;
  /// The places of a matrix on the host; its values are not read.
  template <class T>
  explicit SparsePattern(const Csr<T>& a) {
    Csr<Index> numbered{a.rows, a.cols, Buffer<Index>(a.offsets.span()), Buffer<Id>(a.indices.span()),
                        Buffer<Index>(a.nonzeros())};
    std::iota(numbered.values.begin(), numbered.values.end(), Index{0});
    const Csr<Index> transposed = rearm::transpose(numbered);
    rows_ = a.rows;
    cols_ = a.cols;
    offsets_ = Buffer<Index, Memory>(a.offsets.span());
    indices_ = Buffer<Id, Memory>(a.indices.span());
    transpose_offsets_ = Buffer<Index, Memory>(transposed.offsets.span());
    transpose_indices_ = Buffer<Id, Memory>(transposed.indices.span());
    numbers_ = Buffer<Index, Memory>(transposed.values.span());
  }
  Index rows() const noexcept { return rows_; }
  Index cols() const noexcept { return cols_; }
  Index nonzeros() const noexcept { return indices_.size(); }
  /// The matrix with these values, one an entry in stored order.
  template <class T>
  CsrView<T> with(const T* values) const noexcept {
    return {rows_, cols_, offsets_.data(), indices_.data(), values, nonzeros()};
  }
  /// The transpose with values in its own order: entry e is entry numbers()[e] of the matrix.
  template <class T>
  CsrView<T> transpose_with(const T* values) const noexcept {
    return {cols_, rows_, transpose_offsets_.data(), transpose_indices_.data(), values, nonzeros()};
  }
  const Index* numbers() const noexcept { return numbers_.data(); }

 private:
  Index rows_ = 0;
  Index cols_ = 0;
  Buffer<Index, Memory> offsets_, transpose_offsets_, numbers_;
  Buffer<Id, Memory> indices_, transpose_indices_;
};

}  // namespace rearm::REARM_ABI
