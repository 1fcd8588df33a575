#pragma once
/// @file linear.hpp
/// A weight and a bias that belong together.

#include <rearm/autodiff/ops.hpp>
#include <rearm/core/parameters.hpp>

#include <string>

namespace rearm::REARM_ABI {

/// y = x W^T + b, W out x in, initialized U(+-1/sqrt(in)) as PyTorch does.
template <Backend B>
class Linear {
 public:
  Linear() = default;
  Linear(ParameterStore<B>& store, const std::string& name, Index in, Index out, std::uint64_t seed)
      : weight_(&store.add(name + ".weight", out, in)), bias_(&store.add(name + ".bias", 1, out)) {
    const double bound = 1.0 / std::sqrt(static_cast<double>(in));
    init_uniform(*weight_, bound, seed);
    init_uniform(*bias_, bound, seed);
  }
  Var<B> operator()(Var<B> x) const { return linear(x, x.tape().parameter(*weight_), x.tape().parameter(*bias_)); }
  Parameter<B>& weight() const { return *weight_; }
  Parameter<B>& bias() const { return *bias_; }

 private:
  Parameter<B>* weight_ = nullptr;
  Parameter<B>* bias_ = nullptr;
};

}  // namespace rearm::REARM_ABI
