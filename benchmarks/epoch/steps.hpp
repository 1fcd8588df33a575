#pragma once
/// @file steps.hpp
/// Training steps as the trainer takes them, and the memory of a process that takes them.

#include <benchmarks/support/backend.hpp>

#include <benchmark/benchmark.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>
#include <utility>

namespace rearm::bench {

/// One epoch's steps after the other's: batches, losses, gradients, updates; on a device recorded and replayed. The
/// context, the model and the data must outlive it.
class Steps {
 public:
  Steps(Context<B>& ctx, AnyRecommender<B> model, const Dataset& data, const TrainConfig& c)
      : ctx_(ctx),
        model_(std::move(model)),
        config_(c),
        batches_(ctx, data.train, known_items(data, c.negatives == Negatives::exclude_all), data.n_items, c.batch_size,
                 c.seed, model_.n_negatives()),
        optimizer_({.learning_rate = c.learning_rate,
                    .weight_decay = model_.decays_weights() ? c.weight_decay : 0.0,
                    .bfloat16_moments = c.bfloat16_moments}),
        tape_(ctx),
        replay_(ctx),
        sums_(1, 1 + max_loss_parts) {
    for (FeatureTable<B>& table : model_.parameters().tables()) table.fuses_weight_gradient = true;
    begin_epoch(0);
  }

  /// The next step; after an epoch's last the next epoch begins.
  void operator()() {
    if (!batches_.next()) {
      begin_epoch(epoch_ + 1);
      batches_.next();
    }
    take();
  }
  /// A whole epoch, whatever is left of the one before.
  void epoch() {
    begin_epoch(epoch_ + 1);
    while (batches_.next()) take();
  }
  Index per_epoch() const { return batches_.n_batches(); }
  BatchView<B::Memory> batch() const { return batches_.batch(); }
  /// Of the last step, before its update; on the host.
  double loss() const { return loss_; }
  std::size_t launches() const { return replay_.launches(); }
  std::string failure() const { return std::string(replay_.failure()); }

 private:
  void begin_epoch(std::uint32_t epoch) {
    epoch_ = epoch;
    first_ = true;
    batches_.begin_epoch(epoch);
    if (model_.begin_epoch(ctx_, static_cast<int>(epoch))) replay_.forget();
  }
  void take() {
    const BatchView<B::Memory> batch = batches_.batch();
    optimizer_.set_learning_rate(learning_rate(config_, static_cast<int>(epoch_), step_, batches_.n_batches()));
    replay_.run(step_, batch.size(), optimizer_, [&] {
      tape_.reset();
      const Loss<B> loss = model_.loss(tape_, {batch, step_, true, first_});
      const Var<B> total = loss.total();
      if constexpr (on_host) {
        loss_ = scalar(total);
      } else {
        ScaledCopies<B> copies(ctx_);
        Index column = 0;
        copies.add({1.0F, total.value(), add_to(sums_.view().col_block(column++, 1))});
        for (const auto& part : loss.parts())
          copies.add({1.0F, part.value.value(), add_to(sums_.view().col_block(column++, 1))});
        copies.run();
      }
      tape_.backward(total, AfterBackward::release);
      optimizer_.step(ctx_, model_.parameters());
      benchmark::DoNotOptimize(total.value().data);
    });
    ++step_;
    first_ = false;
  }

  Context<B>& ctx_;
  AnyRecommender<B> model_;
  TrainConfig config_;
  BatchSource<B> batches_;
  AdamW<B> optimizer_;
  Tape<B> tape_;
  StepReplay<B> replay_;
  BackendMatrix sums_;
  double loss_ = 0;
  std::uint32_t epoch_ = 0;
  std::uint32_t step_ = 0;
  bool first_ = true;  ///< of its epoch
};

/// From here on the peak is counted anew, where the system lets a process ask for that.
inline void forget_peak() { std::ofstream("/proc/self/clear_refs") << 5; }

inline void report_memory(benchmark::State& state) {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word && word != "VmHWM:") {
  }
  double kibibytes = 0;
  if (status >> kibibytes) state.counters["process_peak_MB"] = kibibytes * 1024 / 1e6;
#if defined(REARM_BENCH_CUDA)
  std::size_t free = 0, total = 0;
  REARM_CUDA_CHECK(cudaMemGetInfo(&free, &total));
  state.counters["device_used_MB"] = static_cast<double>(total - free) / 1e6;  // by other programs as well
#endif
}

}  // namespace rearm::bench
