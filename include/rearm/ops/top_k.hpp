#pragma once
/// @file top_k.hpp
/// The places of each row's largest entries.

#include <rearm/core/context.hpp>
#include <rearm/functors/top_k.hpp>

namespace rearm::REARM_ABI {

/// ids (n x k): the columns of the k largest entries of each row of x (n x w), the largest first, of equal ones the
/// lower column; -1 where a row has fewer above -infinity. NaN is never chosen. ShapeError unless 1 <= k <= w. n w k
/// operations: for small k.
template <Backend B>
void row_top_k(Context<B>& ctx, In<B> x, MatrixView<Id> ids) {
  if (ids.rows != x.rows || ids.cols < 1 || ids.cols > x.cols)
    throw ShapeError(detail::message("row_top_k: ids are ", shape_string(ids), " but x is ", shape_string(x),
                                     "; they need a row each and 1 to ", x.cols, " columns"));
  B::for_each(ctx, x.rows, functors::TopKRow<Real<B>>{x, ids});
}

}  // namespace rearm::REARM_ABI
