#pragma once
/// @file adamw.hpp
/// Adam and AdamW over a parameter store, with tables whose gradient is never stored.

#include <rearm/core/parameters.hpp>
#include <rearm/functors/adam.hpp>
#include <rearm/ops/elementwise.hpp>
#include <rearm/ops/gemm.hpp>
#include <rearm/ops/ranks.hpp>

#include <cmath>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// Adam (Kingma & Ba), plain without decay. `weight_decay` is decoupled (Loshchilov & Hutter); `l2` times the parameter
/// is added to its gradient and goes through the moments.
struct AdamSettings {
  double learning_rate = 5e-5;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.0;
  double l2 = 0.0;
  /// Keep both moments in bfloat16, stochastically rounded by (seed, parameter, step): a quarter less memory traffic
  /// for a table, a third less memory. An update computes with the values before rounding.
  bool bfloat16_moments = false;
};

/// Adam on a table (n x p) whose gradient is d_output (n x d) times weight (d x p); if wanted, d_weight (+)= d_output^T
/// table, with the table from before the update. A backend may do it without storing the gradient.
template <Backend B>
void factored_adam(Context<B>& ctx, const functors::AdamTarget<Real<B>>& table, In<B> d_output, In<B> weight,
                   Into<Real<B>> d_weight) {
  using T = Real<B>;
  if constexpr (requires { B::factored_adam(ctx, table, d_output, weight, d_weight); }) {
    B::factored_adam(ctx, table, d_output, weight, d_weight);
  } else {
    if (table.rounded_value.data != nullptr)
      linear_backward(ctx, ConstView<BFloat16>(table.rounded_value), d_output, d_weight, {});
    else
      linear_backward(ctx, In<B>(table.value), d_output, d_weight, {});
    Scratch<B> scratch(ctx);
    const MatrixView<T> grad = scratch.template matrix<T>(table.rows(), table.cols());
    gemm(ctx, Op::none, Op::none, T{1}, d_output, weight, grad);
    B::for_each(ctx, table.rows(), functors::AdamRow<T>{table, ConstView<T>(grad)});
  }
}

/// The two moments of an array, of T or of BFloat16; those of the other type are empty.
template <Backend B>
class AdamMoments {
 public:
  using T = Real<B>;
  using Memory = typename B::Memory;
  AdamMoments() = default;
  /// All moments zero.
  AdamMoments(Index rows, Index cols, bool rounded) {
    for (int i = 0; i < 2; ++i)
      if (rounded)
        rounded_[i] = Matrix<BFloat16, Memory>(rows, cols);
      else
        full_[i] = Matrix<T, Memory>(rows, cols);
  }
  Index size() const noexcept { return full_[0].size() + rounded_[0].size(); }
  AdamMoments clone() const {
    AdamMoments copy;
    for (int i = 0; i < 2; ++i) {
      copy.full_[i] = full_[i].clone();
      copy.rounded_[i] = rounded_[i].clone();
    }
    return copy;
  }
  /// Calls f(first moment, second moment) with views in their stored type; not at all if there are none.
  template <class F>
  void visit(const F& f) {
    if (!full_[0].empty()) f(full_[0].view(), full_[1].view());
    if (!rounded_[0].empty()) f(rounded_[0].view(), rounded_[1].view());
  }
  /// Moves the moments into an array of `size` elements, the new ones zero.
  void grow(Index size, bool rounded) {
    AdamMoments longer(1, size, rounded);
    for (int i = 0; i < 2; ++i) {
      copy(full_[i], longer.full_[i]);
      copy(rounded_[i], longer.rounded_[i]);
    }
    *this = std::move(longer);
  }

 private:
  template <class M>
  static void copy(const Matrix<M, Memory>& from, Matrix<M, Memory>& to) {
    if (!from.empty()) Memory::copy(to.data(), from.data(), static_cast<std::size_t>(from.size()) * sizeof(M));
  }
  Matrix<T, Memory> full_[2];
  Matrix<BFloat16, Memory> rounded_[2];
};

/// Updates every trainable parameter that has a gradient and clears its has_grad. Call before the tape is reset: the
/// gradients of tables point into the arena. The caller applies its schedule through `learning_rate`. Moments belong to
/// the optimizer and are allocated at its first step; one optimizer serves one store.
template <Backend B>
class AdamW {
 public:
  using T = Real<B>;
  explicit AdamW(AdamSettings settings) : settings_(settings) {}

