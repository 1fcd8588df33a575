#pragma once
/// @file mmrec.hpp
/// What the baselines of the toolbox MMRec (Zhou, 2023; github.com/enoche/MMRec) have in common.

#include <rearm/loss/triplets.hpp>
#include <rearm/train/config.hpp>

#include <numbers>

namespace rearm::REARM_ABI::mmrec {

/// How its published results were trained: Adam without decay, constant learning rate 1e-3, batches of 2048, negatives
/// that may be valid or test items, early stopping at the 21st epoch in a row without a better rounded recall@20.
inline TrainConfig train_defaults() {
  TrainConfig train;
  train.negatives = Negatives::exclude_train;
  train.round_validation_metric = true;
  return train;
}

/// -mean_b log(1e-10 + sigmoid(u_b . (p_b - n_b))): its BPR has the 1e-10 inside the logarithm.
template <Backend B>
Var<B> bpr(const Triplets<B>& rows) {
  return bpr_mean(rows, 1e-10);
}

/// -mean_b log2(sigmoid(u_b . (p_b - n_b))): DualGNN's and DRAGON's has the logarithm to base 2.
template <Backend B>
Var<B> bpr_log2(const Triplets<B>& rows) {
  const auto n = static_cast<double>(rows.users.rows());
  return bpr(rows.users, rows.positives, rows.negatives, static_cast<Real<B>>(1.0 / (n * std::numbers::ln2)),
             Real<B>{0});
}

}  // namespace rearm::REARM_ABI::mmrec
