#pragma once
/// @file low_rank.hpp
/// Each row times a pair of thin matrices of its own (REARM eq. 15).

#include <rearm/core/context.hpp>
#include <rearm/functors/low_rank.hpp>

namespace rearm::REARM_ABI {

using functors::LowRankOrder;

namespace detail {
/// The row functor of the product: its `first` factor is the one applied to x first.
template <class T>
functors::LowRankRow<T> low_rank_row(MatrixView<const T> x, MatrixView<const T> w1, MatrixView<const T> w2,
                                     LowRankOrder order, MatrixView<T> mid, MatrixView<T> y) {
  const Index k = x.cols > 0 ? w1.cols / x.cols : 0;
  require_shape(w1, x.rows, x.cols * k, "low_rank_product", "W1");
  require_shape(w2, x.rows, x.cols * k, "low_rank_product", "W2");
  require_shape(mid, x.rows, k, "low_rank_product", "intermediate");
  require_shape(y, x.rows, x.cols, "low_rank_product", "output");
  const bool forward = order == LowRankOrder::left_to_right;
  return {x, forward ? w1 : w2, forward ? w2 : w1, {x.cols, k, order}, mid, y};
}
}  // namespace detail

/// Row i of y is (x_i W1_i) W2_i or W1_i (W2_i x_i), W1_i d x k and W2_i k x d row-major in row i of w1, w2 (n x dk).
/// `mid` (n x k) keeps the intermediate for the backward pass. 4 n d k operations.
template <Backend B>
void low_rank_product(Context<B>& ctx, In<B> x, In<B> w1, In<B> w2, LowRankOrder order, Out<B> mid, Out<B> y) {
  B::for_each(ctx, x.rows, detail::low_rank_row<Real<B>>(x, w1, w2, order, mid, y));
}

/// Gradients of low_rank_product, from the forward's operands and `mid`; functors::LowRankBackwardRow has the
/// equations.
template <Backend B>
void low_rank_product_backward(Context<B>& ctx, In<B> x, In<B> w1, In<B> w2, LowRankOrder order, In<B> mid, In<B> d_y,
                               Into<Real<B>> d_x, Into<Real<B>> d_w1, Into<Real<B>> d_w2) {
  using T = Real<B>;
  const bool forward = order == LowRankOrder::left_to_right;
  B::for_each(ctx, x.rows,
              functors::LowRankBackwardRow<T>{x,
                                              forward ? w1 : w2,
                                              forward ? w2 : w1,
                                              {x.cols, mid.cols, order},
                                              mid,
                                              d_y,
                                              d_x,
                                              forward ? d_w1 : d_w2,
                                              forward ? d_w2 : d_w1});
}

}  // namespace rearm::REARM_ABI