  const AdamSettings& settings() const noexcept { return settings_; }
  /// An independent copy of settings, step count and moments.
  AdamW clone() const {
    AdamW copy(settings_);
    copy.step_count_ = step_count_;
    copy.moments_ = moments_.clone();
    for (const AdamMoments<B>& moments : table_moments_) copy.table_moments_.push_back(moments.clone());
    return copy;
  }
  void set_learning_rate(double rate) noexcept { settings_.learning_rate = rate; }
  /// Updates made so far.
  std::int64_t step_count() const noexcept { return step_count_; }
  void set_step_count(std::int64_t count) noexcept { step_count_ = count; }

  /// The part of the next update that changes from step to step.
  functors::AdamStep next_step() const { return at_step(step_count_ + 1); }
  /// In a step that may be replayed, where its updates read that part; null otherwise.
  void set_step_source(const functors::AdamStep* source) noexcept { step_source_ = source; }

  void step(Context<B>& ctx, ParameterStore<B>& parameters) {
    detail::with_memory_errors("a step of the optimizer", [&] { make_step(ctx, parameters); });
  }

  /// Allocates the moments, zero, where that has not been done.
  void prepare(ParameterStore<B>& parameters) {
    const bool rounded = settings_.bfloat16_moments;
    if (moments_.size() < parameters.arrays().size()) moments_.grow(parameters.arrays().size(), rounded);
    table_moments_.resize(parameters.tables().size());
    auto moments = table_moments_.begin();
    for (const FeatureTable<B>& table : parameters.tables()) {
      if (table.trainable && moments->size() == 0) *moments = AdamMoments<B>(table.own_rows(), table.cols(), rounded);
      ++moments;
    }
  }
  /// Bytes that `prepare` will allocate.
  std::size_t missing_bytes(const ParameterStore<B>& parameters) const {
    Index n = moments_.size() < parameters.arrays().size() ? parameters.arrays().size() : 0;
    for (std::size_t i = 0; i < parameters.tables().size(); ++i) {
      const FeatureTable<B>& table = parameters.tables()[i];
      if (table.trainable && (i >= table_moments_.size() || table_moments_[i].size() == 0))
        n += table.own_rows() * table.cols();
    }
    return static_cast<std::size_t>(2 * n) * (settings_.bfloat16_moments ? sizeof(BFloat16) : sizeof(T));
  }
  /// Calls f(x, its first moment, its second) for every trainable parameter or table x of the store; not at all before
  /// the first step. The moments are views of T, or of BFloat16 if the settings say so.
  template <class F>
  void for_each_moment(ParameterStore<B>& parameters, const F& f) {
    moments_.visit([&](auto all1, auto all2) {
      for (Parameter<B>& p : parameters)
        if (p.trainable && p.offset() + p.own_rows() * p.cols() <= all1.size()) {
          const auto part = [&](auto all) { return decltype(all)(all.data + p.offset(), p.own_rows(), p.cols()); };
          f(p, part(all1), part(all2));
        }
    });
    for (std::size_t i = 0; i < table_moments_.size(); ++i)
      table_moments_[i].visit([&](auto m, auto v) { f(parameters.tables()[i], m, v); });
  }

