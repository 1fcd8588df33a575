#pragma once
/// @file row_sums.hpp
/// Destinations of a row reduction.

#include <rearm/core/into.hpp>

namespace rearm::REARM_ABI {

/// Where the sums of `reduce_rows` go: up to three consecutive groups of `size` sums each, in the order of the view's
/// rows. The sums of a group that is not wanted are computed and discarded. So one pass over the rows yields the
/// gradients of several parameters:
///
///     // Of y = w x + b, w and b one number each. The functor adds x_i . d_y_i to partial[0], the sum of d_y_i to
///     // partial[1].
///     B::reduce_rows(ctx, n, f, RowSums<T>({1, d_w}, {1, d_b}));
///     // All sums into one place: as many as it has room for.
///     B::reduce_rows(ctx, n, functors::ColumnSumRow<T>{T{1}, x}, RowSums<T>(out));
template <class T>
struct RowSums {
  struct Group {
    Index size = 0;
    Into<T> into = {};
  };
  static constexpr int n_groups = 3;
  Group group[n_groups];

  RowSums(const Into<T>& out) : group{{out.view.size(), out}, {}, {}} {}  // NOLINT(google-explicit-constructor)
  /// Throws ShapeError where a view has room for another number of sums.
  RowSums(const Group& a, const Group& b, const Group& c = {}) : group{a, b, c} {
    for (const Group& g : group)
      if (g.into.wanted() && g.into.view.size() != g.size)
        throw ShapeError(detail::message("sums over rows: ", g.size, " numbers do not fit a gradient of ",
                                         shape_string(g.into.view)));
  }
  Index width() const { return group[0].size + group[1].size + group[2].size; }
  /// Writes sum number j of all if it is one of group g. Called group by group: two groups may have one destination.
  REARM_HD void put(int g, Index j, T sum) const {
    for (int before = 0; before < g; ++before) j -= group[before].size;
    const Into<T>& into = group[g].into;
    if (j < 0 || j >= group[g].size || !into.wanted()) return;
    T& target = into.view(j / into.view.cols, j % into.view.cols);
    target = into.write == Write::overwrite ? sum : target + sum;
  }
};

}  // namespace rearm::REARM_ABI
