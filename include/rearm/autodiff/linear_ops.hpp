#pragma once
/// @file linear_ops.hpp
/// Products, gathers, concatenation, sums and activations on tape variables; see ops.hpp.

#include <rearm/autodiff/tape.hpp>
#include <rearm/ops/elementwise.hpp>
#include <rearm/ops/gather.hpp>
#include <rearm/ops/gemm.hpp>
#include <rearm/ops/spmm.hpp>

#include <initializer_list>
#include <span>

namespace rearm {

/// alpha op(A) op(B)
template <Backend B>
Var<B> gemm(Op op_a, Op op_b, Real<B> alpha, Var<B> a, Var<B> b) {
  Tape<B>& tape = a.tape();
  Var<B> y = tape.make(op_a == Op::none ? a.rows() : a.cols(), op_b == Op::none ? b.cols() : b.rows(),
                       a.requires_grad() || b.requires_grad());
  gemm(tape.context(), op_a, op_b, alpha, a.value(), b.value(), y.value());
  tape.record(y, [=, t = &tape] {
    const auto d_a = t->slot(a);
    const auto d_b = t->slot(b);
    gemm_backward(t->context(), op_a, op_b, alpha, a.value(), b.value(), y.grad(), d_a, d_b);
  });
  return y;
}

/// X W^T + b; `bias` may be an empty Var. X may be a parameter with a factored gradient, and kept in bfloat16.
template <Backend B>
Var<B> linear(Var<B> x, Var<B> weight, Var<B> bias = {}) {
  using T = Real<B>;
  Tape<B>& tape = x.tape();
  Var<B> y = tape.make(x.rows(), weight.rows(),
                       x.requires_grad() || weight.requires_grad() || (!bias.empty() && bias.requires_grad()));
  Parameter<B>* const table = x.node().parameter;
  const bool rounded = table != nullptr && table->rounded();
  const MatrixView<T> b = bias.empty() ? MatrixView<T>{} : bias.value();
  if (rounded)
    linear(tape.context(), table->rounded_value.view(), weight.value(), b, y.value());
  else
    linear(tape.context(), x.value(), weight.value(), b, y.value());
  tape.record(y, [=, t = &tape] {
    Into<T> d_x;
    bool weight_with_table = false;
    if (table != nullptr && table->factored && x.requires_grad()) {
      if (table->has_grad)
        throw ShapeError(
            detail::message("linear: the factored gradient of '", table->name, "' is already taken by another use"));
      t->keep_grad(y);
      table->factor_output = y.grad();
      table->factor_weight = weight.value();
      table->has_grad = true;
      Parameter<B>* const own_weight = weight.node().parameter;
      weight_with_table = t->fused_tables() && own_weight != nullptr && weight.requires_grad() && !own_weight->factored;
      table->fused_weight = weight_with_table ? own_weight : nullptr;
    } else {
      d_x = t->slot(x);
    }
    const auto d_w = weight_with_table ? Into<T>{} : t->slot(weight);
    const auto d_b = bias.empty() ? Into<T>{} : t->slot(bias);
    if (rounded)
      linear_backward(t->context(), table->rounded_value.view(), y.grad(), d_w, d_b);
    else
      linear_backward(t->context(), x.value(), weight.value(), y.grad(), d_x, d_w, d_b);
  });
  return y;
}

/// A X; `a` must outlive the step.
template <Backend B>
Var<B> spmm(const SparseOperator<Real<B>, typename B::Memory>& a, Var<B> x) {
  Tape<B>& tape = x.tape();
  Var<B> y = tape.make(a.rows(), x.cols(), x.requires_grad());
  spmm(tape.context(), a.view(), x.value(), y.value());
  tape.record(y, [=, t = &tape, matrix = &a] {
    const auto d_x = t->slot(x);
    spmm_backward(t->context(), *matrix, y.grad(), d_x);
  });
  return y;
}

/// spmm, each row of the result divided by max(its length, eps); `a` must outlive the step.
template <Backend B>
Var<B> spmm_row_normalize(const SparseOperator<Real<B>, typename B::Memory>& a, Var<B> x, Real<B> eps) {
  using T = Real<B>;
  Tape<B>& tape = x.tape();
  Var<B> y = tape.make(a.rows(), x.cols(), x.requires_grad());
  T* norm = tape.context().arena().template allocate<T>(a.rows());
  spmm_row_normalize(tape.context(), a.view(), x.value(), eps, y.value(), norm);
  tape.record(y, [=, t = &tape, matrix = &a] {
    const auto d_x = t->slot(x);
    Scratch<B> scratch(t->context());
    const MatrixView<T> d_product = scratch.template matrix<T>(y.rows(), y.cols());
    row_normalize_backward(t->context(), y.value(), norm, eps, y.grad(), d_product);
    spmm_backward(t->context(), *matrix, d_product, d_x);
  });
  return y;
}

/// Mean of X, A X, ..., A^L X (LightGCN, paper eq. 10-11). Backward by Horner's rule: two work arrays, whatever L.
template <Backend B>
Var<B> propagate_mean(const SparseOperator<Real<B>, typename B::Memory>& a, Var<B> x, int n_layers) {
  using T = Real<B>;
  Tape<B>& tape = x.tape();
  Context<B>& ctx = tape.context();
  Var<B> y = tape.make(x.rows(), x.cols(), x.requires_grad());
  const T share = T{1} / static_cast<T>(n_layers + 1);
  {
    Scratch<B> scratch(ctx);
    MatrixView<T> current = x.value();
    MatrixView<T> work[2] = {scratch.template matrix<T>(x.rows(), x.cols()),
                             scratch.template matrix<T>(x.rows(), x.cols())};
    if (n_layers == 0) scaled_copy(ctx, share, x.value(), y.value());
    for (int layer = 0; layer < n_layers; ++layer) {
      const MatrixView<T> next = work[layer % 2];
      if (layer == 0)
        spmm(ctx, a.view(), current, next, functors::AddRow<T>{x.value(), T{1}, next, y.value(), share});
      else
        spmm(ctx, a.view(), current, next, functors::ScaleRow<T>{share, next, add_to(y.value())});
      current = next;
    }
  }
  tape.record(y, [=, t = &tape, matrix = &a] {
    const auto d_x = t->slot(x);
    Scratch<B> scratch(t->context());
    MatrixView<const T> current = y.grad();
    MatrixView<T> work[2] = {scratch.template matrix<T>(x.rows(), x.cols()),
                             scratch.template matrix<T>(x.rows(), x.cols())};
    if (n_layers == 0) scaled_copy(t->context(), share, y.grad(), d_x);
    for (int layer = 0; layer < n_layers; ++layer) {
      const MatrixView<T> next = work[layer % 2];
      const bool last = layer + 1 == n_layers;
      spmm(t->context(), matrix->transpose_view(), current, next,
           functors::AddRow<T>{next, T{1}, y.grad(), last ? d_x : next, last ? share : T{1}});
      current = next;
    }
  });
  return y;
}

/// Rows by id. The ids are copied.
template <Backend B>
Var<B> gather(Var<B> x, const IndexList& ids) {
  Tape<B>& tape = x.tape();
  Var<B> y = tape.make(ids.size, x.cols(), x.requires_grad());
  gather(tape.context(), x.value(), ids, y.value());
  tape.record(y, [=, t = &tape] { scatter_add(t->context(), ids, y.grad(), t->accumulating_slot(x)); });
  return y;
}
template <Backend B>
Var<B> gather(Var<B> x, std::span<const Id> ids) {
  return gather(x, make_index_list(x.tape().context(), ids, x.rows()));
}

/// A block matrix of `grid_rows` rows of blocks, given row after row: [x_1 | x_2 | ...] for one, stacked for as many as
/// there are parts.
template <Backend B>
Var<B> concat(std::span<const Var<B>> parts, std::size_t grid_rows = 1) {
  using T = Real<B>;
  Tape<B>& tape = parts.front().tape();
  const std::size_t grid_cols = parts.size() / grid_rows;
  Index rows = 0;
  Index cols = 0;
  bool requires_grad = false;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i < grid_cols) cols += parts[i].cols();
    if (i % grid_cols == 0) rows += parts[i].rows();
    requires_grad = requires_grad || parts[i].requires_grad();
    detail::require_shape(parts[i].value(), parts[i / grid_cols * grid_cols].rows(), parts[i % grid_cols].cols(),
                          "concat", "part");
  }
  if (grid_cols * grid_rows != parts.size())
    throw ShapeError(detail::message("concat: ", parts.size(), " parts do not fill ", grid_rows, " rows of blocks"));
  Var<B> y = tape.make(rows, cols, requires_grad);
  const std::span<const Var<B>> kept(tape.list(parts).data(), parts.size());  // memory of the tape
  // f(part, its block of `whole`)
  const auto for_each_block = [kept, cols](MatrixView<T> whole, const auto& f) {
    Index row = 0;
    Index col = 0;
    for (const Var<B>& part : kept) {
      f(part, whole.row_block(row, part.rows()).col_block(col, part.cols()));
      col += part.cols();
      if (col < cols) continue;
      col = 0;
      row += part.rows();
    }
  };
  ScaledCopies<B> forward(tape.context());
  for_each_block(y.value(), [&](Var<B> part, MatrixView<T> block) { forward.add({T{1}, part.value(), block}); });
  forward.run();
  tape.record(y, [=, t = &tape] {
    ScaledCopies<B> backward(t->context());
    for_each_block(y.node().grad, [&](Var<B> part, MatrixView<T> block) {
      if (t->hand_on(y, block, part)) return;
      const auto d_part = t->slot(part);
      backward.add({T{1}, block, d_part});
    });
    backward.run();
  });
  return y;
}
template <Backend B>
Var<B> concat_columns(std::initializer_list<Var<B>> parts) {
  return concat(std::span<const Var<B>>(parts.begin(), parts.size()));
}
template <Backend B>
Var<B> concat_rows(std::initializer_list<Var<B>> parts) {
  return concat(std::span<const Var<B>>(parts.begin(), parts.size()), parts.size());
}

