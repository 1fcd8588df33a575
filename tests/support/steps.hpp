#pragma once
/// @file steps.hpp
/// Training steps on one batch, without a trainer.

#include <rearm/optim/adamw.hpp>
#include <rearm/train/recommender.hpp>

#include <cstdint>
#include <utility>
#include <vector>

namespace rearm::test {

/// n steps of Adam on `batch`; appends each step's loss. Returns the embeddings of users and items after them.
template <Backend B>
std::pair<Matrix<Real<B>>, Matrix<Real<B>>> take_steps(Context<B>& ctx, AnyRecommender<B> model,
                                                       BatchView<typename B::Memory> batch, double learning_rate, int n,
                                                       std::vector<double>& losses) {
  Tape<B> tape(ctx);
  AdamW<B> optimizer({.learning_rate = learning_rate});
  if (n > 0) model.begin_epoch(ctx, 0);
  for (int step = 0; step < n; ++step) {
    tape.reset();
    const Var<B> loss = model.loss(tape, {batch, static_cast<std::uint32_t>(step), true}).total();
    losses.push_back(scalar(loss));
    tape.backward(loss, AfterBackward::release);
    optimizer.step(ctx, model.parameters());
  }
  tape.reset();
  tape.set_recording(false);
  const Embeddings<B> e = model.embeddings(tape, {.number = static_cast<std::uint32_t>(n)});
  const auto copy = [](Var<B> x) {
    const OnHost<Real<B>, typename B::Memory> here(ConstView<Real<B>>(x.value()));
    Matrix<Real<B>> out(x.rows(), x.cols());
    for (Index i = 0; i < x.rows(); ++i)
      for (Index j = 0; j < x.cols(); ++j) out(i, j) = here.view()(i, j);
    return out;
  };
  return {copy(e.users), copy(e.items)};
}

}  // namespace rearm::test
