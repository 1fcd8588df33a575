#pragma once
/// @file trainer.hpp
/// The training loop: sampled epochs, validation, early stopping, best weights, checkpoints (spec: the authors'
/// program). For any model of the contract in recommender.hpp.

#include <rearm/autodiff/tape.hpp>
#include <rearm/data/dataset.hpp>
#include <rearm/eval/evaluator.hpp>
#include <rearm/loss/loss.hpp>
#include <rearm/optim/adamw.hpp>
#include <rearm/train/batch_source.hpp>
#include <rearm/train/config.hpp>
#include <rearm/train/early_stopping.hpp>
#include <rearm/train/recommender.hpp>
#include <rearm/train/step_replay.hpp>
#include <rearm/train/store.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// One training step, reported to on_step.
struct StepReport {
  int epoch = 0;
  Index step = 0;      ///< within the epoch, from 0
  Index n_steps = 0;   ///< of the epoch
  LossValues losses;   ///< on a device: mean over the epoch so far, as last read
  double seconds = 0;  ///< until the host moved on; a device may still be working
};

/// One epoch, reported to on_epoch after validation.
struct EpochReport {
  int epoch = 0;
  LossValues losses;   ///< means over the epoch's steps
  MetricValues valid;  ///< empty in an epoch without validation
  bool improved = false;
  double train_seconds = 0;
  double valid_seconds = 0;
};

struct TrainOptions {
  /// Called by run() before the first step, once everything the run needs (data, checkpoint) has proved good.
  std::function<void()> on_begin;
  int checkpoint_every = 1;  ///< in epochs; a new best epoch is saved in any case
  std::function<void(const StepReport&)> on_step;
  std::function<void(const EpochReport&)> on_epoch;  ///< before the epoch's checkpoint
  /// How often a device's losses are read, in steps; the host waits for it. 0: at the end of the epoch. A loss that is
  /// not finite is noticed only then. The host's losses are read every step.
  int read_losses_every = 50;
  std::function<bool()> interrupted;  ///< polled before each step; true ends the run, keeping the best weights
  /// Learning rate of an epoch; if empty, learning_rate * lr_decay^epoch from the settings.
  std::function<double(int epoch)> schedule;
  std::vector<Index> cutoffs = {10, 20};
  std::vector<Metric> metrics = {all_metrics.begin(), all_metrics.end()};
};

struct TrainResult {
  int epochs = 0;       ///< finished, including those before a resume
  int best_epoch = -1;  ///< -1 if none was validated
  bool interrupted = false;
  MetricValues valid;              ///< of the best epoch
  MetricValues test;               ///< with the weights of the best epoch
  double step_seconds_median = 0;  ///< over epochs, of the median step; on a device, of the mean step
};

/// Trains `model` on `data`. The model, the data, the context and the store must outlive it.
template <Backend B>
class Trainer {
 public:
  using T = Real<B>;

  /// `store` keeps checkpoints and the best weights; if null, the best weights stay in memory. Throws ConfigError for
  /// settings that are out of range or watch a metric that validation does not compute.
  Trainer(Context<B>& ctx, AnyRecommender<B> model, const Dataset& data, const TrainConfig& config,
          TrainOptions options = {}, TrainStore<B>* store = nullptr)
      : ctx_(ctx),
        model_(std::move(model)),
        data_(data),
        config_((check(config, options), config)),
        options_(std::move(options)),
        store_(store != nullptr ? *store : in_memory_),
        seen_(items_by_user(data.train, data.n_users)),
        valid_(relevant(data.valid)),
        test_(relevant(data.test)),
        optimizer_({.learning_rate = config.learning_rate,
                    .weight_decay = model_.decays_weights() ? config.weight_decay : 0.0,
                    .bfloat16_moments = config.bfloat16_moments}),
        stopping_(config.patience, config.round_validation_metric),
        tape_(ctx),
        replay_(ctx) {
    if constexpr (!on_host) loss_sums_ = Matrix<T, typename B::Memory>(1, 1 + max_loss_parts);
  }

