#pragma once
/// @file backend.hpp
/// What a backend is: a memory, a few parallel primitives, and the heavy operators. All other operators are written
/// once, as functors (include/rearm/functors) that the primitives run.

#include <rearm/core/csr.hpp>
#include <rearm/core/index_list.hpp>
#include <rearm/core/into.hpp>
#include <rearm/core/lane.hpp>
#include <rearm/core/macros.hpp>
#include <rearm/core/matrix.hpp>
#include <rearm/core/row_sums.hpp>

#include <concepts>
#include <span>
#include <string_view>

namespace rearm::REARM_ABI {

/// Whether a product takes a matrix as it is or transposed.
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
/// A row reduction of nothing, to check a backend with.
template <class T>
struct ProbeReduce {
  template <class L>
  REARM_HD void operator()(Index, T*, const L&) const {}
};
}  // namespace detail

/// A compute backend: `CpuBackend<float>`, `CpuBackend<double>`, and on a GPU `CudaBackend<Scalar>`. Every result is
/// the same for a given input, whatever the number of threads. Required:
/// - `for_each(ctx, n, f)` calls f(i, lane) for every i in [0, n), in parallel and in no order; `lane` (core/lane.hpp)
///   is the caller's place in the team that shares row i;
/// - `reduce_rows(ctx, n, f, to)` calls f(i, partial, lane) for every i in [0, n), which adds to the to.width() numbers
///   at `partial`; the totals go where `to` says (core/row_sums.hpp);
/// - `cached_bytes`: a work array up to this size is still in a cache when it is read again;
/// - `gemm(ctx, op_a, op_b, alpha, a, b, c, write)`: C = alpha op(A) op(B) (+ C), dense;
/// - `spmm(ctx, a, x, y, write, then)`: Y = A X (+ Y), A sparse; then(i, lane) follows once row i of Y is complete;
/// - `index_list(ctx, ids, n)`: ids in [0, n) sorted and grouped (core/index_list.hpp), in the context's arena.
/// With these every operator and model runs (tests/support/minimal_backend.hpp has no more). It replaces generic
/// code by further members, which that code looks for: the functions `rank_one_attention(_backward)`,
/// `distinct_list`, `gather_spmm`, `spmm_of_rows`, `linear(_backward)` of tables in bfloat16, `factored_adam` and
/// `rank_items`, the types `BatchSource` and `StepReplay`. Its resources may know branches of a step
/// (`Context::in_branch`). Graphs of neighbors are built by algorithms for a kind of memory
/// (`co_occurrence_neighbors`, `cosine_knn`, `user_knn`), the host's or a CUDA device's.
template <class B>
concept Backend = requires(Context<B>& ctx, Index n, Out<B> c, In<B> a, CsrView<Real<B>> s, std::span<const Id> ids) {
  requires std::floating_point<Real<B>>;
  typename B::Memory;
  typename B::Resources;
  typename B::Options;
  { B::name() } -> std::convertible_to<std::string_view>;
  { B::cached_bytes } -> std::convertible_to<Index>;
  B::for_each(ctx, n, NothingRow{});
  B::reduce_rows(ctx, n, detail::ProbeReduce<Real<B>>{}, RowSums<Real<B>>(c));
  B::gemm(ctx, Op::none, Op::none, Real<B>{1}, a, a, c, Write::overwrite);
  B::spmm(ctx, s, a, c, Write::overwrite, NothingRow{});
  { B::index_list(ctx, ids, n) } -> std::same_as<IndexList>;
};

}  // namespace rearm::REARM_ABI