/// a + beta b; b may be one row.
template <Backend B>
Var<B> add(Var<B> a, Var<B> b, Real<B> beta = 1) {
  using T = Real<B>;
  Tape<B>& tape = a.tape();
  Var<B> y = tape.make(a.rows(), a.cols(), a.requires_grad() || b.requires_grad());
  add(tape.context(), a.value(), beta, b.value(), y.value());
  tape.record(y, [=, t = &tape] {
    const auto d_a = t->slot(a);
    const auto d_b = t->slot(b);
    const bool one_row = b.rows() != a.rows();
    ScaledCopies<B> copies(t->context());
    copies.add({T{1}, y.grad(), d_a});
    if (!one_row) copies.add({beta, y.grad(), d_b});
    copies.run();
    if (one_row && d_b.wanted()) column_sum(t->context(), beta, y.grad(), d_b);
  });
  return y;
}

/// alpha x
template <Backend B>
Var<B> scale(Var<B> x, Real<B> alpha) {
  Tape<B>& tape = x.tape();
  Var<B> y = tape.make(x.rows(), x.cols(), x.requires_grad());
  scaled_copy(tape.context(), alpha, x.value(), y.value());
  tape.record(y, [=, t = &tape] {
    const auto d_x = t->slot(x);
    scaled_copy(t->context(), alpha, y.grad(), d_x);
  });
  return y;
}