  /// The checks of the constructor.
  static void check(const TrainConfig& config, const TrainOptions& options) {
    check_limits(config);
    if (options.checkpoint_every < 1)
      throw ConfigError(detail::message("checkpoint_every = ", options.checkpoint_every, ": must be at least 1"));
    std::string computed;
    for (const Metric metric : options.metrics)
      for (const Index k : options.cutoffs) {
        const std::string name = metric_name(metric, k);
        if (name == config.watch) return;
        computed += (computed.empty() ? "" : ", ") + name;
      }
    throw ConfigError(detail::message("watch = '", config.watch, "': must be a metric that validation computes: ",
                                      computed.empty() ? "none is asked for" : computed));
  }

  /// Throws ConfigError or DataError where no batches can be drawn from the data.
  static void check_data(const TrainConfig& config, const Dataset& data, int n_negatives = 1) {
    const bool held_out = config.negatives == Negatives::exclude_all;
    const Adjacency known = known_items(data, held_out);
    if (held_out) {
      const Adjacency train = known_items(data, false);
      for (Index u = 0; u < known.rows(); ++u)
        if (train.degree(u) > 0 && train.degree(u) < data.n_items && known.degree(u) >= data.n_items)
          throw DataError(detail::message("user ", u, " has all ", data.n_items, " items in train, valid and test ",
                                          "together, so that no negative can be drawn; use negatives = exclude_train ",
                                          "(--negatives exclude_train), or drop that user's pairs"));
    }
    PairSampler::check(data.train, known, data.n_items, config.batch_size, n_negatives);
  }

  /// Runs until early stopping, the last epoch or an interruption; afterwards the model holds the best weights. From
  /// then on feature tables leave their weights' gradients to the optimizer (FeatureTable::fuses_weight_gradient).
  /// Throws NumericError when a loss is not finite (the last checkpoint and best weights stay).
  TrainResult run() {
    check_data(config_, data_, model_.n_negatives());
    BatchSource<B> batches(ctx_, data_.train, known_items(data_, config_.negatives == Negatives::exclude_all),
                           data_.n_items, config_.batch_size, config_.seed, model_.n_negatives());
    replay_.forget();                       // an earlier run had its own batches, and `restore` makes new moments
    model_.parameters().clear_gradients();  // left by a step that an exception ended
    for (FeatureTable<B>& table : model_.parameters().tables()) table.fuses_weight_gradient = true;
    std::vector<Trained<B>> trained = model_.inner_networks();
    trained.insert(trained.begin(), {"", &model_.parameters(), &optimizer_});
    TrainResult result;
    if (const auto state = store_.restore(trained)) {
      state_ = *state;
      stopping_ = EarlyStopping(config_.patience, config_.round_validation_metric, state_.stopping);
    }
    if (options_.on_begin) options_.on_begin();
    while (state_.epoch + 1 < config_.epochs && !stopping_.should_stop()) {
      EpochReport report = train_epoch(batches, state_.epoch + 1, result);
      if (result.interrupted) break;
      validate_epoch(report);
      state_.epoch = report.epoch;
      state_.stopping = stopping_.state();
      if (options_.on_epoch) options_.on_epoch(report);
      // A new best also, so that what is kept as best belongs to the checkpoint.
      if ((report.epoch + 1) % options_.checkpoint_every == 0 || report.improved)
        store_.save_checkpoint(trained, state_);
    }
    result.epochs = state_.epoch + 1;
    result.best_epoch = stopping_.best_epoch();
    result.valid = state_.best_valid;
    result.step_seconds_median = median(state_.step_seconds);
    if (result.best_epoch >= 0) {
      store_.load_best(model_.parameters());
      result.test = evaluate(test_);
    }
    return result;
  }

