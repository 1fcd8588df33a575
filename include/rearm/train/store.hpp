#pragma once
/// @file store.hpp
/// What a trainer keeps beside the weights it is working on: the best ones, and where the run stands.

#include <rearm/core/parameters.hpp>
#include <rearm/eval/metrics.hpp>
#include <rearm/optim/adamw.hpp>
#include <rearm/train/early_stopping.hpp>

#include <cstdint>
#include <optional>
#include <vector>

namespace rearm {

/// Where a run stands after an epoch.
struct TrainState {
  int epoch = -1;  ///< last finished epoch
  std::int64_t step = 0;
  EarlyStoppingState stopping;
  MetricValues best_valid;
  std::vector<double> step_seconds;  ///< median of each epoch
};

/// Told by a trainer what to keep. A run's folder is one (run/run_folder.hpp); without any the best weights are kept in
/// memory.
template <Backend B>
class TrainStore {
 public:
  using T = Real<B>;
  virtual ~TrainStore() = default;
  /// Puts weights and moments where they were after the last checkpoint; nothing when the run begins anew.
  virtual std::optional<TrainState> restore(ParameterStore<B>& parameters) = 0;
  virtual void save_checkpoint(const ParameterStore<B>& parameters, const TrainState& state) = 0;
  /// The weights are those of the best epoch so far; `users` and `items` are its embeddings.
  virtual void save_best(const ParameterStore<B>& parameters, int epoch, ConstView<T> users, ConstView<T> items) = 0;
  /// Puts the weights of the best epoch back.
  virtual void load_best(ParameterStore<B>& parameters) = 0;
};

/// Keeps the best weights in memory and no checkpoint.
template <Backend B>
class MemoryStore final : public TrainStore<B> {
 public:
  using T = Real<B>;
  std::optional<TrainState> restore(ParameterStore<B>&) override { return std::nullopt; }
  void save_checkpoint(const ParameterStore<B>&, const TrainState&) override {}
  void save_best(const ParameterStore<B>& parameters, int, ConstView<T>, ConstView<T>) override {
    best_.clear();
    for (const Parameter<B>& p : parameters)
      if (p.trainable) best_.push_back({p.value.clone(), p.rounded_value.clone()});
  }
  void load_best(ParameterStore<B>& parameters) override {
    std::size_t i = 0;
    for (Parameter<B>& p : parameters)
      if (p.trainable) {
        p.value.assign(best_[i].value);
        p.rounded_value.assign(best_[i++].rounded);
      }
  }

 private:
  struct Values {
    Matrix<T, typename B::Memory> value;
    Matrix<BFloat16, typename B::Memory> rounded;
  };
  std::vector<Values> best_;
};

}  // namespace rearm
