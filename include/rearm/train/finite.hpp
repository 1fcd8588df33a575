#pragma once
/// @file finite.hpp
/// Which tensor of a model stopped being numbers.

#include <rearm/core/parameters.hpp>
#include <rearm/functors/finite.hpp>

#include <string>
#include <type_traits>

namespace rearm::REARM_ABI {

/// False if an element of `x` (of T or BFloat16) is NaN or infinite. Reads it once; waits for a device.
template <Backend B, class X>
bool all_finite(Context<B>& ctx, MatrixView<X> x) {
  using T = Real<B>;
  if (x.size() == 0) return true;
  Scratch<B> scratch(ctx);
  const MatrixView<T> count = scratch.template matrix<T>(1, 1);
  B::reduce_rows(ctx, x.rows, functors::NonFiniteRow<T, std::remove_const_t<X>>{x}, RowSums<T>(count));
  return OnHost<T, typename B::Memory>(ConstView<T>(count)).view()(0, 0) == T{0};
}

/// "parameter 'NAME'", the first trained one that is not finite, in the order of the store; empty where all are.
template <Backend B>
std::string non_finite_parameter(Context<B>& ctx, const ParameterStore<B>& parameters) {
  std::string found;
  parameters.for_each([&](const auto& x) {
    if (found.empty() && x.trainable && !x.with_values([&](auto values) { return all_finite<B>(ctx, values); }))
      found = "parameter '" + x.name + "'";
  });
  return found;
}

/// "the gradient of 'NAME'", the first that is not finite of those that the last backward pass has left.
template <Backend B>
std::string non_finite_gradient(Context<B>& ctx, ParameterStore<B>& parameters) {
  for (Parameter<B>& p : parameters)
    if (p.trainable && !all_finite<B>(ctx, p.grad())) return "the gradient of '" + p.name + "'";
  for (const FeatureTable<B>& t : parameters.tables())
    if (t.has_grad() && !(all_finite<B>(ctx, t.gradient().d_output) && all_finite<B>(ctx, t.gradient().weight)))
      return "the gradient of '" + t.name + "'";
  return {};
}

}  // namespace rearm::REARM_ABI
