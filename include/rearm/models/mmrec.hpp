#pragma once
/// @file mmrec.hpp
/// What the baselines of the toolbox MMRec (Zhou, 2023; github.com/enoche/MMRec) have in common.

#include <rearm/loss/triplets.hpp>
#include <rearm/train/config.hpp>

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

}  // namespace rearm::REARM_ABI::mmrec
