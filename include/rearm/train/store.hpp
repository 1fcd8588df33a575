#pragma once
/// @file store.hpp
/// What a trainer keeps besides the current weights: the best ones, and the state of the run.

#include <rearm/core/communicator.hpp>
#include <rearm/core/parameters.hpp>
#include <rearm/eval/metrics.hpp>
#include <rearm/optim/adamw.hpp>
#include <rearm/train/early_stopping.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// Where a run stands, after an epoch or in the middle of one.
struct TrainState {
  int epoch = -1;                    ///< last finished epoch
  std::int64_t step = 0;             ///< steps made in the run
  Index epoch_step = 0;              ///< of those, in the epoch after `epoch`
  std::vector<double> epoch_losses;  ///< sums over these steps: of the total, then of each part
  double epoch_seconds = 0;          ///< that these steps took
  EarlyStoppingState stopping;
  MetricValues best_valid;
  std::vector<double> step_seconds;  ///< median step time of each epoch
};

/// Parameters and the optimizer that trains them, null where they are only kept; `name` is empty for a model's own.
template <Backend B>
struct Trained {
  std::string name;
  ParameterStore<B>* parameters;
  AdamW<B>* optimizer;
};

/// Where a trainer keeps things. Of several ranks each has one; all are called together. A run's folder is one
/// (run/run_folder.hpp); without a store, the best weights are kept in memory.
template <Backend B>
class TrainStore {
 public:
  using T = Real<B>;
  virtual ~TrainStore() = default;
  /// Where the run stood at its last checkpoint; nothing when it begins anew.
  virtual std::optional<TrainState> read_state() = 0;
  /// Puts weights and moments where they were then. In the middle of an epoch the list has `EpochStart` too.
  virtual void restore(std::span<const Trained<B>> trained) = 0;
  virtual void save_checkpoint(std::span<const Trained<B>> trained, const TrainState& state) = 0;
  /// The weights are those of the best epoch so far; `users` and `items` are its embeddings.
  virtual void save_best(const ParameterStore<B>& parameters, int epoch, const SharedView<T>& users,
                         const SharedView<T>& items) = 0;
  /// Restores the weights of the best epoch.
  virtual void load_best(ParameterStore<B>& parameters) = 0;
  /// Bytes of memory that keeping the best weights will take.
  virtual std::size_t missing_bytes(const ParameterStore<B>&) const { return 0; }
};

/// Keeps the best weights in memory; writes no checkpoints.
template <Backend B>
class MemoryStore final : public TrainStore<B> {
 public:
  using T = Real<B>;
  std::optional<TrainState> read_state() override { return std::nullopt; }
  void restore(std::span<const Trained<B>>) override {}
  void save_checkpoint(std::span<const Trained<B>>, const TrainState&) override {}
  void save_best(const ParameterStore<B>& parameters, int, const SharedView<T>&, const SharedView<T>&) override {
    std::vector<Buffer<std::byte, Memory>> copies = std::move(best_);
    std::size_t i = 0;
    best_.clear();
    parameters.for_each([&](const auto& x) {
      if (!x.persistent) return;
      x.with_values([&](auto values) {
        const auto bytes = values.size() * static_cast<Index>(sizeof *values.data);
        if (i == copies.size()) copies.emplace_back(bytes);
        Memory::copy(copies[i++].data(), values.data, static_cast<std::size_t>(bytes));
      });
    });
    best_ = std::move(copies);  // all of them or none
  }
  void load_best(ParameterStore<B>& parameters) override {
    auto best = best_.begin();
    parameters.for_each([&](auto& x) {
      if (!x.persistent) return;
      x.with_values([&](auto values) { Memory::copy(values.data, best->data(), best->bytes()); });
      ++best;
    });
  }
  std::size_t missing_bytes(const ParameterStore<B>& parameters) const override {
    std::size_t bytes = 0;
    parameters.for_each([&](const auto& x) {
      if (x.persistent && best_.empty())
        bytes += static_cast<std::size_t>(x.own_rows() * x.cols()) * (x.rounded() ? sizeof(BFloat16) : sizeof(T));
    });
    return bytes;
  }

 private:
  using Memory = typename B::Memory;
  std::vector<Buffer<std::byte, Memory>> best_;
};

}  // namespace rearm::REARM_ABI
