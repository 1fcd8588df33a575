#pragma once
/// @file trainer.hpp
/// The training loop: sampled epochs, validation, early stopping, best weights, checkpoints (spec: the authors'
/// program).

#include <rearm/autodiff/tape.hpp>
#include <rearm/data/dataset.hpp>
#include <rearm/data/sampler.hpp>
#include <rearm/eval/evaluator.hpp>
#include <rearm/loss/values.hpp>
#include <rearm/model/config.hpp>
#include <rearm/optim/adamw.hpp>
#include <rearm/train/batch_source.hpp>
#include <rearm/train/checkpoint.hpp>
#include <rearm/train/early_stopping.hpp>
#include <rearm/train/step_replay.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <utility>
#include <vector>

namespace rearm {

/// What the trainer needs of a model: a loss on a batch, of which the first part is the total; representations (users
/// first); parameters.
template <class M, class B>
concept Trainable = Backend<B> &&
    requires(M& model, Tape<B>& tape, BatchView<typename B::Memory> batch, std::uint32_t step) {
  { model.loss(tape, batch, step).parts() } -> std::convertible_to<LossParts<B>>;
  { model.representation(tape) } -> std::convertible_to<Var<B>>;
  { model.parameters() } -> std::convertible_to<ParameterStore<B>&>;
};

/// One training step, told to on_step.
struct StepReport {
  int epoch = 0;
  Index step = 0;      ///< within the epoch, from 0
  Index n_steps = 0;   ///< of the epoch
  LossValues losses;   ///< on a device: the mean of the epoch so far, as it was last read
  double seconds = 0;  ///< until the host went on; a device may still be at it
};

/// One epoch, told to on_epoch after validation.
struct EpochReport {
  int epoch = 0;
  LossValues losses;   ///< means over the epoch's steps
  MetricValues valid;  ///< empty in an epoch without validation
  bool improved = false;
  double train_seconds = 0;
  double valid_seconds = 0;
};

struct TrainOptions {
  /// Where model.safetensors (best weights) and checkpoint.safetensors go; empty: kept in memory, no checkpoint.
  std::filesystem::path directory;
  bool resume = false;       ///< continue from directory/checkpoint.safetensors if there is one
  int checkpoint_every = 1;  ///< epochs
  std::function<void(const StepReport&)> on_step;
  std::function<void(const EpochReport&)> on_epoch;
  /// A device's losses are read every that many steps, for which the host waits; 0: at the epoch's end. A loss that is
  /// not finite is noticed then. The host's are read every step.
  int read_losses_every = 50;
  std::function<bool()> interrupted;  ///< polled before each step; true ends the run, best weights kept
  /// Learning rate of an epoch; empty: config.learning_rate * config.lr_decay^epoch.
  std::function<double(int epoch)> schedule;
  std::vector<Index> cutoffs = {10, 20};
  std::vector<Metric> metrics = {all_metrics.begin(), all_metrics.end()};
};

struct TrainResult {
  int epochs = 0;       ///< finished, those before a resume included
  int best_epoch = -1;  ///< -1: none was validated
  bool interrupted = false;
  MetricValues valid;              ///< of the best epoch
  MetricValues test;               ///< with the weights of the best epoch
  double step_seconds_median = 0;  ///< over the epochs, of each one's median step; on a device of its mean
};

/// Trains `model` on `data`. Both, and the context, must outlive it.
template <Backend B, Trainable<B> M>
class Trainer {
 public:
  using T = typename B::Scalar;

  Trainer(Context<B>& ctx, M& model, const Dataset& data, const Config& config, TrainOptions options = {})
      : ctx_(ctx),
        model_(model),
        data_(data),
        config_(config),
        options_(std::move(options)),
        seen_(items_by_user(data.train, data.n_users)),
        valid_(items_by_user(data.valid, data.n_users)),
        test_(items_by_user(data.test, data.n_users)),
        optimizer_({.learning_rate = config.learning_rate,
                    .weight_decay = config.variant == Variant::reference ? config.weight_decay : 0.0,
                    .bfloat16_moments = config.bfloat16_moments}),
        stopping_(config.patience, config.round_validation_metric),
        tape_(ctx),
        replay_(ctx) {
    tape_.set_fused_tables(true);
    if constexpr (!on_host) loss_sums_ = Matrix<T, typename B::Memory>(1, 5);
  }

