#pragma once
/// @file project.hpp
/// The linear map of a feature table, whose gradient stays in two factors.

#include <rearm/autodiff/apply.hpp>
#include <rearm/core/feature_table.hpp>
#include <rearm/ops/gemm.hpp>
#include <rearm/ops/linear_rows.hpp>

#include <array>

namespace rearm::REARM_ABI {

/// X W^T + b of a table X (n x width), W d x width; `bias` may be null. The gradient of a trainable table is left in
/// the table as d_y and W; that of W is left to the table's update if the table fuses it (FeatureTable). With `rows`,
/// distinct ids, only those rows of the result are computed; the others are 0 and no gradient may reach them: not where
/// ranks share the table (ShapeError).
template <Backend B>
Var<B> project(Tape<B>& tape, FeatureTable<B>& table, Parameter<B>& weight, Parameter<B>* bias = nullptr,
               const IndexList* rows = nullptr) {
  const Var<B> w = tape.parameter(weight);
  const Var<B> b = bias == nullptr ? Var<B>() : tape.parameter(*bias);
  if (rows != nullptr && table.blocks() != nullptr)
    throw ShapeError(detail::message("project: some rows of '", table.name, "' alone, which ranks share"));
  const Var<B> y =
      tape.make(table.rows(), weight.rows(), table.trainable || w.requires_grad() || b.requires_grad(), table.layout());
  table.with_values([&](auto x) {
    if (rows != nullptr)
      linear_rows(tape.context(), x, *rows, w.value(), b.value(), y.value());
    else
      linear(tape.context(), x, w.value(), b.value(), y.value());
  });
  tape.record(y, [=, t = &tape, x = &table, of_weight = &weight] {
    const bool fused = x->trainable && x->fuses_weight_gradient && w.requires_grad();
    if (x->trainable) {
      t->keep_grad(y);  // the optimizer reads it
      x->set_gradient({y.grad(), w.value(), fused ? of_weight : nullptr, t->context().branch()});
    }
    const std::array<Var<B>, 2> of{fused ? Var<B>() : w, b};
    const auto backward = [&](auto d_w, auto d_b) {
      x->with_values([&](auto values) { linear_backward(t->context(), values, y.grad(), d_w, d_b); });
    };
    if (x->blocks() != nullptr)
      detail::with_summed_slots(*t, of, backward);
    else
      detail::with_slots(*t, of, backward);
  });
  return y;
}

}  // namespace rearm::REARM_ABI
