#pragma once
/// @file cuda_backend.cuh
/// `CudaBackend<Scalar>`: one device, cuBLAS, cuSPARSE, CUB and kernels built from the shared functors.

#include <rearm/backend/cuda/attention.cuh>
#include <rearm/backend/cuda/index_list.cuh>
#include <rearm/backend/cuda/products.cuh>
#include <rearm/backend/cuda/rows.cuh>
#include <rearm/backend/cuda/table_update.cuh>
#include <rearm/core/context.hpp>
#include <rearm/ops/gemm.hpp>

#include <concepts>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

namespace rearm::REARM_ABI {

struct Adjacency;
template <class T>
class CudaBatchSource;
template <class T>
class CudaStepReplay;

/// The GPU backend. `Scalar` is float or double. Everything is started on the context's stream, and nothing waits
/// except what reads results on the host: copies, metrics, files.
template <std::floating_point Scalar_>
struct CudaBackend {
  using Scalar = Scalar_;
  using Memory = CudaMemory;
  using Resources = gpu::Resources;
  using Options = CudaOptions;
  using BatchSource = CudaBatchSource<Scalar>;  ///< defined in backend/cuda/batch_source.cuh
  using StepReplay = CudaStepReplay<Scalar>;    ///< defined in backend/cuda/step_replay.cuh

  static constexpr std::string_view name() { return "cuda"; }

  /// A work array no larger than this stays in the second-level cache between two kernels.
  static constexpr Index cached_bytes = Index{1} << 25;

  template <class F>
  static void for_each(Context<CudaBackend>& ctx, Index n, const F& f) {
    gpu::for_each(ctx.resources(), n, f);
  }
  template <class F>
  static void reduce_rows(Context<CudaBackend>& ctx, Index n, const F& f, const RowSums<Scalar>& to) {
    gpu::reduce_rows(ctx.resources(), ctx.arena(), n, f, to);
  }
  static void gemm(Context<CudaBackend>& ctx, Op op_a, Op op_b, Scalar alpha, MatrixView<const Scalar> a,
                   MatrixView<const Scalar> b, MatrixView<Scalar> c, Write write) {
    gpu::gemm<Scalar>(ctx.resources(), op_a, op_b, alpha, a, b, c, write);
  }
  /// Y = X W^T, X stored in bfloat16: one product with the three terms of W one below the other, so that X is read
  /// once.
  static void linear(Context<CudaBackend>& ctx, ConstView<BFloat16> x, ConstView<Scalar> weight,
                     MatrixView<Scalar> y) requires std::same_as<Scalar, float> {
    Scratch<CudaBackend> scratch(ctx);
    const Index d = weight.rows;
    const auto terms = scratch.template matrix<BFloat16>(gpu::bfloat16_terms * d, weight.cols);
    const auto products = scratch.template matrix<float>(x.rows, gpu::bfloat16_terms * d);
    for_each(ctx, d, gpu::SplitRow{weight, {terms.row_block(0, d), terms.row_block(d, d), terms.row_block(2 * d, d)}});
    gpu::gemm(ctx.resources(), Op::none, Op::transpose, x, ConstView<BFloat16>(terms), products);
    for_each(ctx, x.rows,
             gpu::AddTermsRow{{products.col_block(0, d), products.col_block(d, d), products.col_block(2 * d, d)}, y});
  }
  /// d_W (+)= d_Y^T X in the same way.
  static void linear_backward(Context<CudaBackend>& ctx, ConstView<BFloat16> x, ConstView<Scalar> d_y,
                              Into<Scalar> d_weight) requires std::same_as<Scalar, float> {
    Scratch<CudaBackend> scratch(ctx);
    const Index d = d_y.cols;
    const auto terms = scratch.template matrix<BFloat16>(d_y.rows, gpu::bfloat16_terms * d);
    const auto products = scratch.template matrix<float>(gpu::bfloat16_terms * d, x.cols);
    for_each(ctx, d_y.rows,
             gpu::SplitRow{d_y, {terms.col_block(0, d), terms.col_block(d, d), terms.col_block(2 * d, d)}});
    gpu::gemm(ctx.resources(), Op::transpose, Op::none, ConstView<BFloat16>(terms), x, products);
    for_each(
        ctx, d,
        gpu::AddTermsRow{{products.row_block(0, d), products.row_block(d, d), products.row_block(2 * d, d)}, d_weight});
  }
  template <class Then>
  static void spmm(Context<CudaBackend>& ctx, CsrView<Scalar> s, MatrixView<const Scalar> x, MatrixView<Scalar> y,
                   Write write, const Then& then) {
    // Other projects report faults of the library on rows that are not aligned to 16 bytes.
    const auto aligned = [](const auto& m) {
      return reinterpret_cast<std::uintptr_t>(m.data) % 16 == 0 &&
             (m.rows < 2 || m.stride * static_cast<Index>(sizeof(Scalar)) % 16 == 0);
    };
    if (ctx.resources().options().deterministic || s.nonzeros == 0 || x.empty() ||
        s.nonzeros > std::numeric_limits<int>::max() || !aligned(x) || !aligned(y))
      return gpu::spmm_in_order(ctx.resources(), s, x, y, write, then);
    gpu::spmm_by_library(ctx.resources(), ctx.arena(), s, x, y, write);
    if constexpr (!std::is_same_v<Then, NothingRow>) for_each(ctx, s.rows, then);
  }

