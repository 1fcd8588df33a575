#pragma once
/// @file backend.hpp
/// What a backend is. A backend supplies a memory, a few parallel primitives and the heavy operators; everything else
/// is written once, as functors (include/rearm/functors) run by those primitives.

#include <rearm/core/csr.hpp>
#include <rearm/core/into.hpp>
#include <rearm/core/lane.hpp>
#include <rearm/core/macros.hpp>
#include <rearm/core/matrix.hpp>

#include <concepts>
#include <string_view>

namespace rearm {

/// Where sums over rows go, piece after piece: as many numbers as `size` says, in the order of the view's rows, dropped
/// where that has no data.
template <class T>
struct SumTargets {
  struct Piece {
    Index size = 0;
    Into<T> into = {};
  };
  static constexpr int pieces = 3;
  Piece piece[pieces];

  /// All sums into one place, as many as it has room for.
  SumTargets(const Into<T>& out) : piece{{out.view.size(), out}, {}, {}} {}  // NOLINT(google-explicit-constructor)
  /// Throws ShapeError where a view has room for another number of sums.
  SumTargets(const Piece& a, const Piece& b, const Piece& c = {}) : piece{a, b, c} {
    for (const Piece& p : piece)
      if (p.into.wanted() && p.into.view.size() != p.size)
        throw ShapeError(detail::message("sums over rows: ", p.size, " numbers do not fit a gradient of ",
                                         shape_string(p.into.view)));
  }
  Index width() const { return piece[0].size + piece[1].size + piece[2].size; }
  /// Sum number j of all, in piece `p` or not at all. Pieces may lie at one place: one after the other.
  REARM_HD void put(int p, Index j, T sum) const {
    for (int before = 0; before < p; ++before) j -= piece[before].size;
    const MatrixView<T>& view = piece[p].into.view;
    if (j < 0 || j >= piece[p].size || view.data == nullptr) return;
    T& target = view(j / view.cols, j % view.cols);
    target = piece[p].into.write == Write::overwrite ? sum : target + sum;
  }
};
/// Whether a matrix operand of a product is used as it is or transposed.
enum class Op { none, transpose };

/// A backend's scalar, and read-only and writable views of it: what operators take and give.
template <class B>
using Real = typename B::Scalar;
template <class B>
using In = ConstView<Real<B>>;
template <class B>
using Out = MatrixView<Real<B>>;

template <class B>
class Context;

/// The row functor that does nothing.
struct NothingRow {
  template <class L>
  REARM_HD void operator()(Index, const L&) const {}
};

namespace detail {
/// A stand-in with which the concept probes a backend.
template <class T>
struct ProbeReduce {
  template <class L>
  REARM_HD void operator()(Index, T*, const L&) const {}
};
}  // namespace detail

/// A compute backend: `CpuBackend<float>`, `CpuBackend<double>`, and on a GPU `CudaBackend<Scalar>`.
/// Requirements, all deterministic for a given input whatever the number of threads:
/// - `for_each(ctx, n, f)`: f(i, lane) for i in [0, n), in parallel, no order; `lane` (core/lane.hpp) is the caller's
///   place among those that share i;
/// - `reduce_rows(ctx, n, f, to)`: sum number j of `to` is the sum over i of what f(i, partial, lane) adds to
/// partial[j];
/// - `cached_bytes`: a work array of this size is read again from a cache;
/// - `gemm`: dense products, C = alpha * op(A) op(B) (+ C);
/// - `spmm(ctx, a, x, y, write, then)`: sparse products, Y = A X (+ Y), with then(i, lane) once row i of Y stands.
template <class B>
concept Backend = requires(Context<B>& ctx, Index n, Out<B> c, In<B> a, CsrView<Real<B>> s) {
  requires std::floating_point<Real<B>>;
  typename B::Memory;
  typename B::Resources;
  typename B::Options;
  { B::name() } -> std::convertible_to<std::string_view>;
  { B::cached_bytes } -> std::convertible_to<Index>;
  B::for_each(ctx, n, NothingRow{});
  B::reduce_rows(ctx, n, detail::ProbeReduce<Real<B>>{}, SumTargets<Real<B>>(c));
  B::gemm(ctx, Op::none, Op::none, Real<B>{1}, a, a, c, Write::overwrite);
  B::spmm(ctx, s, a, c, Write::overwrite, NothingRow{});
};

}  // namespace rearm
