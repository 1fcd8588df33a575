#pragma once
/// @file feature_rows.hpp
/// What the graph builders ask of features.

#include <rearm/core/matrix_view.hpp>

#include <concepts>

namespace rearm::REARM_ABI {

/// Rows of raw features, read in blocks and from several threads at once: `FeatureMatrix` or `ViewRows`.
template <class F, class T>
concept FeatureRows = requires(const F& features, Index begin, MatrixView<T> out) {
  { features.rows() } -> std::convertible_to<Index>;
  { features.cols() } -> std::convertible_to<Index>;
  features.copy_rows(begin, out);
};

/// A matrix in memory as feature rows.
template <class T>
struct ViewRows {
  ConstView<T> view;
  Index rows() const noexcept { return view.rows; }
  Index cols() const noexcept { return view.cols; }
  /// out = rows [begin, begin + out.rows).
  template <class U>
  void copy_rows(Index begin, MatrixView<U> out) const {
    for (Index i = 0; i < out.rows; ++i)
      for (Index j = 0; j < out.cols; ++j) out(i, j) = static_cast<U>(view(begin + i, j));
  }
};

}  // namespace rearm::REARM_ABI