  /// `ids` are on the device and are not checked.
  static IndexList index_list(Context<CudaBackend>& ctx, std::span<const Id> ids, Index n_rows) {
    return gpu::index_list(ctx.resources(), ctx.arena(), ids, n_rows);
  }
  /// As many ids as a and b have together, `count` of them distinct and the rest padding.
  static IndexList distinct_list(Context<CudaBackend>& ctx, std::span<const Id> a, std::span<const Id> b,
                                 Index n_rows) {
    return gpu::distinct_list(ctx.resources(), ctx.arena(), a, b, n_rows);
  }

  /// Whether attention keeps which weights were dropped, a word a row.
  static constexpr bool keeps_attention_bits(Index cols) { return cols == gpu::attention_width; }
  static void rank_one_attention(Context<CudaBackend>& ctx, const functors::AttentionInput<Scalar>& in,
                                 MatrixView<Scalar> out) {
    if (in.q.empty()) return;
    gpu::launch(ctx.resources(), gpu::blocks_for(in.q.rows, gpu::attention_warps),
                gpu::attention_warps * gpu::warp_size,
                in.q.cols == gpu::attention_width ? gpu::attention_kernel<Scalar, gpu::attention_width>
                                                  : gpu::attention_kernel<Scalar, 0>,
                in, out);
  }
  static void rank_one_attention_backward(Context<CudaBackend>& ctx, const functors::AttentionBackwardRow<Scalar>& f) {
    if (f.in.q.empty()) return;
    Scratch<CudaBackend> scratch(ctx);
    gpu::launch(ctx.resources(), gpu::blocks_for(f.in.q.rows, gpu::attention_warps),
                gpu::attention_warps * gpu::warp_size,
                f.in.q.cols == gpu::attention_width ? gpu::attention_backward_kernel<Scalar, gpu::attention_width>
                                                    : gpu::attention_backward_kernel<Scalar, 0>,
                f, scratch.template matrix<Scalar>(f.in.q.rows, f.in.q.cols));
  }

  /// value, moments <- Adam with gradient d_output (n x d) times weight (d x width). If wanted, d_weight (+)=
  /// d_output^T value, with value from before the update.
  static void factored_adam(Context<CudaBackend>& ctx, const functors::AdamTarget<Scalar>& table,
                            MatrixView<const Scalar> d_output, MatrixView<const Scalar> weight,
                            Into<Scalar> d_weight = {}) {
    if (table.rounded_value.data != nullptr)
      rearm::linear_backward(ctx, ConstView<BFloat16>(table.rounded_value), d_output, d_weight, {});
    else if (d_weight.wanted())
      gemm(ctx, Op::transpose, Op::none, Scalar{1}, d_output, ConstView<Scalar>(table.value), d_weight.view,
           d_weight.write);
    gpu::factored_adam(ctx.resources(), table, d_output, weight);
  }

  /// Defined in backend/cuda/ranking.cuh.
  static void rank_items(Context<CudaBackend>& ctx, ConstView<Scalar> user_rows, std::span<const Id> users,
                         ConstView<Scalar> item_rows, const Adjacency* masked, MatrixView<Id> ids,
                         MatrixView<Scalar> scores);
};

static_assert(Backend<CudaBackend<float>> && Backend<CudaBackend<double>>);

}  // namespace rearm::REARM_ABI
