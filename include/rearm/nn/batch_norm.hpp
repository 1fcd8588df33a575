#pragma once
/// @file batch_norm.hpp
/// Batch normalization with its weights and its running moments.

#include <rearm/autodiff/ops.hpp>
#include <rearm/core/parameters.hpp>

#include <string>

namespace rearm::REARM_ABI {

/// y = (x - mean) / sqrt(variance + 1e-5) * gamma + beta, column by column; initially gamma is 1 and beta 0. In
/// training of the moments of x, else of the running ones, which every training pass moves a tenth of the way to its
/// own (variance: unbiased). They are arrays of the store that are not trained, so that checkpoints and saved models
/// have them.
template <Backend B>
class BatchNorm {
 public:
  BatchNorm(ParameterStore<B>& store, const std::string& name, Index width)
      : gamma_(&store.add(name + ".weight", 1, width)),
        beta_(&store.add(name + ".bias", 1, width)),
        mean_(&store.add(name + ".running_mean", 1, width)),
        variance_(&store.add(name + ".running_variance", 1, width)) {
    init_constant(*gamma_, 1.0);
    init_constant(*variance_, 1.0);
    mean_->trainable = variance_->trainable = false;
  }
  Var<B> operator()(Var<B> x, bool training) const { return activated(x, {}, training); }
  /// prelu(batch_norm(x)), one operator.
  Var<B> activated(Var<B> x, Var<B> slope, bool training) const {
    Tape<B>& tape = x.tape();
    return batch_norm(x, tape.parameter(*gamma_), tape.parameter(*beta_), slope, Real<B>(1e-5),
                      RunningMoments<Real<B>>{mean_->value().data, variance_->value().data, Real<B>(0.1)}, training);
  }

 private:
  Parameter<B>* gamma_;
  Parameter<B>* beta_;
  Parameter<B>* mean_;
  Parameter<B>* variance_;
};

}  // namespace rearm::REARM_ABI
