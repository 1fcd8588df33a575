#pragma once
/// @file info_bpr.hpp
/// InfoBPR (Hu et al., TKDE'24): the positive against candidates of its own.

#include <rearm/autodiff/ops.hpp>

namespace rearm::REARM_ABI {

/// sum_b (log sum_j exp(s_bj) - s_b0): cross entropy where the first column is right. Of two columns it is BPR's,
/// summed.
template <Backend B>
Var<B> first_is_right(Var<B> scores) {
  const Var<B> rows = add(log_sum_exp(scores), scores.cols(0, 1), Real<B>{-1});
  return scale(column_mean(rows), static_cast<Real<B>>(rows.rows()));
}

}  // namespace rearm::REARM_ABI
