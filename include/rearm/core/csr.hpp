#pragma once
/// @file csr.hpp
/// Compressed sparse rows, and the pair (matrix, transpose) that sparse operators differentiate through.

#include <rearm/core/halo.hpp>
#include <rearm/core/matrix.hpp>

#include <algorithm>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// Non-owning CSR: row i holds entries offsets[i] .. offsets[i+1].
template <class T>
struct CsrView {
  Index rows = 0;
  Index cols = 0;
  const Index* offsets = nullptr;
  const Id* indices = nullptr;
  const T* values = nullptr;
  Index nonzeros = 0;
};

/// Owning CSR matrix. Column ids ascend within a row unless a builder says otherwise; duplicates are merged.
template <class T, class Memory = HostMemory>
struct Csr {
  Index rows = 0;
  Index cols = 0;
  Buffer<Index, Memory> offsets;  ///< rows + 1
  Buffer<Id, Memory> indices;     ///< nonzeros
  Buffer<T, Memory> values;       ///< nonzeros

  Index nonzeros() const noexcept { return indices.size(); }
  CsrView<T> view() const noexcept { return {rows, cols, offsets.data(), indices.data(), values.data(), nonzeros()}; }
};

/// Whether the offsets ascend from 0 to the number of entries and every column id is below `cols`, which the rest of
/// the code takes for granted and a file may violate.
template <class T>
bool well_formed(const Csr<T>& a) {
  if (a.rows < 0 || a.offsets.size() != a.rows + 1 || a.values.size() != a.nonzeros()) return false;
  const auto offsets = a.offsets.span();
  return offsets.front() == 0 && offsets.back() == a.nonzeros() && std::ranges::is_sorted(offsets) &&
         std::ranges::all_of(a.indices.span(), [&](Id column) { return column >= 0 && column < a.cols; });
}

/// The transpose, column ids ascending in each row (counting sort, O(nonzeros)).
template <class T>
Csr<T> transpose(const Csr<T>& a) {
  Csr<T> t{a.cols, a.rows, Buffer<Index>(a.cols + 1), Buffer<Id>(a.nonzeros()), Buffer<T>(a.nonzeros())};
  for (const Id column : a.indices) ++t.offsets[column + 1];
  for (Index i = 0; i < a.cols; ++i) t.offsets[i + 1] += t.offsets[i];
  std::vector<Index> next(t.offsets.begin(), t.offsets.end());
  for (Index i = 0; i < a.rows; ++i)
    for (Index e = a.offsets[i]; e < a.offsets[i + 1]; ++e) {
      const Index slot = next[static_cast<std::size_t>(a.indices[e])]++;
      t.indices[slot] = static_cast<Id>(i);
      t.values[slot] = a.values[e];
    }
  return t;
}

/// The same pattern with values of another type.
template <class To, class From>
Csr<To> cast(const Csr<From>& a) {
  Csr<To> out{a.rows, a.cols, Buffer<Index>(a.offsets.span()), Buffer<Id>(a.indices.span()), Buffer<To>(a.nonzeros())};
  for (Index e = 0; e < a.nonzeros(); ++e) out.values[e] = static_cast<To>(a.values[e]);
  return out;
}

/// How ranks share a sparse matrix.
struct SharedOperator {
  std::vector<std::shared_ptr<const RowBlocks>> parts;  ///< keeps what the layouts name
  std::vector<const RowBlocks*> row_layout;
  Halo forward;   ///< of the matrix
  Halo backward;  ///< of its transpose; that of a symmetric matrix is `forward`
};

/// A sparse matrix that can be applied forward and backward. A symmetric one stores itself once. Of one that ranks
/// share each has its block of rows, of the matrix and of the transpose (graph/share.hpp).
template <class T, class Memory = HostMemory>
class SparseOperator {
 public:
  SparseOperator() = default;
  /// A symmetric matrix: its transpose is itself.
  static SparseOperator symmetric(Csr<T, Memory> matrix) {
    SparseOperator s;
    s.matrix_ = std::move(matrix);
    s.symmetric_ = true;
    return s;
  }
  /// Any matrix; stores the transpose beside it so that no backward pass scatters.
  static SparseOperator general(Csr<T, Memory> matrix) requires(Memory::host_accessible) {
    SparseOperator s;
    s.transpose_ = rearm::transpose(matrix);
    s.matrix_ = std::move(matrix);
    return s;
  }
  /// One that was made on the host: itself there, a copy elsewhere.
  static SparseOperator from_host(SparseOperator<T>&& other) {
    if constexpr (std::is_same_v<Memory, HostMemory>)
      return std::move(other);
    else
      return from_host(std::as_const(other));
  }
  static SparseOperator from_host(const SparseOperator<T>& other) {
    const auto copy = [](const Csr<T>& a) {
      return Csr<T, Memory>{a.rows, a.cols, Buffer<Index, Memory>(a.offsets.span()),
                            Buffer<Id, Memory>(a.indices.span()), Buffer<T, Memory>(a.values.span())};
    };
    SparseOperator s;
    s.matrix_ = copy(other.matrix());
    s.transpose_ = copy(other.transpose());
    s.symmetric_ = other.is_symmetric();
    return s;
  }
  /// This rank's blocks of a matrix and of its transpose, which is the matrix if that is symmetric.
  static SparseOperator block(Csr<T, Memory> matrix, Csr<T, Memory> transpose, bool symmetric,
                              const std::shared_ptr<const SharedOperator>& shared) {
    SparseOperator s;
    s.matrix_ = std::move(matrix);
    s.transpose_ = std::move(transpose);
    s.symmetric_ = symmetric;
    s.shared_ = shared;
    return s;
  }
  /// Of all ranks; `view` and `transpose_view` are of what is here.
  Index rows() const noexcept { return shared_ == nullptr ? matrix_.rows : detail::all_rows(row_layout()); }
  Index cols() const noexcept { return shared_ == nullptr ? matrix_.cols : detail::all_rows(halo()->layout); }
  /// Null unless ranks share it.
  const Halo* halo() const noexcept { return shared_ == nullptr ? nullptr : &shared_->forward; }
  const Halo* transpose_halo() const noexcept {
    return shared_ == nullptr ? nullptr : symmetric_ ? &shared_->forward : &shared_->backward;
  }
  RowLayout row_layout() const noexcept { return shared_ == nullptr ? RowLayout() : RowLayout(shared_->row_layout); }
  bool is_symmetric() const noexcept { return symmetric_; }
  /// Stored beside the matrix; empty for a symmetric one.
  const Csr<T, Memory>& transpose() const noexcept { return transpose_; }
  Index nonzeros() const noexcept { return matrix_.nonzeros(); }
  bool empty() const noexcept { return matrix_.offsets.empty(); }
  const Csr<T, Memory>& matrix() const noexcept { return matrix_; }
  CsrView<T> view() const noexcept { return matrix_.view(); }
  CsrView<T> transpose_view() const noexcept { return symmetric_ ? matrix_.view() : transpose_.view(); }

 private:
  Csr<T, Memory> matrix_;
  Csr<T, Memory> transpose_;
  bool symmetric_ = false;
  std::shared_ptr<const SharedOperator> shared_;
};

}  // namespace rearm::REARM_ABI
