#pragma once
/// @file meta_network.hpp
/// The authors' meta network on tape variables; equation and shapes are those of the operator on views.

#include <rearm/autodiff/tape.hpp>
#include <rearm/ops/meta_network.hpp>

namespace rearm {

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

/// share of n ids from n rows of knowledge, which gets no gradient (the authors' program detaches it).
template <Backend B>
Var<B> meta_network(Var<B> knowledge, Var<B> id, const MetaLearnerVars<B>& g1, const MetaLearnerVars<B>& g2) {
  using T = Real<B>;
  Tape<B>& tape = id.tape();
  Arena<typename B::Memory>& arena = tape.context().arena();
  const Index n = id.rows();
  const Index width = g1.hidden_weight.rows();
  if (id.cols() < 1 || width % id.cols() != 0)
    throw ShapeError(
        detail::message("meta_network: learners make rows of ", width, ", not a multiple of the id width ", id.cols()));
  Var<B> y = tape.make(n, id.cols(), true);
  const auto saved = [&] {
    return MetaLearnerSaved<T>{arena.template matrix<T>(n, width), arena.template allocate<T>(n),
                               arena.template matrix<T>(1, width)};
  };
  const MetaLearnerSaved<T> saved1 = saved();
  const MetaLearnerSaved<T> saved2 = saved();
  const MatrixView<T> mid = arena.template matrix<T>(n, width / id.cols());
  meta_network(tape.context(), knowledge.value(), id.value(), g1.view(), g2.view(), saved1, saved2, mid, y.value());
  tape.record(y, [=, t = &tape] {
    const auto grad = [&](const MetaLearnerVars<B>& g) {
      return MetaLearnerGrad<T>{t->slot(g.hidden_weight), t->slot(g.hidden_bias), t->slot(g.slope),
                                t->slot(g.out_weight), t->slot(g.out_bias)};
    };
    const Into<T> d_id = t->slot(id);
    const MetaLearnerGrad<T> grad1 = grad(g1);
    const MetaLearnerGrad<T> grad2 = grad(g2);
    meta_network_backward(t->context(), knowledge.value(), id.value(), g1.view(), g2.view(), saved1, saved2, mid,
                          y.grad(), d_id, grad1, grad2);
  });
  return y;
}

}  // namespace rearm
