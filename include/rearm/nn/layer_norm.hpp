#pragma once
/// @file layer_norm.hpp
/// LayerNorm with its weights.

#include <rearm/autodiff/ops.hpp>
#include <rearm/core/parameters.hpp>

#include <string>

namespace rearm::REARM_ABI {

/// y = (x - mean) / sqrt(variance + 1e-5) * gamma + beta, row by row; initially gamma is 1 and beta 0.
template <Backend B>
class LayerNorm {
 public:
  LayerNorm() = default;
  LayerNorm(ParameterStore<B>& store, const std::string& name, Index width)
      : gamma_(&store.add(name + ".weight", 1, width)), beta_(&store.add(name + ".bias", 1, width)) {
    init_constant(*gamma_, 1.0);
  }
  Var<B> operator()(Var<B> x) const {
    return layer_norm(x, x.tape().parameter(*gamma_), x.tape().parameter(*beta_), Real<B>(1e-5));
  }
  /// prelu(layer_norm(x)), one operator.
  Var<B> activated(Var<B> x, Var<B> slope) const {
    Tape<B>& tape = x.tape();
    return layer_norm_prelu(x, tape.parameter(*gamma_), tape.parameter(*beta_), Real<B>(1e-5), slope);
  }

 private:
  Parameter<B>* gamma_ = nullptr;
  Parameter<B>* beta_ = nullptr;
};

}  // namespace rearm::REARM_ABI
