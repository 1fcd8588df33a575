#pragma once
/// @file row_ops.hpp
/// Normalisations, softmax, attention and the low-rank product on tape variables: one row at a time; see ops.hpp.

#include <rearm/autodiff/tape.hpp>
#include <rearm/ops/attention.hpp>
#include <rearm/ops/elementwise.hpp>
#include <rearm/ops/low_rank.hpp>
#include <rearm/ops/normalize.hpp>
#include <rearm/ops/softmax.hpp>

namespace rearm {

template <Backend B>
Var<B> row_normalize(Var<B> x, Real<B> eps) {
  using T = Real<B>;
  Tape<B>& tape = x.tape();
  Var<B> y = tape.make(x.rows(), x.cols(), x.requires_grad());
  T* norm = tape.context().arena().template allocate<T>(x.rows());
  row_normalize(tape.context(), x.value(), eps, y.value(), norm);
  tape.record(y, [=, t = &tape] {
    const auto d_x = t->slot(x);
    row_normalize_backward(t->context(), y.value(), norm, eps, y.grad(), d_x);
  });
  return y;
}

template <Backend B>
Var<B> row_scale_detached(Var<B> x, Real<B> eps) {
  using T = Real<B>;
  Tape<B>& tape = x.tape();
  Var<B> y = tape.make(x.rows(), x.cols(), x.requires_grad());
  T* divisor = tape.context().arena().template allocate<T>(x.rows());
  row_scale_detached(tape.context(), x.value(), eps, y.value(), divisor);
  tape.record(y, [=, t = &tape] {
    const auto d_x = t->slot(x);
    row_scale_detached_backward(t->context(), divisor, y.grad(), d_x);
  });
  return y;
}

template <Backend B>
Var<B> layer_norm(Var<B> x, Var<B> gamma, Var<B> beta, Real<B> eps) {
  using T = Real<B>;
  Tape<B>& tape = x.tape();
  Var<B> y = tape.make(x.rows(), x.cols(), x.requires_grad() || gamma.requires_grad() || beta.requires_grad());
  T* mean = tape.context().arena().template allocate<T>(x.rows());
  T* rstd = tape.context().arena().template allocate<T>(x.rows());
  layer_norm(tape.context(), x.value(), gamma.value(), beta.value(), eps, y.value(), mean, rstd);
  tape.record(y, [=, t = &tape] {
    const auto d_x = t->slot(x);  // slots in the order they are written
    const auto d_gamma = t->slot(gamma);
    const auto d_beta = t->slot(beta);
    layer_norm_backward(t->context(), x.value(), gamma.value(), mean, rstd, y.grad(), d_x, d_gamma, d_beta);
  });
  return y;
}

/// prelu(layer_norm(x)), one operator.
template <Backend B>
Var<B> layer_norm_prelu(Var<B> x, Var<B> gamma, Var<B> beta, Real<B> eps, Var<B> slope) {
  using T = Real<B>;
  Tape<B>& tape = x.tape();
  Var<B> y = tape.make(x.rows(), x.cols(),
                       x.requires_grad() || gamma.requires_grad() || beta.requires_grad() || slope.requires_grad());
  T* mean = tape.context().arena().template allocate<T>(x.rows());
  T* rstd = tape.context().arena().template allocate<T>(x.rows());
  layer_norm_prelu(tape.context(), x.value(), gamma.value(), beta.value(), eps, slope.value(), y.value(), mean, rstd);
  tape.record(y, [=, t = &tape] {
    const auto d_x = t->slot(x);  // slots in the order they are written
    const auto d_gamma = t->slot(gamma);
    const auto d_beta = t->slot(beta);
    const auto d_slope = t->slot(slope);
    layer_norm_prelu_backward(t->context(), x.value(), gamma.value(), beta.value(), slope.value(), mean, rstd, y.grad(),
                              d_x, d_gamma, d_beta, d_slope);
  });
  return y;
}

template <Backend B>
Var<B> softmax(Var<B> x, SoftmaxAxis along) {
  Tape<B>& tape = x.tape();
  Var<B> y = tape.make(x.rows(), x.cols(), x.requires_grad());
  softmax(tape.context(), x.value(), along, y.value());
  tape.record(y, [=, t = &tape] {
    const auto d_x = t->slot(x);
    softmax_backward(t->context(), y.value(), along, y.grad(), d_x);
  });
  return y;
}

template <Backend B>
Var<B> log_sum_exp(Var<B> x) {
  Tape<B>& tape = x.tape();
  Var<B> y = tape.make(x.rows(), 1, x.requires_grad());
  log_sum_exp(tape.context(), x.value(), y.value());
  tape.record(y, [=, t = &tape] {
    const auto d_x = t->slot(x);
    log_sum_exp_backward(t->context(), x.value(), y.value(), y.grad(), d_x);
  });
  return y;
}

template <Backend B>
Var<B> cosine(Var<B> a, Var<B> b, Real<B> eps) {
  Tape<B>& tape = a.tape();
  Var<B> y = tape.make(a.rows(), 1, a.requires_grad() || b.requires_grad());
  cosine(tape.context(), a.value(), b.value(), eps, y.value());
  tape.record(y, [=, t = &tape] {
    const auto d_a = t->slot(a);
    const auto d_b = t->slot(b);
    cosine_backward(t->context(), a.value(), b.value(), eps, y.grad(), d_a, d_b);
  });
  return y;
}

template <Backend B>
Var<B> rank_one_attention(Var<B> q, Var<B> k, Var<B> v, Real<B> scale, double p, RandomKey key) {
  using T = Real<B>;
  Tape<B>& tape = q.tape();
  Var<B> y = tape.make(q.rows(), q.cols(), q.requires_grad() || k.requires_grad() || v.requires_grad());
  rank_one_attention(tape.context(), q.value(), k.value(), v.value(), scale, p, key, y.value());
  tape.record(y, [=, t = &tape] {
    Context<B>& ctx = t->context();
    // Slots first: a scratch array can only be given back before anything newer is taken.
    const Into<T> slots[3] = {t->slot(q), t->slot(k), t->slot(v)};
    Scratch<B> scratch(ctx);
    MatrixView<T> grads[3];
    for (MatrixView<T>& grad : grads) grad = scratch.template matrix<T>(q.rows(), q.cols());
    rank_one_attention_backward(ctx, q.value(), k.value(), v.value(), scale, p, key, y.value(), y.grad(), grads[0],
                                grads[1], grads[2]);
    for (int i = 0; i < 3; ++i)
      if (slots[i].wanted()) scaled_copy(ctx, T{1}, grads[i], slots[i]);
  });
  return y;
}

/// rank_one_attention of q = w_0 query + b_0, k = w_1 value + b_1 and v = w_2 value + b_2; weight, bias 3 x 1.
template <Backend B>
Var<B> scalar_attention(Var<B> query, Var<B> value, Var<B> weight, Var<B> bias, Real<B> scale, double p,
                        RandomKey key) {
  using T = Real<B>;
  Tape<B>& tape = query.tape();
  Context<B>& context = tape.context();
  const Index n = query.rows();
  const Index d = query.cols();
  Var<B> y =
      tape.make(n, d, query.requires_grad() || value.requires_grad() || weight.requires_grad() || bias.requires_grad());
  const auto array = [&] { return context.arena().template matrix<T>(n, d); };
  const MatrixView<T> q = array();
  const MatrixView<T> k = array();
  const MatrixView<T> v = array();
  scalar_projections(context, query.value(), value.value(), weight.value(), bias.value(), q, k, v);
  rank_one_attention<B>(context, q, k, v, scale, p, key, y.value());
  tape.record(y, [=, t = &tape] {
    Context<B>& ctx = t->context();
    const auto d_query = t->slot(query);  // slots in the order they are written
    const auto d_value = t->slot(value);
    const auto d_weight = t->slot(weight);
    const auto d_bias = t->slot(bias);
    Scratch<B> scratch(ctx);
    const auto work = [&] { return scratch.template matrix<T>(n, d); };
    const MatrixView<T> d_q = work();
    const MatrixView<T> d_k = work();
    const MatrixView<T> d_v = work();
    rank_one_attention_backward<B>(ctx, q, k, v, scale, p, key, y.value(), y.grad(), d_q, d_k, d_v);
    scalar_projections_backward<B>(ctx, query.value(), value.value(), weight.value(), d_q, d_k, d_v, d_query, d_value,
                                   d_weight, d_bias);
  });
  return y;
}

template <Backend B>
Var<B> low_rank_product(Var<B> x, Var<B> w1, Var<B> w2, LowRankOrder order) {
  using T = Real<B>;
  Tape<B>& tape = x.tape();
  Var<B> y = tape.make(x.rows(), x.cols(), x.requires_grad() || w1.requires_grad() || w2.requires_grad());
  const MatrixView<T> mid = tape.context().arena().template matrix<T>(x.rows(), w1.cols() / x.cols());
  low_rank_product(tape.context(), x.value(), w1.value(), w2.value(), order, mid, y.value());
  tape.record(y, [=, t = &tape] {
    const auto d_x = t->slot(x);
    auto d_w1 = t->slot(w1);
    const auto d_w2 = t->slot(w2);
    if (d_w1.view.data == d_w2.view.data && d_w1.wanted() && d_w1.write == Write::overwrite) {
      fill(t->context(), T{0}, d_w1.view);  // one variable twice: a row's factors are written interleaved
      d_w1.write = Write::accumulate;
    }
    low_rank_product_backward(t->context(), x.value(), w1.value(), w2.value(), order, mid, y.grad(), d_x, d_w1, d_w2);
  });
  return y;
}

}  // namespace rearm
