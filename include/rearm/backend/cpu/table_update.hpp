#pragma once
/// @file table_update.hpp
/// Adam on a table whose gradient is the product of two thin factors: tile by tile, the gradient never stored.

#include <rearm/backend/cpu/parallel.hpp>
#include <rearm/backend/cpu/philox.hpp>
#include <rearm/core/context.hpp>
#include <rearm/functors/adam.hpp>
#include <rearm/functors/gather.hpp>

#include <algorithm>

namespace rearm::REARM_ABI::cpu {

/// Tile of the gradient formed at a time: 128 x 512 floats are 256 KiB, inside a core's L2.
inline constexpr Index table_tile_rows = 128;
inline constexpr Index table_tile_cols = 512;
/// Rows per task; each forms a part of the weight's gradient, and the parts are added in order.
inline constexpr Index table_chunk = 1024;

#if defined(__CUDACC__)  // nvcc refuses vectors in code also compiled for the device
using MomentVectors = functors::MomentWords;
#else
/// functors::MomentWords in vector registers.
struct MomentVectors {
  static void draw(const RandomKey& key, std::uint64_t first, std::uint32_t* word) {
    Vector16<std::uint32_t> words[4];
    philox_block(key, first, 1, words);
    for (int w = 0; w < 4; ++w) store_entries<std::uint32_t>(words[w], word + std::ptrdiff_t{w} * simd_width);
  }
};
#endif

/// The rows of a block of the gradient that are not zero, one behind the other: a model whose loss reads the rows of a
/// batch leaves most of a table without gradient.
template <class T>
class RowsWithGradient {
 public:
  /// In memory for n x d values.
  RowsWithGradient(ConstView<T> d_output, T* memory) : d_output_(d_output) {
    Index n = 0;
    for (Index i = 0; i < d_output.rows; ++i) {
      const T* const row = d_output.row(i);
      if (!std::all_of(row, row + d_output.cols, [](T x) { return x == T{0}; })) ids_[n++] = static_cast<Id>(i);
    }
    if (n == d_output.rows) return;
    const MatrixView<T> copy(memory, n, d_output.cols);
    gather(d_output, copy);
    d_output_ = copy;
  }
  ConstView<T> d_output() const { return d_output_; }
  Index size() const { return d_output_.rows; }
  /// Whether its row number n is row i of the block.
  bool is(Index n, Index i) const { return n < size() && ids_[n] == i; }
  /// The same rows of x, which may be stored in bfloat16.
  template <class From>
  void gather(MatrixView<const From> x, MatrixView<T> y) const {
    const functors::GatherRow<T, From> row{x, ids_, y};
    for (Index n = 0; n < y.rows; ++n) row(n, SoleLane{});
  }

 private:
  ConstView<T> d_output_;
  Id ids_[table_tile_rows];
};

/// value, moments <- Adam with gradient d_output (n x d) times weight (d x width). If wanted, d_weight (+)= d_output^T
/// value, with value from before the update, formed tile by tile in the same pass.
template <class B, class T = typename B::Scalar>
void factored_adam(Context<B>& ctx, const functors::AdamTarget<T>& table, MatrixView<const T> d_output,
                   MatrixView<const T> weight, Into<T> d_weight) {
  const Index rows = table.rows();
  const Index cols = table.cols();
  const bool with_weight = d_weight.wanted();
  const bool rounded = table.rounded_value.data != nullptr;
  const Index n_chunks = (rows + table_chunk - 1) / table_chunk;
  Scratch<B> scratch(ctx);
  T* const parts = with_weight ? scratch.template allocate<T>(n_chunks * weight.size()) : nullptr;
  const Index tile_size = std::min(rows, table_tile_rows) * std::min(cols, table_tile_cols);
  const ThreadScratch<B> tiles(ctx, 2 * tile_size);  // of the gradient and, for the weight's, of the values
  const ThreadScratch<B> factors(ctx, table_tile_rows * d_output.cols);
  const ThreadScratch<B> no_gradient(ctx, table_tile_cols);
  parallel_chunks(ctx.resources(), n_chunks, [&](Index chunk, int thread) {
    T* const tile = tiles.data(thread);
    T* const zeros = no_gradient.data(thread);
    std::fill_n(zeros, table_tile_cols, T{0});
    const Index end = std::min(rows, (chunk + 1) * table_chunk);
    MatrixView<T> sum;
    if (with_weight) {
      sum = {parts + chunk * weight.size(), weight.rows, weight.cols};
      std::fill_n(sum.data, sum.size(), T{0});
    }
    for (Index begin = chunk * table_chunk; begin < end; begin += table_tile_rows) {
      const Index n = std::min(table_tile_rows, end - begin);
      const RowsWithGradient<T> present(d_output.row_block(begin, n), factors.data(thread));
      for (Index col = 0; col < cols; col += table_tile_cols) {
        const Index width = std::min(table_tile_cols, cols - col);
        const functors::AdamTarget<T> part = table.tile(begin, n, col, width);
        if (with_weight && present.size() > 0) {
          ConstView<T> value = part.value;
          if (rounded || present.size() < n) {
            const MatrixView<T> copy(tile + tile_size, present.size(), width);
            if (rounded)
              present.gather(ConstView<BFloat16>(part.rounded_value), copy);
            else
              present.gather(ConstView<T>(part.value), copy);
            value = copy;
          }
          gemm_serial<T>(Op::transpose, Op::none, T{1}, present.d_output(), value, sum.col_block(col, width),
                         Write::accumulate);
        }
        const MatrixView<T> grad(tile, present.size(), width);
        if (present.size() > 0)
          gemm_serial<T>(Op::none, Op::none, T{1}, present.d_output(), weight.col_block(col, width), grad,
                         Write::overwrite);
        Index next = 0;
        for (Index i = 0; i < n; ++i)
          part.template update_row<MomentVectors>(i, present.is(next, i) ? grad.row(next++) : zeros, SoleLane{});
      }
    }
  });
  if (!with_weight) return;
  parallel_ranges(ctx.resources(), d_weight.view.rows, 1, [&](Index i, Index) {
    T* REARM_RESTRICT out = d_weight.view.row(i);
    if (d_weight.write == Write::overwrite) std::fill_n(out, weight.cols, T{0});
    for (Index chunk = 0; chunk < n_chunks; ++chunk) {
      const T* REARM_RESTRICT part = parts + chunk * weight.size() + i * weight.cols;
      for (Index j = 0; j < weight.cols; ++j) out[j] += part[j];
    }
  });
}

}  // namespace rearm::REARM_ABI::cpu
