#pragma once
/// @file adamw.hpp
/// Adam and AdamW over a parameter store, with tables whose gradient is never stored.

#include <rearm/functors/adam.hpp>
#include <rearm/nn/init.hpp>

#include <cmath>
#include <cstdint>

namespace rearm {

/// Adam (Kingma & Ba) with decoupled weight decay (Loshchilov & Hutter); weight_decay = 0 is plain Adam.
struct AdamSettings {
  double learning_rate = 5e-5;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.0;
};

/// Updates every trainable parameter that has a gradient and clears its has_grad. Call before the tape is reset:
/// factored gradients point into the arena. The caller applies its schedule through `learning_rate`.
template <Backend B>
class AdamW {
 public:
  using T = typename B::Scalar;
  explicit AdamW(AdamSettings settings) : settings_(settings) {}

  const AdamSettings& settings() const noexcept { return settings_; }
  void set_learning_rate(double rate) noexcept { settings_.learning_rate = rate; }
  /// Updates made so far.
  std::int64_t step_count() const noexcept { return step_count_; }
  void set_step_count(std::int64_t count) noexcept { step_count_ = count; }

  void step(Context<B>& ctx, ParameterStore<B>& parameters) {
    ++step_count_;
    // Factored tables first: their gradient needs the projection weight as the backward pass saw it.
    for (Parameter<B>& p : parameters)
      if (p.trainable && p.has_grad && p.factored) {
        prepare(p);
        Parameter<B>* const w = p.fused_weight;
        B::factored_adam(ctx, update_for(p), p.factor_output, p.factor_weight, p.value.view(), p.moment1.view(),
                         p.moment2.view(), w != nullptr ? w->grad.view() : MatrixView<T>{},
                         w != nullptr && w->has_grad ? Write::accumulate : Write::overwrite);
        if (w != nullptr) w->has_grad = true;
        p.fused_weight = nullptr;
        p.has_grad = false;
      }
    for (Parameter<B>& p : parameters)
      if (p.trainable && p.has_grad) {
        prepare(p);
        B::for_each(
            ctx, p.rows(),
            functors::AdamRow<T>{update_for(p), p.value.view(), p.moment1.view(), p.moment2.view(), p.grad.view()});
        p.has_grad = false;
      }
  }

 private:
  static void prepare(Parameter<B>& p) {
    if (!p.moment1.empty()) return;
    p.moment1 = Matrix<T, typename B::Memory>(p.rows(), p.cols());
    p.moment2 = Matrix<T, typename B::Memory>(p.rows(), p.cols());
  }
  functors::AdamUpdate<T> update_for(const Parameter<B>& p) const {
    const auto t = static_cast<double>(step_count_);
    const double rate = settings_.learning_rate * p.learning_rate_scale;
    return {static_cast<T>(settings_.beta1),
            static_cast<T>(settings_.beta2),
            static_cast<T>(settings_.epsilon),
            static_cast<T>(1.0 - rate * settings_.weight_decay),
            static_cast<T>(rate / (1.0 - std::pow(settings_.beta1, t))),
            static_cast<T>(1.0 / std::sqrt(1.0 - std::pow(settings_.beta2, t)))};
  }
  AdamSettings settings_;
  std::int64_t step_count_ = 0;
};

}  // namespace rearm
