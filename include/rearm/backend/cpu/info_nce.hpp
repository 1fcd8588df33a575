#pragma once
/// @file info_nce.hpp
/// InfoNCE over n x n similarities that are never stored: blocks of rows forward, blocks of rows and of columns
/// backward.

#include <rearm/backend/cpu/parallel.hpp>
#include <rearm/core/context.hpp>
#include <rearm/core/info_nce_scale.hpp>
#include <rearm/functors/exp.hpp>

#include <algorithm>
#include <cmath>

REARM_LOOPS_BEGIN

namespace rearm::cpu {

/// Rows (or columns) of the similarity matrix that exist at once on one thread.
inline constexpr Index info_nce_block = 64;

/// lse_r = log sum_s exp(a_r . b_s / temperature); loss_r = weight (lse_r - a_r . b_r / temperature).
template <class B, class T = typename B::Scalar>
void info_nce_rows(Context<B>& ctx, MatrixView<const T> a, MatrixView<const T> b, const InfoNceScale<T>& scale, T* lse,
                   T* loss) {
  const T inverse_temperature = scale.inverse_temperature;
  const T weight = scale.row_weight(a.rows);
  const ThreadScratch<B> work(ctx, info_nce_block * b.rows);
  parallel_ranges(ctx.resources(), a.rows, info_nce_block, [&](Index begin, Index end) {
    const MatrixView<T> scores(work.data(), end - begin, b.rows);
    gemm_serial<T>(Op::none, Op::transpose, inverse_temperature, a.row_block(begin, end - begin), b, scores,
                   Write::overwrite);
    for (Index i = begin; i < end; ++i) {
      const T* REARM_RESTRICT row = scores.row(i - begin);
      T top = row[0];
      REARM_MAX_LOOP(top)
      for (Index s = 0; s < b.rows; ++s) top = row[s] > top ? row[s] : top;
      T sum{0};
      REARM_SUM_LOOP(sum)
      for (Index s = 0; s < b.rows; ++s) sum += fast_exp(row[s] - top);
      lse[i] = top + std::log(sum);
      loss[i] = weight * (lse[i] - row[i]);
    }
  });
}

/// d_rows_r (+)= g sum_s (exp(s_rs - lse) - [r = s]) other_s, g = d_loss weight / temperature, with the rows' own
/// log-sum-exp (`by_row`) or that of the other side (`!by_row`, the transposed block).
template <class B, class T = typename B::Scalar>
void info_nce_backward_side(Context<B>& ctx, MatrixView<const T> rows, MatrixView<const T> other,
                            const InfoNceScale<T>& scale, const T* lse, bool by_row, T d_loss, MatrixView<T> d_rows,
                            Write write) {
  const T inverse_temperature = scale.inverse_temperature;
  const T g = d_loss * scale.row_weight(rows.rows) * inverse_temperature;
  const ThreadScratch<B> work(ctx, info_nce_block * other.rows);
  parallel_ranges(ctx.resources(), rows.rows, info_nce_block, [&](Index begin, Index end) {
    const MatrixView<T> scores(work.data(), end - begin, other.rows);
    gemm_serial<T>(Op::none, Op::transpose, inverse_temperature, rows.row_block(begin, end - begin), other, scores,
                   Write::overwrite);
    for (Index i = begin; i < end; ++i) {
      T* REARM_RESTRICT row = scores.row(i - begin);
      if (by_row) {
        const T own = lse[i];
        REARM_SIMD_LOOP
        for (Index s = 0; s < other.rows; ++s) row[s] = fast_exp(row[s] - own);
      } else {
        REARM_SIMD_LOOP
        for (Index s = 0; s < other.rows; ++s) row[s] = fast_exp(row[s] - lse[s]);
      }
      row[i] -= T{1};
    }
    gemm_serial<T>(Op::none, Op::none, g, ConstView<T>(scores), other, d_rows.row_block(begin, end - begin), write);
  });
}

}  // namespace rearm::cpu

REARM_LOOPS_END
