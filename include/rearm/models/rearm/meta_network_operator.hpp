#pragma once
/// @file meta_network_operator.hpp
/// The authors' meta network (paper eq. 13-16 as their program computes them) as one operator. It works on blocks of
/// rows that stay in cache; of the wide intermediates only the learners' unit rows are stored for all rows.

#include <rearm/models/rearm/meta_network_rows.hpp>
#include <rearm/ops/elementwise.hpp>
#include <rearm/ops/ranks.hpp>

#include <algorithm>
#include <utility>

namespace rearm::REARM_ABI {

/// Weights of one learner g(x) = W_2 prelu(W_1 x + b_1) + b_2: W_1 dk x d, W_2 dk x dk, biases one row, slope 1 x 1.
template <class T>
struct MetaLearnerView {
  ConstView<T> hidden_weight;
  ConstView<T> hidden_bias;
  ConstView<T> slope;
  ConstView<T> out_weight;
  ConstView<T> out_bias;
};

/// Where the gradients of one learner's weights go.
template <class T>
struct MetaLearnerGrad {
  Into<T> hidden_weight;
  Into<T> hidden_bias;
  Into<T> slope;
  Into<T> out_weight;
  Into<T> out_bias;
};

/// What the forward pass keeps of one learner: u_i = g(x_i) / max(|g(x_i)|, eps) (n x dk), |g(x_i)| (n), mean_i u_i.
template <class T>
struct MetaLearnerSaved {
  MatrixView<T> unit;
  T* norm = nullptr;
  MatrixView<T> mean;
};

namespace detail {

/// Rows of a block: on the host 4096, as 4096 x 192 floats are 3 MiB; on a device as good as all.
template <class B>
inline constexpr Index meta_block = B::Memory::host_accessible ? 4096 : Index{1} << 20;
inline constexpr double meta_eps = 1e-12;

template <class B, class F>
void for_meta_blocks(Index n, const F& f) {
  for (Index begin = 0; begin < n; begin += meta_block<B>) f(begin, std::min(meta_block<B>, n - begin));
}

/// The first block overwrites a sum over all blocks, the others add to it.
inline Write meta_write(Index begin) { return begin == 0 ? Write::overwrite : Write::accumulate; }

/// pre = X W_1^T + b_1, hidden = prelu(pre); they may be one array, which then holds `hidden`.
template <Backend B, class T = Real<B>>
void meta_hidden(Context<B>& ctx, ConstView<T> x, const MetaLearnerView<T>& g, MatrixView<T> pre,
                 MatrixView<T> hidden) {
  gemm(ctx, Op::none, Op::transpose, T{1}, x, g.hidden_weight, pre);
  B::for_each(ctx, x.rows, functors::BiasPreluRow<T>{pre, g.hidden_bias.data, g.slope.data, pre, hidden});
}

/// The functor that makes the thin matrices of rows [begin, begin + n) in w, softmax along `axis` entries `inner`
/// apart.
template <class T>
functors::MetaFactorRow<T> meta_factor(const MetaLearnerSaved<T>& saved, Index begin, Index n, Index axis, Index inner,
                                       MatrixView<T> w) {
  return {saved.unit.row_block(begin, n), saved.mean.data, axis, inner, w.row_block(0, n)};
}

/// Gradients of the learner's weights from d_z, that of unit row + mean, and d_mean, that of the mean. d_z is used up.
template <Backend B, class T = Real<B>>
void meta_learner_backward(Context<B>& ctx, ConstView<T> x, const MetaLearnerView<T>& g,
                           const MetaLearnerSaved<T>& saved, MatrixView<T> d_z, const T* d_mean,
                           MetaLearnerGrad<T> grad) {
  const Index width = d_z.cols;
  Scratch<B> scratch(ctx);
  const Index rows = std::min(meta_block<B>, x.rows);
  const MatrixView<T> pre_all = scratch.template matrix<T>(rows, width);
  const MatrixView<T> hidden_all = scratch.template matrix<T>(rows, width);
  const auto weight_gradient = [&](MatrixView<T> d_out, ConstView<T> in, Into<T> to) {
    if (to.wanted()) gemm(ctx, Op::transpose, Op::none, T{1}, ConstView<T>(d_out), in, to);
  };
  for_meta_blocks<B>(x.rows, [&](Index begin, Index n) {
    const MatrixView<T> pre = pre_all.row_block(0, n);
    const MatrixView<T> hidden = hidden_all.row_block(0, n);
    const MatrixView<T> d_out = d_z.row_block(begin, n);
    B::reduce_rows(ctx, n,
                   functors::MetaUnitBackwardRow<T>{saved.unit.row_block(begin, n), saved.norm + begin, T(meta_eps),
                                                    d_mean, d_out},
                   RowSums<T>({width, grad.out_bias}, {}));
    meta_hidden<B>(ctx, x.row_block(begin, n), g, pre, hidden);
    weight_gradient(d_out, hidden, grad.out_weight);
    gemm(ctx, Op::none, Op::none, T{1}, ConstView<T>(d_out), g.out_weight, hidden);
    B::reduce_rows(ctx, n, functors::BiasPreluBackwardRow<T>{{pre, g.slope.data, hidden, hidden}},
                   RowSums<T>({1, grad.slope}, {width, grad.hidden_bias}));
    weight_gradient(hidden, x.row_block(begin, n), grad.hidden_weight);
    for (Into<T>* into : {&grad.hidden_weight, &grad.hidden_bias, &grad.slope, &grad.out_weight, &grad.out_bias})
      into->write = Write::accumulate;
  });
}

template <class T>
void require_meta_shapes(ConstView<T> knowledge, ConstView<T> id, const MetaLearnerView<T>& g,
                         const MetaLearnerSaved<T>& saved, ConstView<T> mid) {
  const Index width = mid.cols * id.cols;
  require_shape(knowledge, id.rows, g.hidden_weight.cols, "meta_network", "knowledge");
  require_shape(g.hidden_weight, width, knowledge.cols, "meta_network", "hidden weight");
  require_shape(g.hidden_bias, 1, width, "meta_network", "hidden bias");
  require_shape(g.slope, 1, 1, "meta_network", "slope");
  require_shape(g.out_weight, width, width, "meta_network", "output weight");
  require_shape(g.out_bias, 1, width, "meta_network", "output bias");
  require_shape(saved.unit, id.rows, width, "meta_network", "kept unit rows");
  require_shape(saved.mean, 1, width, "meta_network", "kept mean");
  require_shape(mid, id.rows, mid.cols, "meta_network", "mid");
  if (id.rows < 1) throw ShapeError("meta_network: no rows");
}

}  // namespace detail

/// share_i = (id_i W1_i) W2_i with W1_i = softmax over d of (u1_i + mean u1), d x k, and W2_i = softmax over k of
/// (u2_i + mean u2), k x d, u the unit rows of the two learners' outputs. `knowledge` (n x d) is taken as a constant.
/// Fills `saved1`, `saved2` and `mid` (n x k). About 2 n (2 d dk + 2 dk dk) operations. With `all_rows` ranks share so
/// many rows, of which these are the rank's own.
template <Backend B>
void meta_network(Context<B>& ctx, In<B> knowledge, In<B> id, const MetaLearnerView<Real<B>>& g1,
                  const MetaLearnerView<Real<B>>& g2, const MetaLearnerSaved<Real<B>>& saved1,
                  const MetaLearnerSaved<Real<B>>& saved2, Out<B> mid, Out<B> share, Index all_rows = 0) {
  using T = Real<B>;
  const Index n_rows = id.rows;
  const T part = T{1} / static_cast<T>(all_rows > 0 ? all_rows : n_rows);
  const Index d = id.cols;
  const Index k = mid.cols;
  const Index width = d * k;
  detail::require_meta_shapes<T>(knowledge, id, g1, saved1, mid);
  detail::require_meta_shapes<T>(knowledge, id, g2, saved2, mid);
  detail::require_shape(share, n_rows, d, "meta_network", "share");
  const Index rows = std::min(detail::meta_block<B>, n_rows);
  Scratch<B> scratch(ctx);
  const MatrixView<T> work1 = scratch.template matrix<T>(rows, width);
  const MatrixView<T> work2 = scratch.template matrix<T>(rows, width);
  for (const auto& [g, saved] : {std::pair{&g1, &saved1}, std::pair{&g2, &saved2}})
    detail::for_meta_blocks<B>(n_rows, [&, learner = g, kept = saved](Index begin, Index n) {
      const MatrixView<T> hidden = work1.row_block(0, n);
      const MatrixView<T> unit = kept->unit.row_block(begin, n);
      detail::meta_hidden<B>(ctx, knowledge.row_block(begin, n), *learner, hidden, hidden);
      gemm(ctx, Op::none, Op::transpose, T{1}, ConstView<T>(hidden), learner->out_weight, unit);
      B::reduce_rows(
          ctx, n, functors::MetaUnitRow<T>{unit, learner->out_bias.data, T(detail::meta_eps), kept->norm + begin, part},
          RowSums<T>({kept->mean, detail::meta_write(begin)}));
    });
  if (all_rows > 0)
    for (const auto* saved : {&saved1, &saved2}) sum_over_ranks<B>(ctx, saved->mean);
  detail::for_meta_blocks<B>(n_rows, [&](Index begin, Index n) {
    const auto factor1 = detail::meta_factor<T>(saved1, begin, n, d, k, work1);
    const auto factor2 = detail::meta_factor<T>(saved2, begin, n, k, d, work2);
    B::for_each(ctx, n,
                functors::MetaShareRow<T>{factor1, factor2, id.row_block(begin, n), mid.row_block(begin, n),
                                          share.row_block(begin, n)});
  });
}

/// Gradients of meta_network for the ids and both learners' weights, of these from the rows that are here.
template <Backend B>
void meta_network_backward(Context<B>& ctx, In<B> knowledge, In<B> id, const MetaLearnerView<Real<B>>& g1,
                           const MetaLearnerView<Real<B>>& g2, const MetaLearnerSaved<Real<B>>& saved1,
                           const MetaLearnerSaved<Real<B>>& saved2, In<B> mid, In<B> d_share, Into<Real<B>> d_id,
                           const MetaLearnerGrad<Real<B>>& grad1, const MetaLearnerGrad<Real<B>>& grad2,
                           Index all_rows = 0) {
  using T = Real<B>;
  const Index n_rows = id.rows;
  const Index d = id.cols;
  const Index k = mid.cols;
  const Index width = d * k;
  detail::require_meta_shapes<T>(knowledge, id, g1, saved1, mid);
  detail::require_meta_shapes<T>(knowledge, id, g2, saved2, mid);
  detail::require_shape(d_share, n_rows, d, "meta_network_backward", "d_share");
  if (d_id.wanted()) detail::require_shape(d_id.view, n_rows, d, "meta_network_backward", "d_id");
  Scratch<B> scratch(ctx);
  const MatrixView<T> d_z1 = scratch.template matrix<T>(n_rows, width);
  const MatrixView<T> d_z2 = scratch.template matrix<T>(n_rows, width);
  T* const d_means = scratch.template allocate<T>(2 * width);
  {
    Scratch<B> block_scratch(ctx);
    const Index rows = std::min(detail::meta_block<B>, n_rows);
    const MatrixView<T> work1 = block_scratch.template matrix<T>(rows, width);
    const MatrixView<T> work2 = block_scratch.template matrix<T>(rows, width);
    detail::for_meta_blocks<B>(n_rows, [&](Index begin, Index n) {
      const auto factor1 = detail::meta_factor<T>(saved1, begin, n, d, k, work1);
      const auto factor2 = detail::meta_factor<T>(saved2, begin, n, k, d, work2);
      const functors::MetaShareBackwardRow<T> backward{factor1,
                                                       factor2,
                                                       id.row_block(begin, n),
                                                       mid.row_block(begin, n),
                                                       d_share.row_block(begin, n),
                                                       d_id.row_block(begin, n),
                                                       d_z1.row_block(begin, n),
                                                       d_z2.row_block(begin, n),
                                                       T{1} / static_cast<T>(all_rows > 0 ? all_rows : n_rows)};
      B::reduce_rows(ctx, n, backward, RowSums<T>({MatrixView<T>(d_means, 1, 2 * width), detail::meta_write(begin)}));
    });
  }
  if (all_rows > 0) sum_over_ranks<B>(ctx, MatrixView<T>(d_means, 1, 2 * width));
  detail::meta_learner_backward<B>(ctx, knowledge, g1, saved1, d_z1, d_means, grad1);
  detail::meta_learner_backward<B>(ctx, knowledge, g2, saved2, d_z2, d_means + width, grad2);
}

}  // namespace rearm::REARM_ABI
