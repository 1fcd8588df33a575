#pragma once
/// @file store.hpp
/// What a trainer keeps besides the current weights: the best ones, and the state of the run.

#include <rearm/core/parameters.hpp>
#include <rearm/eval/metrics.hpp>
#include <rearm/optim/adamw.hpp>
#include <rearm/train/early_stopping.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace rearm::REARM_ABI {

/// The state of a run after an epoch.
struct TrainState {
  int epoch = -1;  ///< last finished epoch
  std::int64_t step = 0;
  EarlyStoppingState stopping;
  MetricValues best_valid;
  std::vector<double> step_seconds;  ///< median step time of each epoch
};

/// Parameters and the optimizer that trains them; `name` is empty for those of the model itself.
template <Backend B>
struct Trained {
  std::string name;
  ParameterStore<B>* parameters;
  AdamW<B>* optimizer;
};

/// Where a trainer keeps things. A run's folder is one (run/run_folder.hpp); without a store, the best weights are kept
/// in memory.
template <Backend B>
class TrainStore {
 public:
  using T = Real<B>;
  virtual ~TrainStore() = default;
  /// Restores weights and moments from the last checkpoint; returns nothing when the run starts from scratch.
  virtual std::optional<TrainState> restore(std::span<const Trained<B>> trained) = 0;
  virtual void save_checkpoint(std::span<const Trained<B>> trained, const TrainState& state) = 0;
  /// The weights are those of the best epoch so far; `users` and `items` are its embeddings.
  virtual void save_best(const ParameterStore<B>& parameters, int epoch, ConstView<T> users, ConstView<T> items) = 0;
  /// Restores the weights of the best epoch.
  virtual void load_best(ParameterStore<B>& parameters) = 0;
};

/// Keeps the best weights in memory; writes no checkpoints.
template <Backend B>
class MemoryStore final : public TrainStore<B> {
 public:
  using T = Real<B>;
  std::optional<TrainState> restore(std::span<const Trained<B>>) override { return std::nullopt; }
  void save_checkpoint(std::span<const Trained<B>>, const TrainState&) override {}
  void save_best(const ParameterStore<B>& parameters, int, ConstView<T>, ConstView<T>) override {
    best_.clear();
    parameters.for_each([&](const auto& x) {
      if (!x.trainable) return;
      x.with_values([&](auto values) {
        const auto bytes = values.size() * static_cast<Index>(sizeof *values.data);
        Memory::copy(best_.emplace_back(bytes).data(), values.data, static_cast<std::size_t>(bytes));
      });
    });
  }
  void load_best(ParameterStore<B>& parameters) override {
    auto best = best_.begin();
    parameters.for_each([&](auto& x) {
      if (!x.trainable) return;
      x.with_values([&](auto values) { Memory::copy(values.data, best->data(), best->bytes()); });
      ++best;
    });
  }

 private:
  using Memory = typename B::Memory;
  std::vector<Buffer<std::byte, Memory>> best_;
};

}  // namespace rearm::REARM_ABI
