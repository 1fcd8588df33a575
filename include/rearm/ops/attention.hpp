#pragma once
/// @file attention.hpp
/// Rank-one attention across the dimensions of one node's embedding (paper eq. 5, 7, 8).

#include <rearm/core/context.hpp>
#include <rearm/functors/attention.hpp>

namespace rearm {

/// Largest row rank-one attention takes.
inline constexpr Index max_attention_width = 1024;

namespace detail {
template <class T>
functors::AttentionInput<T> attention_input(MatrixView<const T> q, MatrixView<const T> k, MatrixView<const T> v,
                                            T scale, double p, RandomKey key) {
  require_shape(k, q.rows, q.cols, "rank_one_attention", "k");
  require_shape(v, q.rows, q.cols, "rank_one_attention", "v");
  if (q.cols < 1 || q.cols > max_attention_width)
    throw ShapeError(
        message("rank_one_attention: rows of ", shape_string(q), " must have 1 to ", max_attention_width, " entries"));
  if (!(p >= 0 && p <= 1)) throw ConfigError(message("rank_one_attention: dropout = ", p, " must lie in [0, 1]"));
  return {q, k, v, scale, p > 0, functors::DropoutMask::make(key, p), functors::DropoutMask::scale<T>(p)};
}
}  // namespace detail

/// For each row: out_a = sum_b softmax_b(scale q_a k_b) m_ab v_b, m the dropout mask over the weights (0 or 1/(1-p)).
/// q, k, v, out n x d. The d x d weights exist one row at a time; n d^2 exponentials.
template <Backend B>
void rank_one_attention(Context<B>& ctx, ConstView<typename B::Scalar> q, ConstView<typename B::Scalar> k,
                        ConstView<typename B::Scalar> v, typename B::Scalar scale, double p, RandomKey key,
                        MatrixView<typename B::Scalar> out) {
  detail::require_shape(out, q.rows, q.cols, "rank_one_attention", "output");
  B::rank_one_attention(ctx, detail::attention_input<typename B::Scalar>(q, k, v, scale, p, key), out);
}

/// Overwrites d_q, d_k, d_v; the weights are computed again from q and k, the mask from the same key.
template <Backend B>
void rank_one_attention_backward(Context<B>& ctx, ConstView<typename B::Scalar> q, ConstView<typename B::Scalar> k,
                                 ConstView<typename B::Scalar> v, typename B::Scalar scale, double p, RandomKey key,
                                 ConstView<typename B::Scalar> out, ConstView<typename B::Scalar> d_out,
                                 MatrixView<typename B::Scalar> d_q, MatrixView<typename B::Scalar> d_k,
                                 MatrixView<typename B::Scalar> d_v) {
  using T = typename B::Scalar;
  detail::require_shape(d_q, q.rows, q.cols, "rank_one_attention_backward", "d_q");
  detail::require_shape(d_k, q.rows, q.cols, "rank_one_attention_backward", "d_k");
  detail::require_shape(d_v, q.rows, q.cols, "rank_one_attention_backward", "d_v");
  B::rank_one_attention_backward(
      ctx,
      functors::AttentionBackwardRow<T>{detail::attention_input<T>(q, k, v, scale, p, key), out, d_out, d_q, d_k, d_v});
}

}  // namespace rearm