  /// Metrics of a split with the current weights.
  MetricValues evaluate(const Adjacency& relevant) {
    const Embeddings<B> e = embeddings();
    return rearm::evaluate<B>(ctx_, e.users.value(), e.items.value(), &seen_, relevant, options_.cutoffs,
                              options_.metrics);
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
  /// A split's items of the users that count.
  Adjacency relevant(const Interactions& split) const {
    return config_.count_cold_users ? items_by_user(split, data_.n_users) : items_by_warm_user(split, seen_);
  }
  /// Valid until the tape is reset.
  Embeddings<B> embeddings() {
    tape_.reset();
    tape_.set_recording(false);
    const Embeddings<B> e = model_.embeddings(tape_, {.number = static_cast<std::uint32_t>(state_.step)});
    tape_.set_recording(true);
    return e;
  }

  EpochReport train_epoch(BatchSource<B>& batches, int epoch, TrainResult& result) {
    EpochReport report;
    report.epoch = epoch;
    optimizer_.set_learning_rate(options_.schedule ? options_.schedule(epoch)
                                                   : config_.learning_rate * std::pow(config_.lr_decay, epoch));
    batches.begin_epoch(static_cast<std::uint32_t>(epoch));
    const auto start = Clock::now();
    if (model_.begin_epoch(ctx_, epoch)) replay_.forget();
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
      if constexpr (on_host) report.losses += losses;
      if (options_.on_step) options_.on_step({epoch, n, batches.n_batches(), losses, seconds.back()});
      ++n;
    }
    if constexpr (on_host) {
      if (n > 0) report.losses /= static_cast<double>(n);
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
      const Loss<B> loss = model_.loss(tape_, {batch, static_cast<std::uint32_t>(state_.step), true});
      const Var<B> total = loss.total();
      if constexpr (on_host)
        require_finite(values = loss_values(loss, total), epoch);
      else
        add_to_sums(loss, total);
      tape_.backward(total, AfterBackward::release);
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
    if (std::isfinite(values.total)) return;
    std::string parts;
    for (const auto& part : values.parts())
      parts += detail::message(parts.empty() ? "" : ", ", part.name, " ", part.value);
    throw NumericError(detail::message("the loss is ", values.total, " (", parts, ") at step ", state_.step,
                                       " of epoch ", epoch, "; lower learning_rate or look at the features"));
  }
  /// Not on the host: the epoch's losses are added up where they are made. Their names are the host's.
  void add_to_sums(const Loss<B>& loss, Var<B> total) {
    ScaledCopies<B> sums(ctx_);
    const auto add = [&](Var<B> value, Index column) {
      sums.add({T{1}, value.value(), add_to(loss_sums_.view().col_block(column, 1))});
    };
    add(total, 0);
    mean_losses_.n_parts = 0;
    for (const auto& part : loss.parts()) {
      add(part.value, static_cast<Index>(mean_losses_.n_parts) + 1);
      mean_losses_.part[mean_losses_.n_parts++].name = part.name;
    }
    sums.run();
  }
  void read_sums(int epoch, Index n_steps) {
    const OnHost<T, typename B::Memory> sums(ConstView<T>(loss_sums_.view()));
    const auto mean = [&](std::size_t column) {
      return static_cast<double>(sums.view()(0, static_cast<Index>(column))) / static_cast<double>(n_steps);
    };
    mean_losses_.total = mean(0);
    for (std::size_t i = 0; i < mean_losses_.n_parts; ++i) mean_losses_.part[i].value = mean(i + 1);
    require_finite(mean_losses_, epoch);
  }
  void validate_epoch(EpochReport& report) {
    const bool last = report.epoch + 1 == config_.epochs;
    if ((report.epoch + 1) % config_.eval_every != 0 && !last) return;
    const auto start = Clock::now();
    report.valid = evaluate(valid_);
    report.improved = stopping_.update(report.epoch, report.valid.at(config_.watch));
    if (report.improved) {
      state_.best_valid = report.valid;
      const Embeddings<B> e = embeddings();
      store_.save_best(model_.parameters(), report.epoch, e.users.value(), e.items.value());
    }
    report.valid_seconds = seconds_since(start);
  }

  Context<B>& ctx_;
  AnyRecommender<B> model_;
  const Dataset& data_;
  TrainConfig config_;
  TrainOptions options_;
  MemoryStore<B> in_memory_;
  TrainStore<B>& store_;
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
};

}  // namespace rearm::REARM_ABI