  /// Runs to early stopping, config.epochs or an interruption; afterwards the model holds the best weights.
  /// Throws NumericError when a loss is not finite (the last checkpoint and best weights stay).
  TrainResult run() {
    BatchSource<B> batches(ctx_, data_.train, known_items(data_, config_.negatives == Negatives::exclude_all),
                           data_.n_items, config_.batch_size, config_.seed);
    replay_.forget();  // an earlier run had its own batches, and `restore` makes new moments
    for (Parameter<B>& p : model_.parameters()) p.has_grad = false;  // left by a step that an exception ended
    TrainResult result;
    if (options_.resume && std::filesystem::exists(file("checkpoint.safetensors"))) restore();
    while (state_.epoch + 1 < config_.epochs && !stopping_.should_stop()) {
      EpochReport report = train_epoch(batches, state_.epoch + 1, result);
      if (result.interrupted) break;
      validate_epoch(report);
      state_.epoch = report.epoch;
      state_.stopping = stopping_.state();
      if (!options_.directory.empty() && (report.epoch + 1) % options_.checkpoint_every == 0)
        save_checkpoint(file("checkpoint.safetensors"), model_.parameters(), config_, state_);
      if (options_.on_epoch) options_.on_epoch(report);
    }
    result.epochs = state_.epoch + 1;
    result.best_epoch = stopping_.best_epoch();
    result.valid = state_.best_valid;
    result.step_seconds_median = median(state_.step_seconds);
    if (result.best_epoch >= 0) {
      restore_best();
      result.test = evaluate(test_);
    }
    return result;
  }

  /// Metrics of a split with the weights as they are.
  MetricValues evaluate(const Adjacency& relevant) {
    const MatrixView<const T> r = representation();
    return rearm::evaluate<B>(ctx_, r.row_block(0, data_.n_users), r.row_block(data_.n_users, data_.n_items), &seen_,
                              relevant, options_.cutoffs, options_.metrics);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr bool on_host = B::Memory::host_accessible;
  static double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  }
  static double median(std::vector<double> values) {
    if (values.empty()) return 0;
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
  }
  std::filesystem::path file(const char* name) const { return options_.directory / name; }
  /// Valid until the tape is reset.
  MatrixView<const T> representation() {
    tape_.reset();
    tape_.set_recording(false);
    const Var<B> r = model_.representation(tape_);
    tape_.set_recording(true);
    return r.value();
  }

