#pragma once
/// @file apply.hpp
/// How an operator gets onto the tape: its value is computed at once, its backward pass is recorded.

#include <rearm/autodiff/tape.hpp>
#include <rearm/ops/ranks.hpp>

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

/// The same where the result has rows of this rank alone: the gradient of an input that every rank has as a whole is
/// the sum over ranks of what their rows give.
template <Backend B, std::size_t N, class F>
void with_summed_slots(Tape<B>& tape, const std::array<Var<B>, N>& inputs, const F& f) {
  using T = Real<B>;
  Context<B>& ctx = tape.context();
  std::array<Into<T>, N> slots;
  std::array<Into<T>, N> to;  // of the inputs that every rank has
  Index size = 0;
  for (std::size_t i = 0; i < N; ++i) {
    (inputs[i].layout().empty() ? to[i] : slots[i]) = tape.slot(inputs[i]);
    if (to[i].wanted()) size += to[i].view.size();
  }
  Scratch<B> scratch(ctx);  // after the slots, which may take memory that stays
  const Out<B> sums = scratch.template matrix<T>(1, size);
  T* next = sums.data;
  for (std::size_t i = 0; i < N; ++i) {
    if (!to[i].wanted()) continue;
    slots[i] = MatrixView<T>{next, to[i].view.rows, to[i].view.cols};
    next += to[i].view.size();
  }
  std::apply(f, slots);
  if (size == 0) return;
  sum_over_ranks(ctx, sums);
  for (std::size_t i = 0; i < N; ++i)
    if (to[i].wanted()) scaled_copy<B>(ctx, T{1}, slots[i].view, to[i]);
}

/// How an operator treats rows that ranks share.
enum class Rows {
  refused,  ///< it mixes rows
  each,     ///< row i of the result is made of row i of the inputs, and of what every rank has
  summed,   ///< the result is a sum over rows; their gradients need it alone
};

template <Rows rows_are, Backend B, std::size_t N, class Forward, class Backward>
Var<B> apply_to(const Var<B> (&inputs)[N], Index rows, Index cols, const Forward& forward, const Backward& backward) {
  Tape<B>* tape = nullptr;
  bool requires_grad = false;
  RowLayout layout;
  for (const Var<B>& x : inputs) {
    if (tape == nullptr && !x.empty()) tape = &x.tape();
    requires_grad = requires_grad || x.requires_grad();
    if (x.layout().empty()) continue;
    if (layout.empty()) layout = x.layout();
    if constexpr (rows_are == Rows::refused)
      throw ShapeError(
          "an operator that mixes rows was given a matrix whose rows several ranks share, which it cannot do so far; "
          "train with one process");
    if (!same_layout(layout, x.layout()))
      throw ShapeError("an operator was given matrices whose rows several ranks share in different ways");
  }
  Context<B>& ctx = tape->context();
  const bool shared = !layout.empty();
  const Var<B> y = tape->make(rows, cols, requires_grad, rows_are == Rows::each ? layout : RowLayout());
  const auto operands = std::to_array(inputs);
  const auto run = [=](const auto& f) {
    if constexpr (rows_are == Rows::each)
      if (shared) return with_summed_slots(*tape, operands, f);
    with_slots(*tape, operands, f);
  };
  if constexpr (std::is_void_v<std::invoke_result_t<const Forward&, Context<B>&, Out<B>>>) {
    forward(ctx, y.value());
    tape->record(y, [=] { run([&](auto... d) { backward(tape->context(), y, d...); }); });
  } else {
    const auto kept = forward(ctx, y.value());
    tape->record(y, [=] { run([&](auto... d) { backward(tape->context(), y, kept, d...); }); });
  }
  if (rows_are == Rows::summed && shared) sum_over_ranks<B>(ctx, y.value());
  return y;
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
  return detail::apply_to<detail::Rows::refused>(inputs, rows, cols, forward, backward);
}

/// `apply` for an operator whose result has the rows of its inputs, each made of the same row of these alone; other
/// inputs, such as weights, are read by all rows. It runs on rows that ranks share without knowing of them: the views
/// it is given are of the rows that are here, so it must take their number from the views, and the gradients of the
/// others are summed over ranks. `apply` itself refuses such rows (ShapeError).
template <Backend B, std::size_t N, class Forward, class Backward>
Var<B> apply_rows(const Var<B> (&inputs)[N], Index rows, Index cols, const Forward& forward, const Backward& backward) {
  return detail::apply_to<detail::Rows::each>(inputs, rows, cols, forward, backward);
}
/// `apply` for an operator whose result is a sum over the rows of its inputs, whose gradients are made of that of the
/// result and their own row.
template <Backend B, std::size_t N, class Forward, class Backward>
Var<B> apply_sum(const Var<B> (&inputs)[N], Index rows, Index cols, const Forward& forward, const Backward& backward) {
  return detail::apply_to<detail::Rows::summed>(inputs, rows, cols, forward, backward);
}

}  // namespace rearm::REARM_ABI
