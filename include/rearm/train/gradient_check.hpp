#pragma once
/// @file gradient_check.hpp
/// The gradients of a model's loss against central differences: what finds almost every mistake in a backward pass.

#include <rearm/autodiff/tape.hpp>
#include <rearm/core/matrix.hpp>
#include <rearm/train/recommender.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>
#include <vector>

namespace rearm::REARM_ABI {

/// How far the gradient of one trained array is from its central differences.
struct GradientError {
  std::string name;
  double error = 0;  ///< |g - d| / max(|d|, 1e-3): lengths over the compared entries
};

namespace detail {

/// The gradient that a backward pass left; zero if none reached it.
template <Backend B>
Matrix<double> gradient_copy(const Parameter<B>& p) {
  Matrix<double> out(p.rows(), p.cols());
  if (p.has_grad) std::copy_n(p.grad().data, out.size(), out.data());
  return out;
}
/// The same of a table, whose gradient is a product that is never stored otherwise.
template <Backend B>
Matrix<double> gradient_copy(const FeatureTable<B>& table) {
  Matrix<double> out(table.rows(), table.cols());
  if (!table.has_grad()) return out;
  const auto& [d_output, weight, fused, branch] = table.gradient();
  for (Index i = 0; i < out.rows(); ++i)
    for (Index a = 0; a < weight.rows; ++a)
      for (Index j = 0; j < out.cols(); ++j) out(i, j) += d_output(i, a) * weight(a, j);
  return out;
}

}  // namespace detail

/// Of every trained array x of the model, by name, what its gradient g = df/dx differs from d, where f is the total of
/// the model's loss of `batch` in a step of training with number `step`, and
///
///   d_e = (f(x + h at e) - f(x - h at e)) / (2 h)     for every `every`-th entry e, h = 1e-5
///
/// Right gradients have errors of some 1e-9; above 1e-6 one is wrong, unless the loss has a kink there (a ReLU at zero)
/// or stops a gradient on purpose. A path that a zero hides is not seen: give such arrays other values before. Takes
/// two losses an entry: use few users and items and small widths. Values are as before afterwards, and gradients
/// cleared.
///
/// Throws ConfigError if `every` is below 1, if ranks share the model's rows, or if a table is stored in bfloat16,
/// whose steps are too coarse for differences.
template <Backend B, class M>
requires(Recommender<M, B>&& B::Memory::host_accessible&& std::is_same_v<Real<B>, double>)
    std::vector<GradientError> gradient_errors(Context<B>& ctx, M& model, const Batch& batch, Index every = 1,
                                               std::uint32_t step = 0) {
  constexpr double h = 1e-5;
  ParameterStore<B>& store = model.parameters();
  if (every < 1) throw ConfigError(detail::message("gradient_errors: `every` is ", every, ", but must be at least 1"));
  store.for_each([](const auto& x) {
    if (x.blocks() != nullptr || x.rounded())
      throw ConfigError(detail::message("gradient_errors: '", x.name, "' is ",
                                        x.rounded() ? "stored in bfloat16" : "shared between ranks",
                                        "; compare gradients of a model that is neither"));
  });
  Tape<B> tape(ctx);
  const auto loss = [&] {
    tape.reset();
    return model.loss(tape, {batch, step, true}).total();
  };
  store.clear_gradients();
  tape.backward(loss());
  std::vector<Matrix<double>> gradients;
  store.for_each([&](const auto& x) { gradients.push_back(detail::gradient_copy(x)); });
  store.clear_gradients();
  tape.set_recording(false);  // from here on values alone

  std::vector<GradientError> errors;
  auto gradient = gradients.begin();
  store.for_each([&](auto& x) {
    const Matrix<double>& g = *gradient++;
    if (!x.trainable) return;
    double wrong = 0, norm = 0;
    x.with_values([&](auto values) {
      if constexpr (std::is_same_v<decltype(values), MatrixView<double>>)
        for (Index e = 0; e < values.size(); e += every) {
          double& value = values.data[e];
          const double before = value;
          value = before + h;
          const double above = scalar(loss());
          value = before - h;
          const double below = scalar(loss());
          value = before;
          const double difference = (above - below) / (2 * h);
          wrong += std::pow(g.data()[e] - difference, 2);
          norm += difference * difference;
        }
    });
    errors.push_back({x.name, std::sqrt(wrong) / std::max(std::sqrt(norm), 1e-3)});
  });
  return errors;
}

}  // namespace rearm::REARM_ABI
