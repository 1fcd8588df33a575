#pragma once
/// @file meta_network_tape.hpp
/// The authors' meta network on tape variables; equation and shapes are those of the operator on views.

#include <rearm/autodiff/apply.hpp>
#include <rearm/models/rearm/meta_network_operator.hpp>

namespace rearm::REARM_ABI {

/// One learner's weights on the tape; see MetaLearnerView.
template <Backend B>
struct MetaLearnerVars {
  Var<B> hidden_weight;
  Var<B> hidden_bias;
  Var<B> slope;
  Var<B> out_weight;
  Var<B> out_bias;

  MetaLearnerView<Real<B>> view() const {
    return {hidden_weight.value(), hidden_bias.value(), slope.value(), out_weight.value(), out_bias.value()};
  }
};

/// share (n x d) of n ids from n rows of knowledge, which gets no gradient: the authors' program detaches it.
template <Backend B>
Var<B> meta_network(Var<B> knowledge, Var<B> id, const MetaLearnerVars<B>& g1, const MetaLearnerVars<B>& g2) {
  using T = Real<B>;
  const Index n = id.value().rows;
  const Index all_rows = id.layout().empty() ? 0 : id.rows();
  const Index width = g1.hidden_weight.rows();
  if (id.cols() < 1 || width % id.cols() != 0)
    throw ShapeError(
        detail::message("meta_network: learners make rows of ", width, ", not a multiple of the id width ", id.cols()));
  struct Kept {
    MetaLearnerSaved<T> of1;
    MetaLearnerSaved<T> of2;
    MatrixView<T> mid;
  };
  if (!detail::same_layout(knowledge.layout(), id.layout()))
    throw ShapeError("meta_network: ranks share the rows of knowledge and of ids in different ways");
  return apply_rows(
      {id, g1.hidden_weight, g1.hidden_bias, g1.slope, g1.out_weight, g1.out_bias,  //
       g2.hidden_weight, g2.hidden_bias, g2.slope, g2.out_weight, g2.out_bias},
      id.rows(), id.cols(),
      [&](Context<B>& ctx, Out<B> y) {
        const auto matrix = [&](Index rows, Index cols) { return ctx.arena().template matrix<T>(rows, cols); };
        const auto saved = [&] {
          return MetaLearnerSaved<T>{matrix(n, width), ctx.arena().template allocate<T>(n), matrix(1, width)};
        };
        const Kept kept{saved(), saved(), matrix(n, width / id.cols())};
        meta_network(ctx, knowledge.value(), id.value(), g1.view(), g2.view(), kept.of1, kept.of2, kept.mid, y,
                     all_rows);
        return kept;
      },
      [=](Context<B>& ctx, Var<B> y, const Kept& kept, Into<T> d_id, auto... d_weights) {
        const std::array<Into<T>, 10> d{d_weights...};
        meta_network_backward(ctx, knowledge.value(), id.value(), g1.view(), g2.view(), kept.of1, kept.of2, kept.mid,
                              y.grad(), d_id, {d[0], d[1], d[2], d[3], d[4]}, {d[5], d[6], d[7], d[8], d[9]}, all_rows);
      });
}

}  // namespace rearm::REARM_ABI