template <Backend B>
Var<B> column_mean(Var<B> x) {
  Tape<B>& tape = x.tape();
  Var<B> y = tape.make(1, x.cols(), x.requires_grad());
  column_mean(tape.context(), x.value(), y.value());
  tape.record(y, [=, t = &tape] {
    const auto d_x = t->slot(x);
    column_mean_backward(t->context(), y.grad(), d_x);
  });
  return y;
}

/// alpha sum_ij x_ij^2, 1 x 1.
template <Backend B>
Var<B> sum_of_squares(Var<B> x, Real<B> alpha = 1) {
  using T = Real<B>;
  Tape<B>& tape = x.tape();
  Var<B> y = tape.make(1, 1, x.requires_grad());
  dot_sum(tape.context(), alpha, x.value(), x.value(), y.value());
  tape.record(y, [=, t = &tape] {
    const auto d_x = t->slot(x);
    B::for_each(t->context(), x.rows(), functors::ScaleByRow<T>{T{2} * alpha, y.grad().data, x.value(), d_x});
  });
  return y;
}

/// Row inner products: y_i = a_i . b_i, n x 1.
template <Backend B>
Var<B> row_dot(Var<B> a, Var<B> b) {
  using T = Real<B>;
  Tape<B>& tape = a.tape();
  detail::require_shape(b.value(), a.rows(), a.cols(), "row_dot", "second operand");
  Var<B> y = tape.make(a.rows(), 1, a.requires_grad() || b.requires_grad());
  B::for_each(tape.context(), a.rows(), functors::RowDot<T>{a.value(), b.value(), y.value()});
  tape.record(y, [=, t = &tape] {
    const auto d_a = t->slot(a);
    if (d_a.wanted()) B::for_each(t->context(), a.rows(), functors::RowDotBackward<T>{b.value(), y.grad(), d_a});
    const auto d_b = t->slot(b);
    if (d_b.wanted()) B::for_each(t->context(), a.rows(), functors::RowDotBackward<T>{a.value(), y.grad(), d_b});
  });
  return y;
}

