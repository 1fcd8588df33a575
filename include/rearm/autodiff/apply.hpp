#pragma once
/// @file apply.hpp
/// How an operator gets onto the tape: its value is computed at once, its backward pass is recorded.

#include <rearm/autodiff/tape.hpp>

#include <array>
#include <cstddef>
#include <tuple>
#include <type_traits>

namespace rearm::REARM_ABI {

namespace detail {

/// Calls f with a place for each input's gradient. The slots are taken in the order of the inputs: if several inputs
/// are the same variable, the first overwrites and the others add.
template <Backend B, std::size_t N, class F>
void with_slots(Tape<B>& tape, const std::array<Var<B>, N>& inputs, const F& f) {
  std::array<Into<Real<B>>, N> slots;
  for (std::size_t i = 0; i < N; ++i) slots[i] = tape.slot(inputs[i]);
  std::apply(f, slots);
}

}  // namespace detail

/// An operator with a result of `rows` x `cols`, on the tape of its inputs. Inputs may be empty, but not all of them.
/// - forward(ctx, y) computes the result into the view y. It may return views and numbers for the backward pass.
/// - backward(ctx, y, d...), or backward(ctx, y, kept, d...) if forward returned `kept`, runs when a gradient has
///   reached y, here a Var. Each d is an Into, one per input, in their order; it is not wanted if the input is empty or
///   needs no gradient.
///
/// ```
/// template <Backend B>
/// Var<B> cosine(Var<B> a, Var<B> b, Real<B> eps) {
///   return apply(
///       {a, b}, a.rows(), 1,
///       [&](Context<B>& ctx, Out<B> y) { cosine(ctx, a.value(), b.value(), eps, y); },
///       [=](Context<B>& ctx, Var<B> y, auto d_a, auto d_b) {
///         cosine_backward(ctx, a.value(), b.value(), eps, y.grad(), d_a, d_b);
///       });
/// }
/// ```
template <Backend B, std::size_t N, class Forward, class Backward>
Var<B> apply(const Var<B> (&inputs)[N], Index rows, Index cols, const Forward& forward, const Backward& backward) {
  Tape<B>* tape = nullptr;
  bool requires_grad = false;
  for (const Var<B>& x : inputs) {
    if (tape == nullptr && !x.empty()) tape = &x.tape();
    requires_grad = requires_grad || x.requires_grad();
  }
  Context<B>& ctx = tape->context();
  const Var<B> y = tape->make(rows, cols, requires_grad);
  const auto operands = std::to_array(inputs);
  if constexpr (std::is_void_v<std::invoke_result_t<const Forward&, Context<B>&, Out<B>>>) {
    forward(ctx, y.value());
    tape->record(y,
                 [=] { detail::with_slots(*tape, operands, [&](auto... d) { backward(tape->context(), y, d...); }); });
  } else {
    const auto kept = forward(ctx, y.value());
    tape->record(
        y, [=] { detail::with_slots(*tape, operands, [&](auto... d) { backward(tape->context(), y, kept, d...); }); });
  }
  return y;
}

}  // namespace rearm::REARM_ABI
