#pragma once
/// @file into.hpp
/// Where an operator writes: the one form of every gradient argument, and of every output that may be added to.

#include <rearm/core/matrix_view.hpp>

namespace rearm::REARM_ABI {

/// Whether an operator replaces what its output holds or adds to it.
enum class Write { overwrite, accumulate };

/// A place to write. A view is overwritten; `add_to(view)` is added to; `{}` means that the result is not wanted and is
/// not computed.
template <class T>
struct Into {
  MatrixView<T> view;
  Write write = Write::overwrite;

  Into() = default;
  REARM_HD Into(const MatrixView<T>& view_, Write write_ = Write::overwrite)  // NOLINT(google-explicit-constructor)
      : view(view_), write(write_) {}
  REARM_HD bool wanted() const { return view.data != nullptr; }
  /// Rows [begin, begin + n) of it.
  REARM_HD Into row_block(Index begin, Index n) const { return {view.row_block(begin, n), write}; }
  /// Columns [begin, begin + n) of it.
  REARM_HD Into col_block(Index begin, Index n) const { return {view.col_block(begin, n), write}; }
};

template <class T>
Into<T> add_to(const MatrixView<T>& view) {
  return {view, Write::accumulate};
}

}  // namespace rearm::REARM_ABI
