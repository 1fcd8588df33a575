#pragma once
/// @file zero_gradient.hpp
/// Gradients of 0 for parameters that a step does not read.

#include <rearm/autodiff/tape.hpp>
#include <rearm/core/feature_table.hpp>

namespace rearm::REARM_ABI {

/// Has a backward pass that reaches `loss` leave a gradient of 0 in `p` where no other gradient is. An optimizer with
/// moments then moves it on; without a gradient it leaves it as it is.
template <Backend B>
void zero_gradient(Var<B> loss, Parameter<B>& p) {
  Tape<B>* const tape = &loss.tape();
  const Var<B> x = tape->parameter(p);
  tape->record(loss, [=] {
    const Into<Real<B>> d_x = tape->slot(x);
    if (d_x.wanted() && d_x.write == Write::overwrite) fill(tape->context(), Real<B>{0}, d_x.view);
  });
}

/// The same for a table that the step does not map.
template <Backend B>
void zero_gradient(Var<B> loss, FeatureTable<B>& table) {
  if (!table.trainable) return;
  Tape<B>* const tape = &loss.tape();
  tape->record(loss, [=, of = &table] {
    Context<B>& ctx = tape->context();  // factors of rank one
    const Out<B> column = ctx.arena().template matrix<Real<B>>(of->rows(), 1);
    const Out<B> row = ctx.arena().template matrix<Real<B>>(1, of->cols());
    fill(ctx, Real<B>{0}, column);
    fill(ctx, Real<B>{0}, row);
    of->set_gradient({column, row, nullptr});
  });
}

}  // namespace rearm::REARM_ABI
