#pragma once
/// @file attention.hpp
/// Rank-one attention across the dimensions of one node's embedding (REARM eq. 5, 7, 8).

#include <rearm/core/context.hpp>
#include <rearm/functors/attention.hpp>
#include <rearm/ops/elementwise.hpp>

#include <cstdint>

namespace rearm::REARM_ABI {

/// Widest row that rank-one attention accepts.
inline constexpr Index max_attention_width = 1024;

namespace detail {
template <class T>
functors::AttentionInput<T> attention_input(MatrixView<const T> q, MatrixView<const T> k, MatrixView<const T> v,
                                            T scale, double p, RandomKey key, Index first_row, std::uint64_t* kept) {
  require_shape(k, q.rows, q.cols, "rank_one_attention", "k");
  require_shape(v, q.rows, q.cols, "rank_one_attention", "v");
  if (q.cols < 1 || q.cols > max_attention_width)
    throw ShapeError(
        message("rank_one_attention: rows of ", shape_string(q), " must have 1 to ", max_attention_width, " entries"));
  if (!(p >= 0 && p <= 1)) throw ConfigError(message("rank_one_attention: dropout = ", p, " must lie in [0, 1]"));
  return {q,         k,   v, scale, p > 0, functors::DropoutMask::make(key, p), functors::DropoutMask::scale<T>(p),
          first_row, kept};
}
}  // namespace detail

/// Arena memory in which attention on `rows` rows of `cols` columns keeps which weights were dropped; null if the
/// backend draws the bits again.
template <Backend B>
std::uint64_t* attention_bits(Context<B>& ctx, Index rows, Index cols, double p) {
  if constexpr (requires { B::keeps_attention_bits(cols); })
    if (p > 0 && B::keeps_attention_bits(cols)) return ctx.arena().template allocate<std::uint64_t>(rows * cols);
  return nullptr;
}

/// For each row: out_a = sum_b softmax_b(scale q_a k_b) m_ab v_b, m the dropout mask over the weights (0 or 1/(1-p)).
/// q, k, v, out n x d. The d x d weights of a row are never stored; n d^2
/// exponentials. The mask is that of rows from number `first_row` on; `kept`, if not null, is of `attention_bits`
/// and filled for the backward pass. Throws ShapeError, and ConfigError unless p lies in [0, 1].
template <Backend B>
void rank_one_attention(Context<B>& ctx, In<B> q, In<B> k, In<B> v, Real<B> scale, double p, RandomKey key, Out<B> out,
                        Index first_row = 0, std::uint64_t* kept = nullptr) {
  detail::require_shape(out, q.rows, q.cols, "rank_one_attention", "output");
  const auto in = detail::attention_input<Real<B>>(q, k, v, scale, p, key, first_row, kept);
  if constexpr (requires { B::rank_one_attention(ctx, in, out); })
    B::rank_one_attention(ctx, in, out);
  else
    B::for_each(ctx, q.rows, functors::AttentionRow<Real<B>>{in, out});
}

/// Overwrites d_q, d_k, d_v, from the forward's operands, key and result. Recomputes weights, and without `kept` the
/// mask.
template <Backend B>
void rank_one_attention_backward(Context<B>& ctx, In<B> q, In<B> k, In<B> v, Real<B> scale, double p, RandomKey key,
                                 In<B> out, In<B> d_out, Out<B> d_q, Out<B> d_k, Out<B> d_v, Index first_row = 0,
                                 std::uint64_t* kept = nullptr) {
  using T = Real<B>;
  detail::require_shape(d_q, q.rows, q.cols, "rank_one_attention_backward", "d_q");
  detail::require_shape(d_k, q.rows, q.cols, "rank_one_attention_backward", "d_k");
  detail::require_shape(d_v, q.rows, q.cols, "rank_one_attention_backward", "d_v");
  const functors::AttentionBackwardRow<T> row{
      detail::attention_input<T>(q, k, v, scale, p, key, first_row, kept), out, d_out, d_q, d_k, d_v};
  if constexpr (requires { B::rank_one_attention_backward(ctx, row); })
    B::rank_one_attention_backward(ctx, row);
  else
    B::for_each(ctx, q.rows, row);
}

/// The projections of the authors' attention: q = w_0 x + b_0, k = w_1 y + b_1, v = w_2 y + b_2; w, b 3 x 1, everything
/// else n x d.
template <Backend B>
void scalar_projections(Context<B>& ctx, In<B> x, In<B> y, In<B> weight, In<B> bias, Out<B> q, Out<B> k, Out<B> v) {
  detail::require_shape(weight, 3, 1, "scalar_projections", "weight");
  detail::require_shape(bias, 3, 1, "scalar_projections", "bias");
  detail::require_shape(y, x.rows, x.cols, "scalar_projections", "second operand");
  for (const auto& out : {q, k, v}) detail::require_shape(out, x.rows, x.cols, "scalar_projections", "output");
  B::for_each(ctx, x.rows, functors::ScalarProjectionsRow<Real<B>>{x, y, weight, bias, q, k, v});
}

/// d_x (+)= w_0 d_q, then d_y (+)= w_1 d_k + w_2 d_v; d_w (+)= sums of (x d_q, y d_k, y d_v), d_b (+)= sums of
/// (d_q, d_k, d_v). One pass.
template <Backend B>
void scalar_projections_backward(Context<B>& ctx, In<B> x, In<B> y, In<B> weight, In<B> d_q, In<B> d_k, In<B> d_v,
                                 Into<Real<B>> d_x, Into<Real<B>> d_y, Into<Real<B>> d_weight, Into<Real<B>> d_bias) {
  using T = Real<B>;
  detail::require_shape(weight, 3, 1, "scalar_projections_backward", "weight");
  for (const auto& array : {y, d_q, d_k, d_v})
    detail::require_shape(array, x.rows, x.cols, "scalar_projections_backward", "an operand");
  for (const auto& into : {d_x, d_y})
    if (into.wanted()) detail::require_shape(into.view, x.rows, x.cols, "scalar_projections_backward", "a gradient");
  Scratch<B> scratch(ctx);
  Into<T> to_y = d_y;
  if (!detail::rows_apart(d_x.view, d_y.view)) to_y = scratch.template matrix<T>(x.rows, x.cols);
  B::reduce_rows(ctx, x.rows, functors::ScalarProjectionsBackwardRow<T>{x, y, weight, d_q, d_k, d_v, d_x, to_y},
                 RowSums<T>({3, d_weight}, {3, d_bias}));
  if (to_y.view.data != d_y.view.data) scaled_copy(ctx, T{1}, ConstView<T>(to_y.view), d_y);
}

}  // namespace rearm::REARM_ABI
