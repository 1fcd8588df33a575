#pragma once
/// @file row_ops.hpp
/// Normalizations, softmax, attention and the low-rank product on tape variables; see ops.hpp.

#include <rearm/autodiff/apply.hpp>
#include <rearm/ops/attention.hpp>
#include <rearm/ops/elementwise.hpp>
#include <rearm/ops/low_rank.hpp>
#include <rearm/ops/normalize.hpp>
#include <rearm/ops/softmax.hpp>

#include <array>

namespace rearm::REARM_ABI {

template <Backend B>
Var<B> row_normalize(Var<B> x, Real<B> eps) {
  using T = Real<B>;
  return apply_rows(
      {x}, x.rows(), x.cols(),
      [&](Context<B>& ctx, Out<B> y) {
        T* const norm = ctx.arena().template allocate<T>(y.rows);
        row_normalize(ctx, x.value(), eps, y, norm);
        return norm;
      },
      [=](Context<B>& ctx, Var<B> y, const T* norm, auto d_x) {
        row_normalize_backward(ctx, y.value(), norm, eps, y.grad(), d_x);
      });
}

template <Backend B>
Var<B> row_scale_detached(Var<B> x, Real<B> eps) {
  using T = Real<B>;
  return apply_rows(
      {x}, x.rows(), x.cols(),
      [&](Context<B>& ctx, Out<B> y) {
        T* const divisor = ctx.arena().template allocate<T>(y.rows);
        row_scale_detached(ctx, x.value(), eps, y, divisor);
        return divisor;
      },
      [=](Context<B>& ctx, Var<B> y, const T* divisor, auto d_x) {
        row_scale_detached_backward(ctx, divisor, y.grad(), d_x);
      });
}

namespace detail {
/// The mean and 1 / standard deviation of each of n rows, kept for LayerNorm's backward pass.
template <class T>
struct RowMoments {
  T* mean;
  T* rstd;
  template <class Arena>
  RowMoments(Arena& arena, Index n) : mean(arena.template allocate<T>(n)), rstd(arena.template allocate<T>(n)) {}
};
}  // namespace detail

template <Backend B>
Var<B> layer_norm(Var<B> x, Var<B> gamma, Var<B> beta, Real<B> eps) {
  using Moments = detail::RowMoments<Real<B>>;
  return apply_rows(
      {x, gamma, beta}, x.rows(), x.cols(),
      [&](Context<B>& ctx, Out<B> y) {
        const Moments of(ctx.arena(), y.rows);
        layer_norm(ctx, x.value(), gamma.value(), beta.value(), eps, y, of.mean, of.rstd);
        return of;
      },
      [=](Context<B>& ctx, Var<B> y, const Moments& of, auto d_x, auto d_gamma, auto d_beta) {
        layer_norm_backward(ctx, x.value(), gamma.value(), of.mean, of.rstd, y.grad(), d_x, d_gamma, d_beta);
      });
}

/// prelu(layer_norm(x)) as one operator.
template <Backend B>
Var<B> layer_norm_prelu(Var<B> x, Var<B> gamma, Var<B> beta, Real<B> eps, Var<B> slope) {
  using Moments = detail::RowMoments<Real<B>>;
  return apply_rows(
      {x, gamma, beta, slope}, x.rows(), x.cols(),
      [&](Context<B>& ctx, Out<B> y) {
        const Moments of(ctx.arena(), y.rows);
        layer_norm_prelu(ctx, x.value(), gamma.value(), beta.value(), eps, slope.value(), y, of.mean, of.rstd);
        return of;
      },
      [=](Context<B>& ctx, Var<B> y, const Moments& of, auto d_x, auto d_gamma, auto d_beta, auto d_slope) {
        layer_norm_prelu_backward(ctx, x.value(), gamma.value(), beta.value(), slope.value(), of.mean, of.rstd,
                                  y.grad(), d_x, d_gamma, d_beta, d_slope);
      });
}

template <Backend B>
Var<B> softmax(Var<B> x, SoftmaxAxis along) {
  return apply_rows(
      {x}, x.rows(), x.cols(), [&](Context<B>& ctx, Out<B> y) { softmax(ctx, x.value(), along, y); },
      [=](Context<B>& ctx, Var<B> y, auto d_x) { softmax_backward(ctx, y.value(), along, y.grad(), d_x); });
}

template <Backend B>
Var<B> log_sum_exp(Var<B> x) {
  return apply_rows(
      {x}, x.rows(), 1, [&](Context<B>& ctx, Out<B> y) { log_sum_exp(ctx, x.value(), y); },
      [=](Context<B>& ctx, Var<B> y, auto d_x) { log_sum_exp_backward(ctx, x.value(), y.value(), y.grad(), d_x); });
}

template <Backend B>
Var<B> cosine(Var<B> a, Var<B> b, Real<B> eps) {
  return apply_rows(
      {a, b}, a.rows(), 1, [&](Context<B>& ctx, Out<B> y) { cosine(ctx, a.value(), b.value(), eps, y); },
      [=](Context<B>& ctx, Var<B> y, auto d_a, auto d_b) {
        cosine_backward(ctx, a.value(), b.value(), eps, y.grad(), d_a, d_b);
      });
}

namespace detail {
/// The number of the first row that is here, for what draws by row.
template <Backend B>
Index first_row(Var<B> x) {
  if (x.layout().empty()) return 0;
  if (x.layout().size() > 1)
    throw ShapeError("an operator that draws by row was given users and items as one matrix, which ranks share");
  return x.layout().front()->begin();
}
}  // namespace detail

template <Backend B>
Var<B> rank_one_attention(Var<B> q, Var<B> k, Var<B> v, Real<B> scale, double p, RandomKey key) {
  using T = Real<B>;
  const Index first = detail::first_row(q);
  return apply_rows(
      {q, k, v}, q.rows(), q.cols(),
      [&](Context<B>& ctx, Out<B> y) {
        std::uint64_t* const kept = attention_bits(ctx, y.rows, y.cols, p);
        rank_one_attention(ctx, q.value(), k.value(), v.value(), scale, p, key, y, first, kept);
        return kept;
      },
      [=](Context<B>& ctx, Var<B> y, std::uint64_t* kept, Into<T> d_q, Into<T> d_k, Into<T> d_v) {
        Scratch<B> scratch(ctx);
        MatrixView<T> grads[3];
        for (MatrixView<T>& grad : grads) grad = scratch.template matrix<T>(y.value().rows, q.cols());
        rank_one_attention_backward(ctx, q.value(), k.value(), v.value(), scale, p, key, y.value(), y.grad(), grads[0],
                                    grads[1], grads[2], first, kept);
        const Into<T> slots[3] = {d_q, d_k, d_v};
        for (int i = 0; i < 3; ++i)
          if (slots[i].wanted()) scaled_copy(ctx, T{1}, grads[i], slots[i]);
      });
}

/// rank_one_attention of q = w_0 query + b_0, k = w_1 value + b_1 and v = w_2 value + b_2; weight, bias 3 x 1.
template <Backend B>
Var<B> scalar_attention(Var<B> query, Var<B> value, Var<B> weight, Var<B> bias, Real<B> scale, double p,
                        RandomKey key) {
  using T = Real<B>;
  const Index first = detail::first_row(query);
  using Arrays = std::array<MatrixView<T>, 3>;
  struct Kept {
    Arrays in;
    std::uint64_t* bits;
  };
  return apply_rows(
      {query, value, weight, bias}, query.rows(), query.cols(),
      [&](Context<B>& ctx, Out<B> y) {
        Arrays in;
        for (MatrixView<T>& array : in) array = ctx.arena().template matrix<T>(y.rows, y.cols);
        std::uint64_t* const bits = attention_bits(ctx, y.rows, y.cols, p);
        scalar_projections(ctx, query.value(), value.value(), weight.value(), bias.value(), in[0], in[1], in[2]);
        rank_one_attention<B>(ctx, in[0], in[1], in[2], scale, p, key, y, first, bits);
        return Kept{in, bits};
      },
      [=](Context<B>& ctx, Var<B> y, const Kept& kept, auto d_query, auto d_value, auto d_weight, auto d_bias) {
        const Arrays& in = kept.in;
        Scratch<B> scratch(ctx);
        Arrays d;
        for (MatrixView<T>& array : d) array = scratch.template matrix<T>(y.value().rows, y.cols());
        rank_one_attention_backward<B>(ctx, in[0], in[1], in[2], scale, p, key, y.value(), y.grad(), d[0], d[1], d[2],
                                       first, kept.bits);
        scalar_projections_backward<B>(ctx, query.value(), value.value(), weight.value(), d[0], d[1], d[2], d_query,
                                       d_value, d_weight, d_bias);
      });
}

template <Backend B>
Var<B> low_rank_product(Var<B> x, Var<B> w1, Var<B> w2, LowRankOrder order) {
  using T = Real<B>;
  return apply_rows(
      {x, w1, w2}, x.rows(), x.cols(),
      [&](Context<B>& ctx, Out<B> y) {
        const MatrixView<T> mid = ctx.arena().template matrix<T>(y.rows, w1.cols() / x.cols());
        low_rank_product(ctx, x.value(), w1.value(), w2.value(), order, mid, y);
        return mid;
      },
      [=](Context<B>& ctx, Var<B> y, MatrixView<T> mid, Into<T> d_x, Into<T> d_w1, Into<T> d_w2) {
        if (d_w1.view.data == d_w2.view.data && d_w1.wanted() && d_w1.write == Write::overwrite) {
          fill(ctx, T{0}, d_w1.view);  // the same variable twice: a row's factors are written interleaved
          d_w1.write = Write::accumulate;
        }
        low_rank_product_backward(ctx, x.value(), w1.value(), w2.value(), order, mid, y.grad(), d_x, d_w1, d_w2);
      });
}

}  // namespace rearm::REARM_ABI
