#pragma once
/// @file diffusion.hpp
/// Diffusion over a graph, and over one that loses edges at random.

#include <rearm/functors/diffusion.hpp>
#include <rearm/ops/elementwise.hpp>
#include <rearm/ops/gather.hpp>
#include <rearm/ops/ranks.hpp>
#include <rearm/ops/split.hpp>
#include <rearm/ops/spmm.hpp>

#include <algorithm>

namespace rearm::REARM_ABI {

/// A sparse matrix of one step and its transpose; null halos unless ranks share them.
template <class T>
struct Edges {
  CsrView<T> forward, backward;
  const Halo* forward_halo = nullptr;
  const Halo* backward_halo = nullptr;
};

/// All of a matrix's entries. Points into it.
template <class T, class Memory>
Edges<T> all_edges(const SparseOperator<T, Memory>& a) {
  return {a.view(), a.transpose_view(), a.halo(), a.transpose_halo()};
}

/// Each entry dropped with probability p, the others divided by 1 - p: the two directions of an undirected edge apart.
/// Points into the arena and into `a`. Throws ConfigError for p outside [0, 1].
template <Backend B>
Edges<Real<B>> drop_edges(Context<B>& ctx, const SparseOperator<Real<B>, typename B::Memory>& a, double p,
                          RandomKey key) {
  using T = Real<B>;
  if (!(p >= 0 && p <= 1)) throw ConfigError(detail::message("drop_edges: p = ", p, " must lie in [0, 1]"));
  Edges<T> out = all_edges(a);
  if (p == 0) return out;
  if (a.halo() != nullptr) throw ShapeError("drop_edges: ranks share the matrix, which is not possible so far");
  const auto drop = [&](CsrView<T>& of, bool transposed) {
    T* const values = ctx.arena().template allocate<T>(of.nonzeros);
    B::for_each(ctx, of.rows, functors::DropEntriesRow<T>{of, transposed, key, p, values});
    of.values = values;
  };
  drop(out.forward, false);
  drop(out.backward, true);
  return out;
}

/// y (+)= h_k / g, k = n_layers: h_0 = x, h_l = beta A h_{l-1} + alpha x, g = beta^k + alpha (1 + beta + ... +
/// beta^{k-1}), so that A with row sums of 1 leaves a constant x as it is. A square; beta > 0 (ConfigError). The
/// backward pass is the same call with A's transpose, from d_y to d_x. 2 k nnz w operations, two work arrays. With the
/// `halo` of a matrix that ranks share, x and y are a rank's rows, and each layer asks others for those it reads.
template <Backend B>
void diffuse(Context<B>& ctx, CsrView<Real<B>> a, In<B> x, double alpha, double beta, int n_layers, Into<Real<B>> y,
             const Halo* halo = nullptr) {
  using T = Real<B>;
  if (!(beta > 0)) throw ConfigError(detail::message("diffuse: beta = ", beta, " must be above 0"));
  detail::require_shape(y.view, x.rows, x.cols, "diffuse", "output");
  if (n_layers == 0) return scaled_copy(ctx, T{1}, x, y);
  double g = 1;
  for (int layer = 0; layer < n_layers; ++layer) g = beta * g + alpha;
  const auto own = static_cast<T>(alpha / beta);
  if (halo != nullptr) {
    for_each_column_block(ctx, *halo, x.cols, [&](Out<B> all, Index first, Index n, Scratch<B>& scratch) {
      const In<B> from = x.col_block(first, n);
      const Into<T> to = y.col_block(first, n);
      const Out<B> work = scratch.template matrix<T>(x.rows, n);
      put_with_halo(ctx, *halo, from, all);
      for (int layer = 1; layer < n_layers; ++layer) {
        spmm<B>(ctx, a, all, work, functors::AddRow<T>{work, own, from, work, static_cast<T>(beta)});
        put_with_halo<B>(ctx, *halo, work, all);
      }
      const Out<B> last = y.write == Write::overwrite ? to.view : work;
      spmm<B>(ctx, a, all, last, functors::AddRow<T>{last, own, from, to, static_cast<T>(beta / g)});
    });
    return;
  }
  Scratch<B> scratch(ctx);
  const MatrixView<T> work[2] = {scratch.template matrix<T>(x.rows, x.cols),
                                 scratch.template matrix<T>(x.rows, x.cols)};
  MatrixView<const T> current = x;
  for (int layer = 1; layer <= n_layers; ++layer) {
    const bool last = layer == n_layers;
    const MatrixView<T> next = last && y.write == Write::overwrite ? y.view : work[layer % 2];
    spmm(ctx, a, current, next,
         functors::AddRow<T>{next, own, x, last ? y : Into<T>(next), static_cast<T>(last ? beta / g : beta)});
    current = next;
  }
}

/// y_p = row ids[p] of (X + A X + ... + A^L X) / (L + 1), L = n_layers: the last layer for these rows alone. A n x n, X
/// n x w, L - 1 products in full (at least 0). Throws ShapeError.
template <Backend B>
void gather_propagate_mean(Context<B>& ctx, CsrView<Real<B>> a, In<B> x, int n_layers, const IndexList& rows,
                           Out<B> y) {
  using T = Real<B>;
  detail::require_shape(y, rows.size, x.cols, "gather_propagate_mean", "output");
  if (n_layers == 0) return gather(ctx, x, rows, y);
  Scratch<B> scratch(ctx);
  Out<B> work[2];
  for (int i = 0; i < std::min(n_layers - 1, 2); ++i) work[i] = scratch.template matrix<T>(x.rows, x.cols);
  In<B> current = x;
  for (int layer = 1; layer < n_layers; ++layer) {
    const Out<B> next = work[layer % 2 == 1 ? 0 : 1];
    spmm(ctx, a, current, next, functors::AddRow<T>{next, T{1}, x, next});
    current = next;
  }
  detail::gather_spmm<B>(ctx, {a, current, x, T{1} / static_cast<T>(n_layers + 1), rows, y});
}
/// The same where ranks share A and X (`halo`) and the positions (`list`): x are the rows of this rank, y those of its
/// positions.
template <Backend B>
void gather_propagate_mean(Context<B>& ctx, CsrView<Real<B>> a, const Halo& halo, In<B> x, int n_layers,
                           const SplitList& list, Out<B> y) {
  using T = Real<B>;
  if (n_layers == 0) return split_gather<B>(ctx, list, x, y);
  const T share = T{1} / static_cast<T>(n_layers + 1);
  Scratch<B> scratch(ctx);
  const Out<B> rows = scratch.template matrix<T>(list.rows(), x.cols);
  for_each_column_block(ctx, halo, x.cols, [&](Out<B> all, Index first, Index n, Scratch<B>& more) {
    const In<B> from = x.col_block(first, n);
    const Out<B> work = more.template matrix<T>(x.rows, n);
    put_with_halo(ctx, halo, from, all);
    for (int layer = 1; layer < n_layers; ++layer) {
      spmm<B>(ctx, a, all, work, functors::AddRow<T>{work, T{1}, from, work});
      put_with_halo<B>(ctx, halo, work, all);
    }
    detail::gather_spmm<B>(ctx, {a, all, from, share, list.own, rows.row_block(0, list.own.size).col_block(first, n)});
  });
  hand_out_rows<B>(ctx, list, rows, y);
}

/// d_X (+)= (D + A^T D + ... + (A^T)^L D) / (L + 1), row i of D the sum of d_Y's at the places of id i; `transpose` is
/// A^T. The first product skips what is zero in D.
template <Backend B>
void gather_propagate_mean_backward(Context<B>& ctx, CsrView<Real<B>> transpose, int n_layers, const IndexList& rows,
                                    In<B> d_y, Into<Real<B>> d_x) {
  using T = Real<B>;
  Scratch<B> scratch(ctx);
  if (n_layers == 0) {
    if (d_x.write == Write::overwrite) fill(ctx, T{0}, d_x.view);
    return scatter_add(ctx, rows, d_y, d_x.view);
  }
  const detail::FewRows<B> own =
      detail::sum_places(ctx, scratch, rows, transpose.cols, d_y, T{1} / static_cast<T>(n_layers + 1));
  Out<B> work[2];
  for (int i = 0; i < std::min(n_layers - 1, 2); ++i) work[i] = scratch.template matrix<T>(d_x.view.rows, d_y.cols);
  In<B> current;
  for (int layer = 1; layer <= n_layers; ++layer) {
    const Into<T> next = layer == n_layers ? d_x : Into<T>(work[layer % 2 == 1 ? 0 : 1]);
    const functors::AddRowOfRow<T> add_own{own.row_of, own.rows, next.view};
    if (layer == 1)
      detail::spmm_of_rows(ctx, transpose, own, rows, next, add_own);
    else
      spmm(ctx, transpose, current, next, add_own);
    current = next.view;
  }
}
/// The same where ranks share A^T (`halo`) and the positions: the first product asks for the rows of D alone.
template <Backend B>
void gather_propagate_mean_backward(Context<B>& ctx, CsrView<Real<B>> transpose, const Halo& halo, int n_layers,
                                    const SplitList& list, const SplitColumns& columns, In<B> d_y, Into<Real<B>> d_x) {
  using T = Real<B>;
  if (n_layers == 0) return split_gather_backward<B>(ctx, list, d_y, d_x);
  Scratch<B> scratch(ctx);
  const Out<B> rows = scratch.template matrix<T>(std::max(list.rows(), columns.rows() + 1), d_y.cols);
  collect_gradients<B>(ctx, list, T{1} / static_cast<T>(n_layers + 1), d_y, rows);
  receive_rows<B>(ctx, columns.exchange, rows.row_block(0, columns.rows()));
  fill(ctx, T{0}, rows.row_block(columns.rows(), 1));
  for_each_column_block(ctx, halo, d_y.cols, [&](Out<B> all, Index first, Index n, Scratch<B>& more) {
    const Into<T> to = d_x.col_block(first, n);
    const detail::FewRows<B> own{columns.row_of, rows.col_block(first, n)};
    const auto add_own = [&](const Into<T>& y) { return functors::AddRowOfRow<T>{own.row_of, own.rows, y.view}; };
    if (n_layers == 1) return detail::spmm_of_rows(ctx, transpose, own, list.own, to, add_own(to));
    const Into<T> work = more.template matrix<T>(d_x.view.rows, n);
    detail::spmm_of_rows(ctx, transpose, own, list.own, work, add_own(work));
    for (int layer = 2; layer <= n_layers; ++layer) {
      put_with_halo<B>(ctx, halo, work.view, all);
      const Into<T> next = layer == n_layers ? to : work;
      spmm<B>(ctx, transpose, all, next, add_own(next));
    }
  });
}

}  // namespace rearm::REARM_ABI
