#pragma once
/// @file edge_values.hpp
/// Sparse matrices whose values are variables; see ops.hpp. The pattern must outlive the step.

#include <rearm/autodiff/apply.hpp>
#include <rearm/ops/edge_values.hpp>

namespace rearm::REARM_ABI {

/// a_i . b_j for every entry (i, j) of `at`, nonzeros x 1.
template <Backend B>
Var<B> sddmm(const SparsePattern<typename B::Memory>& at, Var<B> a, Var<B> b) {
  return apply(
      {a, b}, at.nonzeros(), 1, [&](Context<B>& ctx, Out<B> v) { sddmm<B>(ctx, at, a.value(), b.value(), v); },
      [=, at = &at](Context<B>& ctx, Var<B> v, auto d_a, auto d_b) {
        sddmm_backward<B>(ctx, *at, a.value(), b.value(), v.grad(), d_a, d_b);
      });
}

/// V X, V with `values` (nonzeros x 1) at the entries of `at`.
template <Backend B>
Var<B> spmm(const SparsePattern<typename B::Memory>& at, Var<B> values, Var<B> x) {
  return apply(
      {values, x}, at.rows(), x.cols(),
      [&](Context<B>& ctx, Out<B> y) { spmm<B>(ctx, at, values.value(), x.value(), y); },
      [=, at = &at](Context<B>& ctx, Var<B> y, auto d_values, auto d_x) {
        spmm_backward<B>(ctx, *at, values.value(), x.value(), y.grad(), d_values, d_x);
      });
}

/// The sums of V's rows, rows x 1.
template <Backend B>
Var<B> row_sums(const SparsePattern<typename B::Memory>& at, Var<B> values) {
  Tape<B>& tape = values.tape();
  const Var<B> ones = tape.make(at.cols(), 1, false);
  fill<B>(tape.context(), Real<B>{1}, ones.value());
  return spmm(at, values, ones);
}

}  // namespace rearm::REARM_ABI