 private:
  void make_step(Context<B>& ctx, ParameterStore<B>& parameters) {
    prepare(parameters);
    ++step_count_;
    // Tables first: their gradient needs the projection weight as the backward pass saw it.
    auto moments = table_moments_.begin();
    for (FeatureTable<B>& table : parameters.tables()) {
      // Where its gradient was made, beside what the other branch still does.
      if (table.trainable && table.has_grad())
        ctx.in_branch(table.gradient().branch, [&] { update(ctx, table, *moments); });
      ++moments;
    }
    update(ctx, parameters);
    parameters.clear_gradients();
  }
  void update(Context<B>& ctx, FeatureTable<B>& table, AdamMoments<B>& moments) {
    const auto& grad = table.gradient();
    Parameter<B>* const weight = grad.fused_weight;
    Into<T> d_weight;
    if (weight != nullptr) d_weight = weight->has_grad ? add_to(weight->grad()) : Into<T>(weight->grad());
    if (weight != nullptr && weight->has_grad) ctx.wait_for_other_branch();  // which may have written it
    if (weight != nullptr && table.blocks() != nullptr) {
      Scratch<B> scratch(ctx);  // of this rank's rows
      const MatrixView<T> part = scratch.template matrix<T>(weight->rows(), weight->cols());
      factored_adam<B>(ctx, target(ctx, table, moments), grad.d_output, grad.weight, part);
      sum_over_ranks<B>(ctx, part);
      scaled_copy<B>(ctx, T{1}, part, d_weight);
    } else {
      factored_adam(ctx, target(ctx, table, moments), grad.d_output, grad.weight, d_weight);
    }
    if (weight != nullptr) weight->has_grad = true;
  }
  functors::AdamTarget<T> target(const Context<B>& ctx, FeatureTable<B>& table, AdamMoments<B>& moments) const {
    functors::AdamTarget<T> out{rule(table.learning_rate_scale), {}, {}, {}};
    table.with_values([&](auto values) { out.set_value(values); });
    moments.visit([&](auto m, auto v) { out.set_moments(m, v); });
    out.key = key(ctx, parameter_stream(table.name));
    out.first_row = first_row(table);
    out.all_cols = table.cols();
    return out;
  }
  static Index first_row(const auto& x) { return x.blocks() != nullptr ? x.blocks()->begin() : 0; }
  /// All parameters at once, without the tables.
  void update(Context<B>& ctx, ParameterStore<B>& parameters) {
    Index end = 0;
    next_.clear();
    for (const Parameter<B>& p : parameters) {
      const Index rows = p.own_rows();
      if (!p.trainable || !p.has_grad || rows * p.cols() == 0) continue;
      end += functors::AdamSegments<T, T>::n_pieces(rows, p.cols());
      next_.push_back({p.offset(), rows, p.cols(), p.learning_rate_scale, parameter_stream(p.name), end, first_row(p)});
    }
    if (next_.empty()) return;
    const functors::AdamSegment* const segments = there(next_);
    moments_.visit([&](auto m, auto v) {
      B::for_each(ctx, end,
                  functors::AdamSegments<T, std::remove_pointer_t<decltype(m.data)>>{
                      rule(1), at_step(step_count_), parameters.arrays().values(), parameters.arrays().gradients(),
                      m.data, v.data, key(ctx, 0), segments, static_cast<int>(next_.size())});
    });
  }
  /// The list in the backend's memory, cached: which parameters have a gradient hardly ever changes, and a recorded
  /// step keeps reading the same address.
  const functors::AdamSegment* there(const std::vector<functors::AdamSegment>& list) {
    for (const Listed& known : lists_)
      if (known.list == list) return known.there.data();
    return lists_.emplace_back(Listed{list, Buffer<functors::AdamSegment, typename B::Memory>(list)}).there.data();
  }
  /// Steps count from 1, so these draws differ from those of the initial values, step 0 of the same stream.
  RandomKey key(const Context<B>& ctx, std::uint32_t stream) const {
    return ctx.key(stream, static_cast<std::uint32_t>(step_count_));
  }
  functors::AdamUpdate<T> rule(double scale) const {
    const functors::AdamUpdate<T> unset{static_cast<T>(settings_.beta1),
                                        static_cast<T>(settings_.beta2),
                                        static_cast<T>(settings_.epsilon),
                                        T{},
                                        T{},
                                        T{},
                                        scale,
                                        step_source_,
                                        static_cast<T>(settings_.l2)};
    return unset.at(at_step(step_count_));
  }
  functors::AdamStep at_step(std::int64_t count) const {
    const auto t = static_cast<double>(count);
    return {settings_.learning_rate, settings_.weight_decay, 1.0 - std::pow(settings_.beta1, t),
            1.0 / std::sqrt(1.0 - std::pow(settings_.beta2, t))};
  }
  AdamSettings settings_;
  std::int64_t step_count_ = 0;
  const functors::AdamStep* step_source_ = nullptr;
  AdamMoments<B> moments_;                     ///< of the store's array
  std::vector<AdamMoments<B>> table_moments_;  ///< of its tables, in order; empty for frozen ones
  struct Listed {
    std::vector<functors::AdamSegment> list;
    Buffer<functors::AdamSegment, typename B::Memory> there;
  };
  std::vector<functors::AdamSegment> next_;
  std::vector<Listed> lists_;
};

}  // namespace rearm::REARM_ABI
