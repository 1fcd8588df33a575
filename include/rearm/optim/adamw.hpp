#pragma once
/// @file adamw.hpp
/// Adam and AdamW over a parameter store, with tables whose gradient is never stored.

#include <rearm/core/parameters.hpp>
#include <rearm/functors/adam.hpp>
#include <rearm/ops/gemm.hpp>

#include <cmath>
#include <cstdint>
#include <type_traits>

namespace rearm {

/// Adam (Kingma & Ba) with decoupled weight decay (Loshchilov & Hutter); weight_decay = 0 is plain Adam.
struct AdamSettings {
  double learning_rate = 5e-5;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.0;
  /// Keep both moments in bfloat16, rounded at random by (seed, parameter, step): a quarter less memory traffic of a
  /// table, a third less memory. What an update computes with is the value before rounding.
  bool bfloat16_moments = false;
};

/// Adam on a table (n x p) whose gradient is d_output (n x d) times weight (d x p); where d_weight is wanted it (+)=
/// d_output^T table, the table as it was. A backend may do it without storing the gradient.
template <Backend B>
void factored_adam(Context<B>& ctx, const functors::AdamTarget<Real<B>>& table, In<B> d_output, In<B> weight,
                   Into<Real<B>> d_weight) {
  using T = Real<B>;
  if constexpr (requires { B::factored_adam(ctx, table, d_output, weight, d_weight); }) {
    B::factored_adam(ctx, table, d_output, weight, d_weight);
  } else {
    if (d_weight.wanted()) {
      if (table.rounded_value.data != nullptr)
        linear_backward(ctx, ConstView<BFloat16>(table.rounded_value), d_output, d_weight, {});
      else
        gemm(ctx, Op::transpose, Op::none, T{1}, d_output, ConstView<T>(table.value), d_weight);
    }
    Scratch<B> scratch(ctx);
    const MatrixView<T> grad = scratch.template matrix<T>(table.rows(), table.cols());
    gemm(ctx, Op::none, Op::none, T{1}, d_output, weight, grad);
    B::for_each(ctx, table.rows(), functors::AdamRow<T>{table, ConstView<T>(grad)});
  }
}

/// Updates every trainable parameter that has a gradient and clears its has_grad. Call before the tape is reset:
/// factored gradients point into the arena. The caller applies its schedule through `learning_rate`.
template <Backend B>
class AdamW {
 public:
  using T = Real<B>;
  explicit AdamW(AdamSettings settings) : settings_(settings) {}

  const AdamSettings& settings() const noexcept { return settings_; }
  void set_learning_rate(double rate) noexcept { settings_.learning_rate = rate; }
  /// Updates made so far.
  std::int64_t step_count() const noexcept { return step_count_; }
  void set_step_count(std::int64_t count) noexcept { step_count_ = count; }

  /// What the next step's update takes from where the run stands.
  functors::AdamStep<T> next_step() const { return at_step(step_count_ + 1); }
  /// In a step that may be replayed: where its updates find that. Null otherwise.
  void set_step_source(const functors::AdamStep<T>* source) noexcept { step_source_ = source; }

  void step(Context<B>& ctx, ParameterStore<B>& parameters) {
    ++step_count_;
    // Factored tables first: their gradient needs the projection weight as the backward pass saw it.
    for (Parameter<B>& p : parameters)
      if (p.trainable && p.has_grad && p.factored) {
        prepare(p);
        Parameter<B>* const w = p.fused_weight;
        Into<T> d_weight;
        if (w != nullptr) d_weight = w->has_grad ? add_to(w->grad.view()) : Into<T>(w->grad.view());
        factored_adam(ctx, target(ctx, p), p.factor_output, p.factor_weight, d_weight);
        if (w != nullptr) w->has_grad = true;
        p.fused_weight = nullptr;
        p.has_grad = false;
      }
    functors::AdamPieces<T> pieces{};
    static_assert(sizeof pieces <= 4000, "a kernel takes 4 KiB of arguments");
    const auto update = [&] {
      B::for_each(ctx, pieces.pieces(), pieces);
      pieces.count = 0;
    };
    for (Parameter<B>& p : parameters)
      if (p.trainable && p.has_grad) {
        prepare(p);
        pieces.add(target(ctx, p), p.grad.view());
        p.has_grad = false;
        if (pieces.count == pieces.most) update();
      }
    update();
  }

 private:
  void prepare(Parameter<B>& p) const {
    const auto make = [&](auto& moment) {
      if (moment.empty()) moment = std::decay_t<decltype(moment)>(p.rows(), p.cols());
    };
    if (settings_.bfloat16_moments) {
      make(p.rounded_moment1);
      make(p.rounded_moment2);
    } else {
      make(p.moment1);
      make(p.moment2);
    }
  }
  /// The step counts from 1, so these draws are not those of the initial values, step 0 of the same stream.
  functors::AdamTarget<T> target(const Context<B>& ctx, Parameter<B>& p) const {
    return {update_for(p),
            p.value.view(),
            p.moment1.view(),
            p.moment2.view(),
            p.rounded_moment1.view(),
            p.rounded_moment2.view(),
            ctx.key(parameter_stream(p.name), static_cast<std::uint32_t>(step_count_)),
            0,
            0,
            p.cols(),
            p.rounded_value.view()};
  }
  functors::AdamUpdate<T> update_for(const Parameter<B>& p) const {
    const double scale = p.learning_rate_scale;
    const auto t = static_cast<double>(step_count_);
    const double rate = settings_.learning_rate * scale;
    return {static_cast<T>(settings_.beta1),
            static_cast<T>(settings_.beta2),
            static_cast<T>(settings_.epsilon),
            static_cast<T>(1.0 - rate * settings_.weight_decay),
            static_cast<T>(rate / (1.0 - std::pow(settings_.beta1, t))),
            static_cast<T>(1.0 / std::sqrt(1.0 - std::pow(settings_.beta2, t))),
            static_cast<T>(scale),
            step_source_};
  }
  functors::AdamStep<T> at_step(std::int64_t count) const {
    const auto t = static_cast<double>(count);
    return {static_cast<T>(settings_.learning_rate * settings_.weight_decay),
            static_cast<T>(settings_.learning_rate / (1.0 - std::pow(settings_.beta1, t))),
            static_cast<T>(1.0 / std::sqrt(1.0 - std::pow(settings_.beta2, t)))};
  }
  AdamSettings settings_;
  std::int64_t step_count_ = 0;
  const functors::AdamStep<T>* step_source_ = nullptr;
};

}  // namespace rearm
