#pragma once
/// @file linear_ops.hpp
/// Products, gathers, concatenation, sums and activations on tape variables; see ops.hpp.

#include <rearm/autodiff/apply.hpp>
#include <rearm/ops/broadcast.hpp>
#include <rearm/ops/elementwise.hpp>
#include <rearm/ops/frobenius_norm.hpp>
#include <rearm/ops/gather.hpp>
#include <rearm/ops/gemm.hpp>
#include <rearm/ops/split.hpp>
#include <rearm/ops/spmm.hpp>

#include <initializer_list>
#include <span>

namespace rearm::REARM_ABI {

namespace detail {
template <Rows rows, Backend B>
Var<B> product(Op op_a, Op op_b, Real<B> alpha, Var<B> a, Var<B> b) {
  return apply_to<rows, B>(
      {a, b}, op_a == Op::none ? a.rows() : a.cols(), op_b == Op::none ? b.cols() : b.rows(),
      [&](Context<B>& ctx, Out<B> y) { gemm(ctx, op_a, op_b, alpha, a.value(), b.value(), y); },
      [=](Context<B>& ctx, Var<B> y, auto d_a, auto d_b) {
        gemm_backward(ctx, op_a, op_b, alpha, a.value(), b.value(), y.grad(), d_a, d_b);
      });
}
}  // namespace detail

/// alpha op(A) op(B). Ranks may share the rows of A, or for A^T B those of both.
template <Backend B>
Var<B> gemm(Op op_a, Op op_b, Real<B> alpha, Var<B> a, Var<B> b) {
  if (op_a == Op::none && b.layout().empty()) return detail::product<detail::Rows::each>(op_a, op_b, alpha, a, b);
  if (op_a == Op::transpose && op_b == Op::none && detail::same_layout(a.layout(), b.layout()))
    return detail::product<detail::Rows::summed>(op_a, op_b, alpha, a, b);
  return detail::product<detail::Rows::refused>(op_a, op_b, alpha, a, b);
}

/// X W^T + b; `bias` may be an empty Var.
template <Backend B>
Var<B> linear(Var<B> x, Var<B> weight, Var<B> bias = {}) {
  return apply_rows(
      {x, weight, bias}, x.rows(), weight.rows(),
      [&](Context<B>& ctx, Out<B> y) { linear(ctx, x.value(), weight.value(), bias.value(), y); },
      [=](Context<B>& ctx, Var<B> y, auto d_x, auto d_weight, auto d_bias) {
        linear_backward(ctx, x.value(), weight.value(), y.grad(), d_x, d_weight, d_bias);
      });
}

namespace detail {

/// Throws ShapeError unless ranks share the rows of X as the columns of A.
template <class T, class Memory, Backend B>
void require_columns(const SparseOperator<T, Memory>& a, Var<B> x) {
  const bool same = a.halo() == nullptr ? x.layout().empty() : same_layout(a.halo()->layout, x.layout());
  if (!same)
    throw ShapeError(
        "a sparse product was given a matrix whose rows ranks share in another way than the columns of the "
        "sparse one");
}

/// `apply` of one input for an operator on a sparse matrix, of whose rows the result has one each.
template <class T, class Memory, Backend B, class Forward, class Backward>
Var<B> apply_sparse(const SparseOperator<T, Memory>& a, Var<B> x, const Forward& forward, const Backward& backward) {
  require_columns(a, x);
  Tape<B>& tape = x.tape();
  const Var<B> y = tape.make(a.rows(), x.cols(), x.requires_grad(), a.row_layout());
  const auto kept = forward(tape.context(), y.value());
  tape.record(y, [=, t = &tape] { backward(t->context(), y, kept, t->slot(x)); });
  return y;
}

}  // namespace detail

/// A X; `a` must outlive the step.
template <Backend B>
Var<B> spmm(const SparseOperator<Real<B>, typename B::Memory>& a, Var<B> x) {
  return detail::apply_sparse(
      a, x,
      [&](Context<B>& ctx, Out<B> y) {
        spmm<B>(ctx, a.view(), a.halo(), x.value(), y);
        return nullptr;
      },
      [matrix = &a](Context<B>& ctx, Var<B> y, auto, auto d_x) { spmm_backward(ctx, *matrix, y.grad(), d_x); });
}

template <Backend B>
Var<B> gather(Var<B> x, const IndexList& ids);

/// gather(spmm(a, x), rows), which computes these rows alone, unless ranks share them; `a` must outlive the step.
template <Backend B>
Var<B> gather_spmm(const SparseOperator<Real<B>, typename B::Memory>& a, Var<B> x, const IndexList& rows) {
  if (a.halo() != nullptr) return gather(spmm(a, x), rows);
  return apply(
      {x}, rows.size, x.cols(), [&](Context<B>& ctx, Out<B> y) { gather_spmm(ctx, a.view(), x.value(), rows, y); },
      [=, matrix = &a](Context<B>& ctx, Var<B> y, auto d_x) {
        gather_spmm_backward(ctx, *matrix, rows, y.grad(), d_x);
      });
}

/// spmm, each row of the result divided by max(its length, eps); `a` must outlive the step.
template <Backend B>
Var<B> spmm_row_normalize(const SparseOperator<Real<B>, typename B::Memory>& a, Var<B> x, Real<B> eps) {
  using T = Real<B>;
  return detail::apply_sparse(
      a, x,
      [&](Context<B>& ctx, Out<B> y) {
        T* const norm = ctx.arena().template allocate<T>(y.rows);
        spmm_row_normalize<B>(ctx, a.view(), x.value(), eps, y, norm, a.halo());
        return norm;
      },
      [=, matrix = &a](Context<B>& ctx, Var<B> y, const T* norm, auto d_x) {
        Scratch<B> scratch(ctx);
        const MatrixView<T> d_product = scratch.template matrix<T>(y.value().rows, y.cols());
        row_normalize_backward(ctx, y.value(), norm, eps, y.grad(), d_product);
        spmm_backward(ctx, *matrix, d_product, d_x);
      });
}

/// Rows by id. The ids are copied. Of a matrix whose rows ranks share, the result is on every rank.
template <Backend B>
Var<B> gather(Var<B> x, const IndexList& ids) {
  using T = Real<B>;
  if (!x.layout().empty()) {
    Tape<B>& tape = x.tape();
    const Var<B> y = tape.make(ids.size, x.cols(), x.requires_grad());
    const IndexList own = own_list(tape.context(), x.layout(), ids);
    B::for_each(tape.context(), own.n_segments, functors::GatherPlacesRow<T>{x.value(), own, y.value()});
    share_places<B>(tape.context(), x.layout(), ids, y.value());
    tape.record(y, [=, t = &tape] {
      const Into<T> d_x = t->slot(x);
      if (d_x.write == Write::overwrite) fill(t->context(), T{0}, d_x.view);
      scatter_add(t->context(), own, y.grad(), d_x.view);
    });
    return y;
  }
  return apply(
      {x}, ids.size, x.cols(), [&](Context<B>& ctx, Out<B> y) { gather(ctx, x.value(), ids, y); },
      [=](Context<B>& ctx, Var<B> y, Into<T> d_x) {
        if (d_x.write == Write::overwrite) fill(ctx, T{0}, d_x.view);
        scatter_add(ctx, ids, y.grad(), d_x.view);
      });
}
template <Backend B>
Var<B> gather(Var<B> x, std::span<const Id> ids) {
  return gather(x, make_index_list(x.tape().context(), ids, x.rows()));
}

/// `gather` for losses on a batch: of rows that ranks share each gets those at its own positions of the list, or of
/// each of the `n_lists` lists of equal length that it is made of; losses are then summed over ranks. The ids are
/// copied.
template <Backend B>
Var<B> split_gather(Var<B> x, const IndexList& ids, Index n_lists = 1) {
  if (x.layout().empty()) return gather(x, ids);
  Tape<B>& tape = x.tape();
  Context<B>& ctx = tape.context();
  const RowBlocks& positions = ctx.even_blocks(ids.size / n_lists);
  const SplitList list = split_list(ctx, x.layout(), ids, positions, n_lists);
  const Var<B> y = tape.make(ids.size, x.cols(), x.requires_grad(), tape.repeated_layout(positions, n_lists));
  split_gather<B>(ctx, list, x.value(), y.value());
  tape.record(y, [=, t = &tape] { split_gather_backward<B>(t->context(), list, y.grad(), t->slot(x)); });
  return y;
}

/// A block matrix with `grid_rows` rows of blocks, the parts in row-major order: [x_1 | x_2 | ...] for 1, a vertical
/// stack for parts.size(). Throws ShapeError if the parts do not fill the grid or their shapes do not match. A stack of
/// parameters that lie so in memory is not copied.
template <Backend B>
Var<B> concat(std::span<const Var<B>> parts, std::size_t grid_rows = 1) {
  using T = Real<B>;
  if (parts.empty() || grid_rows == 0 || parts.size() % grid_rows != 0)
    throw ShapeError(detail::message("concat: ", parts.size(), " parts do not fill ", grid_rows, " rows of blocks"));
  Tape<B>& tape = parts.front().tape();
  const std::size_t grid_cols = parts.size() / grid_rows;
  Index rows = 0;
  Index cols = 0;
  bool requires_grad = false;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i < grid_cols) cols += parts[i].cols();
    if (i % grid_cols == 0) rows += parts[i].rows();
    requires_grad = requires_grad || parts[i].requires_grad();
    const Var<B> first = parts[i / grid_cols * grid_cols];
    detail::require_shape(parts[i].value(), first.value().rows, parts[i % grid_cols].cols(), "concat", "part");
    if (!detail::same_layout(parts[i].layout(), first.layout()))
      throw ShapeError("concat: ranks share the rows of parts side by side in different ways");
  }
  if (grid_cols == 1)
    if (const Var<B> y = tape.stack(parts); !y.empty()) return y;
  const Var<B> y = tape.make(rows, cols, requires_grad, tape.stacked_layout(parts, grid_cols));
  const std::span<const Var<B>> kept(tape.list(parts).data(), parts.size());  // memory of the tape
  // f(part, its block of `whole`)
  const auto for_each_block = [kept, cols](MatrixView<T> whole, const auto& f) {
    Index row = 0;
    Index col = 0;
    for (const Var<B>& part : kept) {
      f(part, whole.row_block(row, part.value().rows).col_block(col, part.cols()));
      col += part.cols();
      if (col < cols) continue;
      col = 0;
      row += part.value().rows;
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

/// a + beta b; b has a's shape, or is one row, one column or one number.
template <Backend B>
Var<B> add(Var<B> a, Var<B> b, Real<B> beta = 1) {
  return apply_rows(
      {a, b}, a.rows(), a.cols(), [&](Context<B>& ctx, Out<B> y) { add(ctx, a.value(), beta, b.value(), y); },
      [=](Context<B>& ctx, Var<B> y, auto d_a, auto d_b) { add_backward(ctx, beta, y.grad(), d_a, d_b); });
}

/// alpha x
template <Backend B>
Var<B> scale(Var<B> x, Real<B> alpha) {
  return apply_rows(
      {x}, x.rows(), x.cols(), [&](Context<B>& ctx, Out<B> y) { scaled_copy(ctx, alpha, x.value(), y); },
      [=](Context<B>& ctx, Var<B> y, auto d_x) { scaled_copy(ctx, alpha, y.grad(), d_x); });
}

/// The mean of the rows, 1 x cols.
template <Backend B>
Var<B> column_mean(Var<B> x) {
  return apply(
      {x}, 1, x.cols(), [&](Context<B>& ctx, Out<B> y) { column_mean(ctx, x.value(), y); },
      [=](Context<B>& ctx, Var<B> y, auto d_x) { column_mean_backward(ctx, y.grad(), d_x); });
}

/// alpha sum_ij x_ij^2, 1 x 1.
template <Backend B>
Var<B> sum_of_squares(Var<B> x, Real<B> alpha = 1) {
  using T = Real<B>;
  return apply_sum(
      {x}, 1, 1, [&](Context<B>& ctx, Out<B> y) { dot_sum(ctx, alpha, x.value(), x.value(), y); },
      [=](Context<B>& ctx, Var<B> y, auto d_x) {
        B::for_each(ctx, x.value().rows, functors::ScaleByRow<T>{T{2} * alpha, y.grad().data, x.value(), d_x});
      });
}

/// ||X||_F, the root of the sum of squares, 1 x 1. Its gradient at a zero matrix is 0.
template <Backend B>
Var<B> frobenius_norm(Var<B> x) {
  Tape<B>& tape = x.tape();
  const Var<B> y = tape.make(1, 1, x.requires_grad());
  frobenius_norm<B>(tape.context(), x.value(), y.value(), !x.layout().empty());
  tape.record(y,
              [=, t = &tape] { frobenius_norm_backward<B>(t->context(), x.value(), y.value(), y.grad(), t->slot(x)); });
  return y;
}

/// Row inner products: y_i = a_i . b_i, n x 1.
template <Backend B>
Var<B> row_dot(Var<B> a, Var<B> b) {
  using T = Real<B>;
  detail::require_shape(b.value(), a.value().rows, a.cols(), "row_dot", "second operand");
  return apply_rows(
      {a, b}, a.rows(), 1,
      [&](Context<B>& ctx, Out<B> y) {
        B::for_each(ctx, y.rows, functors::DotRow<T>{a.value(), b.value(), y});
      },
      [=](Context<B>& ctx, Var<B> y, Into<T> d_a, Into<T> d_b) {
        if (d_a.wanted()) B::for_each(ctx, d_a.view.rows, functors::DotBackwardRow<T>{b.value(), y.grad(), d_a});
        if (d_b.wanted()) B::for_each(ctx, d_b.view.rows, functors::DotBackwardRow<T>{a.value(), y.grad(), d_b});
      });
}

/// x where x > 0, slope x elsewhere; one learned slope, 1 x 1.
template <Backend B>
Var<B> prelu(Var<B> x, Var<B> slope) {
  return apply_rows(
      {x, slope}, x.rows(), x.cols(), [&](Context<B>& ctx, Out<B> y) { prelu(ctx, x.value(), slope.value(), y); },
      [=](Context<B>& ctx, Var<B> y, auto d_x, auto d_slope) {
        prelu_backward(ctx, x.value(), slope.value(), y.grad(), d_x, d_slope);
      });
}

/// prelu(x) + y
template <Backend B>
Var<B> prelu_add(Var<B> x, Var<B> slope, Var<B> y) {
  return apply_rows(
      {y, x, slope}, x.rows(), x.cols(),
      [&](Context<B>& ctx, Out<B> z) { prelu(ctx, x.value(), slope.value(), z, y.value()); },
      [=](Context<B>& ctx, Var<B> z, auto d_y, auto d_x, auto d_slope) {
        prelu_backward(ctx, x.value(), slope.value(), z.grad(), d_x, d_slope, d_y);
      });
}

/// w x + b, plus `addend` unless it is empty.
template <Backend B>
Var<B> scalar_affine(Var<B> x, Var<B> weight, Var<B> bias, Var<B> addend = {}) {
  return apply_rows(
      {addend, x, weight, bias}, x.rows(), x.cols(),
      [&](Context<B>& ctx, Out<B> y) {
        scalar_affine(ctx, x.value(), weight.value(), bias.value(), y, addend.value());
      },
      [=](Context<B>& ctx, Var<B> y, auto d_addend, auto d_x, auto d_weight, auto d_bias) {
        scalar_affine_backward(ctx, x.value(), weight.value(), y.grad(), d_x, d_weight, d_bias, d_addend);
      });
}

/// x mask / (1 - p), the mask a function of the key; x itself for p = 0.
template <Backend B>
Var<B> dropout(Var<B> x, double p, RandomKey key) {
  if (p == 0) return x;
  return apply(
      {x}, x.rows(), x.cols(), [&](Context<B>& ctx, Out<B> y) { dropout(ctx, x.value(), p, key, y); },
      [=](Context<B>& ctx, Var<B> y, auto d_x) { dropout(ctx, y.grad(), p, key, d_x); });
}

/// gather(dropout(x, p, key), rows), which drops nothing of the other rows.
template <Backend B>
Var<B> gather_dropout(Var<B> x, const IndexList& rows, double p, RandomKey key) {
  const Var<B> of_rows = gather(x, rows);
  if (p == 0) return of_rows;
  return apply(
      {of_rows}, of_rows.rows(), of_rows.cols(),
      [&](Context<B>& ctx, Out<B> y) { dropout(ctx, of_rows.value(), p, key, y, &rows); },
      [=](Context<B>& ctx, Var<B> y, auto d_x) { dropout(ctx, y.grad(), p, key, d_x, &rows); });
}

/// x + Gumbel noise, a function of the key.
template <Backend B>
Var<B> add_gumbel(Var<B> x, RandomKey key) {
  using T = Real<B>;
  return apply(
      {x}, x.rows(), x.cols(), [&](Context<B>& ctx, Out<B> y) { add_gumbel(ctx, x.value(), key, y); },
      [](Context<B>& ctx, Var<B> y, auto d_x) { scaled_copy(ctx, T{1}, y.grad(), d_x); });
}

}  // namespace rearm::REARM_ABI