template <Backend B>
Var<B> prelu(Var<B> x, Var<B> slope) {
  Tape<B>& tape = x.tape();
  Var<B> y = tape.make(x.rows(), x.cols(), x.requires_grad() || slope.requires_grad());
  prelu(tape.context(), x.value(), slope.value(), y.value());
  tape.record(y, [=, t = &tape] {
    const auto d_x = t->slot(x);  // slots in the order they are written: the operands may be one variable
    const auto d_slope = t->slot(slope);
    prelu_backward(t->context(), x.value(), slope.value(), y.grad(), d_x, d_slope);
  });
  return y;
}

/// prelu(x) + y
template <Backend B>
Var<B> prelu_add(Var<B> x, Var<B> slope, Var<B> y) {
  Tape<B>& tape = x.tape();
  Var<B> z = tape.make(x.rows(), x.cols(), x.requires_grad() || slope.requires_grad() || y.requires_grad());
  prelu(tape.context(), x.value(), slope.value(), z.value(), y.value());
  tape.record(z, [=, t = &tape] {
    const auto d_y = t->slot(y);  // slots in the order they are written
    const auto d_x = t->slot(x);
    const auto d_slope = t->slot(slope);
    prelu_backward(t->context(), x.value(), slope.value(), z.grad(), d_x, d_slope, d_y);
  });
  return z;
}

/// w x + b, plus `addend` unless that is empty.
template <Backend B>
Var<B> scalar_affine(Var<B> x, Var<B> weight, Var<B> bias, Var<B> addend = {}) {
  using T = Real<B>;
  Tape<B>& tape = x.tape();
  Var<B> y = tape.make(x.rows(), x.cols(),
                       x.requires_grad() || weight.requires_grad() || bias.requires_grad() ||
                           (!addend.empty() && addend.requires_grad()));
  scalar_affine(tape.context(), x.value(), weight.value(), bias.value(), y.value(),
                addend.empty() ? MatrixView<T>{} : addend.value());
  tape.record(y, [=, t = &tape] {
    const auto d_addend = addend.empty() ? Into<T>{} : t->slot(addend);  // slots in the order they are written
    const auto d_x = t->slot(x);
    const auto d_w = t->slot(weight);
    const auto d_b = t->slot(bias);
    scalar_affine_backward(t->context(), x.value(), weight.value(), y.grad(), d_x, d_w, d_b, d_addend);
  });
  return y;
}

template <Backend B>
Var<B> dropout(Var<B> x, double p, RandomKey key) {
  if (p == 0) return x;
  Tape<B>& tape = x.tape();
  Var<B> y = tape.make(x.rows(), x.cols(), x.requires_grad());
  dropout(tape.context(), x.value(), p, key, y.value());
  tape.record(y, [=, t = &tape] {
    const auto d_x = t->slot(x);
    dropout(t->context(), y.grad(), p, key, d_x);
  });
  return y;
}

}  // namespace rearm
