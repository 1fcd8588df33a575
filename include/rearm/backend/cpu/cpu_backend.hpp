#pragma once
/// @file cpu_backend.hpp
/// `CpuBackend<Scalar>`: a team of threads, CBLAS or Eigen products, main memory.

#include <rearm/backend/cpu/attention.hpp>
#include <rearm/backend/cpu/parallel.hpp>
#include <rearm/backend/cpu/spmm.hpp>
#include <rearm/backend/cpu/table_update.hpp>
#include <rearm/core/context.hpp>
#include <rearm/core/index_list.hpp>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <numeric>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

namespace rearm::REARM_ABI {

struct Adjacency;

/// The CPU backend. `Scalar` is float or double.
template <std::floating_point Scalar_>
struct CpuBackend {
  using Scalar = Scalar_;
  using Memory = HostMemory;
  using Resources = cpu::Resources;
  using Options = CpuOptions;

  static constexpr std::string_view name() { return "cpu"; }

  /// A work array no larger than this stays in the cache between two passes.
  static constexpr Index cached_bytes = Index{1} << 21;

  /// Rows per chunk in for_each and reduce_rows.
  static constexpr Index row_grain = 64;
  static constexpr Index reduce_grain = 256;

  template <class F>
  static void for_each(Context<CpuBackend>& ctx, Index n, const F& f) {
    cpu::parallel_ranges(ctx.resources(), n, row_grain, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) f(i, SoleLane{});
    });
  }

  /// Sums each chunk of fixed size, then the chunks in ascending order: the same bits with any number of threads.
  template <class F>
  static void reduce_rows(Context<CpuBackend>& ctx, Index n, const F& f, const RowSums<Scalar>& to) {
    Scratch<CpuBackend> scratch(ctx);
    const Index width = to.width();
    const Index n_chunks = std::max<Index>((n + reduce_grain - 1) / reduce_grain, 1);
    Scalar* const partials = scratch.template allocate<Scalar>(std::max<Index>(n_chunks * width, 1));
    cpu::parallel_chunks(ctx.resources(), n_chunks, [&](Index chunk) {
      Scalar* partial = partials + chunk * width;
      std::fill_n(partial, width, Scalar{0});
      for (Index i = chunk * reduce_grain; i < std::min(n, (chunk + 1) * reduce_grain); ++i) f(i, partial, SoleLane{});
    });
    for (Index chunk = 1; chunk < n_chunks; ++chunk)
      for (Index j = 0; j < width; ++j) partials[j] += partials[chunk * width + j];
    for (int group = 0; group < to.n_groups; ++group)
      for (Index j = 0; j < width; ++j) to.put(group, j, partials[j]);
  }

  /// Splits the output, or for a small output the inner dimension, into blocks that depend on the shape alone.
  static void gemm(Context<CpuBackend>& ctx, Op op_a, Op op_b, Scalar alpha, MatrixView<const Scalar> a,
                   MatrixView<const Scalar> b, MatrixView<Scalar> c, Write write) {
    const Index k = op_a == Op::none ? a.cols : a.rows;
    constexpr Index inner_block = 2048;
    if (c.size() <= 256 * 256 && k >= 2 * inner_block) return gemm_split_inner(ctx, op_a, op_b, alpha, a, b, c, write);
    const bool by_rows = c.rows >= c.cols;
    const Index extent = by_rows ? c.rows : c.cols;
    const Index block = extent >= 4096 ? 512 : 128;
    cpu::parallel_ranges(ctx.resources(), extent, block, [&](Index begin, Index end) {
      const Index n = end - begin;
      if (by_rows)
        cpu::gemm_serial(op_a, op_b, alpha, op_a == Op::none ? a.row_block(begin, n) : a.col_block(begin, n), b,
                         c.row_block(begin, n), write);
      else
        cpu::gemm_serial(op_a, op_b, alpha, a, op_b == Op::none ? b.col_block(begin, n) : b.row_block(begin, n),
                         c.col_block(begin, n), write);
    });
  }

  /// One output row at a time, its entries in stored order; `then` finds the row in registers or in the cache.
  template <class Then>
  static void spmm(Context<CpuBackend>& ctx, CsrView<Scalar> s, MatrixView<const Scalar> x, MatrixView<Scalar> y,
                   Write write, const Then& then) {
    if constexpr (std::is_same_v<Then, functors::AddRow<Scalar>>)
      if (then.a.data == y.data && then.y.view.data == y.data && then.y.write == Write::overwrite)
        return spmm_finished(ctx, s, x, y, write, cpu::AddToSums<Scalar>{then});
    if constexpr (std::is_same_v<Then, functors::AddRowOfRow<Scalar>>)
      if (then.y.data == y.data) return spmm_finished(ctx, s, x, y, write, cpu::AddRowOfRowToSums<Scalar>{then});
    for_each(ctx, s.rows, [=](Index i, SoleLane lane) {
      cpu::spmm_row(s, x, y, i, write, cpu::StoreSums());
      then(i, lane);
    });
  }
  static void gather_spmm(Context<CpuBackend>& ctx, const functors::GatherSpmmRow<Scalar>& f) {
    const auto with = [&](const auto& finish) {
      for_each(ctx, f.rows.n_segments,
               [=](Index s, SoleLane) { cpu::gather_spmm_row(f.a, f.x, f.rows, f.y, s, finish); });
    };
    if (f.addend.data != nullptr)
      with(cpu::AddToSums<Scalar>{{f.y, Scalar{1}, f.addend, f.y, f.alpha}});
    else
      with(cpu::ScaleSums<Scalar>{f.alpha});
  }
  template <class Then>
  static void spmm_of_rows(Context<CpuBackend>& ctx, const functors::SpmmOfRowsRow<Scalar>& f, const IndexList&,
                           const Then& then) {
    const cpu::RowsElsewhere<Scalar> x{f.x, f.row_of, f.x.cols};
    if constexpr (std::is_same_v<Then, NothingRow>)
      spmm_finished(ctx, f.a, x, f.y.view, f.y.write, cpu::StoreSums());
    else
      spmm_finished(ctx, f.a, x, f.y.view, f.y.write, cpu::AddRowOfRowToSums<Scalar>{then});
  }

  /// Sorts positions by id (ties by position), so that a transposed gather adds in a fixed order without races.
  static IndexList index_list(Context<CpuBackend>& ctx, std::span<const Id> ids, Index n_rows) {
    const auto n = static_cast<Index>(ids.size());
    Id* const copy = ctx.arena().template allocate<Id>(n);
    Id* const order = ctx.arena().template allocate<Id>(n);
    Index* const segments = ctx.arena().template allocate<Index>(n + 1);
    std::copy(ids.begin(), ids.end(), copy);
    sort_positions(ctx, copy, n, n_rows, order);
    Index n_segments = 0;
    for (Index i = 0; i < n; ++i)
      if (i == 0 || copy[order[i]] != copy[order[i - 1]]) segments[n_segments++] = i;
    segments[n_segments] = n;
    return {copy, n, order, segments, n_segments};
  }

  /// out = rank-one attention; see functors::AttentionRow.
  static void rank_one_attention(Context<CpuBackend>& ctx, const functors::AttentionInput<Scalar>& in,
                                 MatrixView<Scalar> out) {
    cpu::parallel_ranges(ctx.resources(), in.q.rows, 16, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) cpu::attention_row(in, out, i);
    });
  }
  static void rank_one_attention_backward(Context<CpuBackend>& ctx, const functors::AttentionBackwardRow<Scalar>& f) {
    cpu::parallel_ranges(ctx.resources(), f.in.q.rows, 16, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) cpu::attention_backward_row(f, i);
    });
  }

  static void factored_adam(Context<CpuBackend>& ctx, const functors::AdamTarget<Scalar>& table,
                            MatrixView<const Scalar> d_output, MatrixView<const Scalar> weight,
                            Into<Scalar> d_weight = {}) {
    cpu::factored_adam<CpuBackend>(ctx, table, d_output, weight, d_weight);
  }

  /// Defined in backend/cpu/ranking.hpp, which this header includes.
  static void rank_items(Context<CpuBackend>& ctx, ConstView<Scalar> user_rows, std::span<const Id> users,
                         ConstView<Scalar> item_rows, const Adjacency* masked, MatrixView<Id> ids,
                         MatrixView<Scalar> scores);

 private:
  template <class X, class Finish>
  static void spmm_finished(Context<CpuBackend>& ctx, const CsrView<Scalar>& s, const X& x, MatrixView<Scalar> y,
                            Write write, const Finish& finish) {
    for_each(ctx, s.rows, [=](Index i, SoleLane) { cpu::spmm_row(s, x, y, i, write, finish); });
  }
  /// order <- the n positions of ids below n_rows, sorted by id, ties by position: by eleven bits at a time, the lowest
  /// first, each pass stable. Ids that nothing has computed, as in a dry run, are put into some order.
  static void sort_positions(Context<CpuBackend>& ctx, const Id* ids, Index n, Index n_rows, Id* order) {
    constexpr int bits = 11;
    constexpr Index n_digits = Index{1} << bits;
    Scratch<CpuBackend> scratch(ctx);
    Id* from = order;
    Id* to = scratch.template allocate<Id>(n);
    std::iota(from, from + n, Id{0});
    Index next[n_digits];
    for (int shift = 0; shift == 0 || n_rows >> shift > 0; shift += bits) {
      const auto digit = [&](Id id) {
        return static_cast<Index>((static_cast<std::uint32_t>(id) >> shift) & (n_digits - 1));
      };
      std::fill_n(next, n_digits, Index{0});
      for (Index i = 0; i < n; ++i) ++next[digit(ids[i])];
      Index begin = 0;
      for (Index d = 0; d < n_digits; ++d) begin += std::exchange(next[d], begin);
      for (Index i = 0; i < n; ++i) to[next[digit(ids[from[i]])]++] = from[i];
      std::swap(from, to);
    }
    if (from != order) std::copy_n(from, n, order);
  }
  static void gemm_split_inner(Context<CpuBackend>& ctx, Op op_a, Op op_b, Scalar alpha, MatrixView<const Scalar> a,
                               MatrixView<const Scalar> b, MatrixView<Scalar> c, Write write) {
    constexpr Index inner_block = 2048;
    const Index k = op_a == Op::none ? a.cols : a.rows;
    const Index n_chunks = (k + inner_block - 1) / inner_block;
    Scratch<CpuBackend> scratch(ctx);
    Scalar* partials = scratch.template allocate<Scalar>(n_chunks * c.size());
    cpu::parallel_chunks(ctx.resources(), n_chunks, [&](Index chunk) {
      const Index begin = chunk * inner_block;
      const Index n = std::min(inner_block, k - begin);
      cpu::gemm_serial<Scalar>(op_a, op_b, alpha, op_a == Op::none ? a.col_block(begin, n) : a.row_block(begin, n),
                               op_b == Op::none ? b.row_block(begin, n) : b.col_block(begin, n),
                               {partials + chunk * c.size(), c.rows, c.cols}, Write::overwrite);
    });
    for (Index i = 0; i < c.rows; ++i)
      for (Index j = 0; j < c.cols; ++j) {
        Scalar sum = write == Write::overwrite ? Scalar{0} : c(i, j);
        for (Index chunk = 0; chunk < n_chunks; ++chunk) sum += partials[chunk * c.size() + i * c.cols + j];
        c(i, j) = sum;
      }
  }
};

static_assert(Backend<CpuBackend<float>> && Backend<CpuBackend<double>>);

}  // namespace rearm::REARM_ABI

#include <rearm/backend/cpu/ranking.hpp>  // the definition of rank_items
