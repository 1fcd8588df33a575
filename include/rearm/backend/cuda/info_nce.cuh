#pragma once
/// @file info_nce.cuh
/// InfoNCE over tiles of rows of the similarities: a product, a pass over the tile, and backward one more product. No
/// more than a tile exists at once.

#include <rearm/backend/cuda/products.cuh>
#include <rearm/core/info_nce_scale.hpp>
#include <rearm/functors/exp.hpp>

#include <algorithm>
#include <cmath>

namespace rearm::gpu {

/// Rows of the similarity matrix that exist at once.
inline constexpr Index info_nce_tile = 1024;

/// From the tile's similarities to lse and loss; rows of padding get 0.
template <class T>
struct InfoNceRow {
  MatrixView<const T> scores;  ///< rows first, first + 1, ...
  Index first;
  Index n_rows;  ///< of the whole matrix
  InfoNceScale<T> scale;
  T* lse;
  T* loss;
  template <class L>
  __device__ void operator()(Index i, const L& lane) const {
    const Index row = first + i;
    const Index n = scale.n(n_rows);
    T value{0};
    T row_loss{0};
    if (row < n) {
      const T* const s = scores.row(i);
      T top = s[0];
      for (Index j = lane.first(); j < n; j += L::step) top = s[j] > top ? s[j] : top;
      top = lane.max(top);
      T sum{0};
      for (Index j = lane.first(); j < n; j += L::step) sum += fast_exp(s[j] - top);
      value = top + std::log(lane.sum(sum));
      row_loss = scale.row_weight(n_rows) * (value - s[row]);
    }
    if (!lane.leads()) return;
    lse[row] = value;
    loss[row] = row_loss;
  }
};

/// Similarities become their gradients, g (exp(s - lse) - [row = column]); 0 in rows and columns of padding.
template <class T>
struct InfoNceBackwardRow {
  MatrixView<T> scores;
  Index first;
  Index n_rows;
  InfoNceScale<T> scale;
  const T* lse;
  bool by_row;  ///< the rows' own log-sum-exp, or that of the columns
  const T* d_loss;
  template <class L>
  __device__ void operator()(Index i, const L& lane) const {
    const Index row = first + i;
    const Index n = scale.n(n_rows);
    const T g = *d_loss * scale.row_weight(n_rows) * scale.inverse_temperature;
    T* const s = scores.row(i);
    for (Index j = lane.first(); j < scores.cols; j += L::step) {
      const T p = row < n && j < n ? fast_exp(s[j] - lse[by_row ? row : j]) : T{0};
      s[j] = g * (row < n && row == j ? p - T{1} : p);
    }
  }
};

template <class T, class F>
void for_each_tile(const Resources& resources, Arena<CudaMemory>& arena, MatrixView<const T> rows,
                   MatrixView<const T> other, T inverse_temperature, const F& f) {
  const auto mark = arena.mark();
  const MatrixView<T> tile = arena.template matrix<T>(std::min(info_nce_tile, rows.rows), other.rows);
  for (Index first = 0; first < rows.rows; first += info_nce_tile) {
    const Index n = std::min(info_nce_tile, rows.rows - first);
    const MatrixView<T> scores = tile.row_block(0, n);
    gemm<T>(resources, Op::none, Op::transpose, inverse_temperature, rows.row_block(first, n), other, scores,
            Write::overwrite);
    f(first, scores);
  }
  arena.rewind(mark);
}

}  // namespace rearm::gpu