  EpochReport train_epoch(BatchSource<B>& batches, int epoch, TrainResult& result) {
    EpochReport report;
    report.epoch = epoch;
    optimizer_.set_learning_rate(options_.schedule ? options_.schedule(epoch)
                                                   : config_.learning_rate * std::pow(config_.lr_decay, epoch));
    batches.begin_epoch(static_cast<std::uint32_t>(epoch));
    const auto start = Clock::now();
    std::vector<double> seconds;
    Index n = 0;
    while (!result.interrupted && batches.next()) {
      if (options_.interrupted && options_.interrupted()) {
        result.interrupted = true;
        break;
      }
      const auto step_start = Clock::now();
      const bool last = n + 1 == batches.n_batches();
      const LossValues losses = step(epoch, n, batches.batch(), last);
      seconds.push_back(seconds_since(step_start));
      if constexpr (on_host) accumulate(report.losses, losses);
      if (options_.on_step) options_.on_step({epoch, n, batches.n_batches(), losses, seconds.back()});
      ++n;
    }
    if constexpr (on_host) {
      if (n > 0) divide(report.losses, static_cast<double>(n));
    } else {
      report.losses = mean_losses_;
      if (n > 0) seconds.assign(1, seconds_since(start) / static_cast<double>(n));  // a step only starts work here
    }
    if (!result.interrupted) state_.step_seconds.push_back(median(seconds));
    report.train_seconds = seconds_since(start);
    return report;
  }
  LossValues step(int epoch, Index n, BatchView<typename B::Memory> batch, bool last) {
    LossValues values;
    const auto work = [&] {
      tape_.reset();
      const LossParts<B> losses = model_.loss(tape_, batch, static_cast<std::uint32_t>(state_.step)).parts();
      if constexpr (on_host)
        require_finite(values = loss_values(losses), epoch);
      else
        add_to_sums(losses);
      tape_.backward(losses[0], AfterBackward::release);
      optimizer_.step(ctx_, model_.parameters());
    };
    if constexpr (!on_host)
      if (n == 0) fill(ctx_, T{0}, loss_sums_.view());
    replay_.run(static_cast<std::uint32_t>(state_.step), batch.size(), optimizer_, work);
    ++state_.step;
    if constexpr (!on_host) {
      const int every = options_.read_losses_every;
      if (last || (every > 0 && (n + 1) % every == 0)) read_sums(epoch, n + 1);
      values = mean_losses_;
    }
    return values;
  }
  void require_finite(const LossValues& values, int epoch) const {
    if (!std::isfinite(values.total))
      throw NumericError(detail::message("the loss is ", values.total, " (bpr ", values.bpr, ", contrast ",
                                         values.contrast, ", orthogonal ", values.orthogonal, ") at step ", state_.step,
                                         " of epoch ", epoch, "; lower learning_rate or look at the features"));
  }
  /// Not on the host: the epoch's losses are added up where they are made.
  void add_to_sums(const LossParts<B>& losses) {
    ScaledCopies<B> sums(ctx_);
    for (std::size_t i = 0; i < losses.size(); ++i)
      if (!losses[i].empty())
        sums.add({T{1}, losses[i].value(), add_to(loss_sums_.view().col_block(static_cast<Index>(i), 1))});
    sums.run();
  }
  void read_sums(int epoch, Index n_steps) {
    const OnHost<T, typename B::Memory> sums(ConstView<T>(loss_sums_.view()));
    std::array<double, 5> means{};
    for (std::size_t i = 0; i < means.size(); ++i)
      means[i] = static_cast<double>(sums.view()(0, static_cast<Index>(i))) / static_cast<double>(n_steps);
    mean_losses_ = loss_values(means);
    require_finite(mean_losses_, epoch);
  }
  void validate_epoch(EpochReport& report) {
    const bool last = report.epoch + 1 == config_.epochs;
    if ((report.epoch + 1) % config_.eval_every != 0 && !last) return;
    const auto start = Clock::now();
    report.valid = evaluate(valid_);
    report.improved = stopping_.update(report.epoch, report.valid.at("recall@20"));
    if (report.improved) {
      state_.best_valid = report.valid;
      keep_best();
    }
    report.valid_seconds = seconds_since(start);
  }
  void keep_best() {
    if (!options_.directory.empty()) {
      save_model<B>(file("model.safetensors"), model_.parameters(), config_, data_, representation(), seen_);
      return;
    }
    best_.clear();
    for (const Parameter<B>& p : model_.parameters())
      if (p.trainable) best_.push_back({p.value.clone(), p.rounded_value.clone()});
  }
  void restore_best() {
    if (!options_.directory.empty()) return load_parameters<B>(file("model.safetensors"), model_.parameters(), config_);
    std::size_t i = 0;
    for (Parameter<B>& p : model_.parameters())
      if (p.trainable) {
        p.value.assign(best_[i].value);
        p.rounded_value.assign(best_[i++].rounded);
      }
  }
  void restore() {
    state_ = load_checkpoint<B>(file("checkpoint.safetensors"), model_.parameters(), config_);
    optimizer_.set_step_count(state_.step);
    stopping_ = EarlyStopping(config_.patience, config_.round_validation_metric, state_.stopping);
  }
  static void accumulate(LossValues& sum, const LossValues& x) {
    sum.total += x.total;
    sum.bpr += x.bpr;
    sum.contrast += x.contrast;
    sum.orthogonal += x.orthogonal;
    sum.l2 += x.l2;
  }
  static void divide(LossValues& sum, double n) {
    for (double* value : {&sum.total, &sum.bpr, &sum.contrast, &sum.orthogonal, &sum.l2}) *value /= n;
  }

  Context<B>& ctx_;
  M& model_;
  const Dataset& data_;
  Config config_;
  TrainOptions options_;
  Adjacency seen_;
  Adjacency valid_;
  Adjacency test_;
  AdamW<B> optimizer_;
  EarlyStopping stopping_;
  Tape<B> tape_;
  StepReplay<B> replay_;
  Matrix<T, typename B::Memory> loss_sums_;
  LossValues mean_losses_;
  TrainState state_;
  struct Values {
    Matrix<T, typename B::Memory> value;
    Matrix<BFloat16, typename B::Memory> rounded;
  };
  std::vector<Values> best_;
};

}  // namespace rearm
