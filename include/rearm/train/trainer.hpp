#pragma once
/// @file trainer.hpp
/// The training loop: sampled epochs, validation, early stopping, best weights, checkpoints (spec: the authors'
/// program). For any model of the contract in recommender.hpp.

#include <rearm/autodiff/tape.hpp>
#include <rearm/data/dataset.hpp>
#include <rearm/data/edge_sampling.hpp>
#include <rearm/data/node_blocks.hpp>
#include <rearm/eval/evaluator.hpp>
#include <rearm/eval/shared_evaluator.hpp>
#include <rearm/loss/loss.hpp>
#include <rearm/optim/adamw.hpp>
#include <rearm/train/batch_source.hpp>
#include <rearm/train/config.hpp>
#include <rearm/train/early_stopping.hpp>
#include <rearm/train/epoch_start.hpp>
#include <rearm/train/finite.hpp>
#include <rearm/train/memory.hpp>
#include <rearm/train/recommender.hpp>
#include <rearm/train/step_replay.hpp>
#include <rearm/train/store.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
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

/// What a trainer does beside steps, reported to on_stage.
enum class TrainStage { estimating_memory, beginning_epoch, validating, saving, testing };

struct TrainOptions {
  /// Called by run() before the first step, once everything the run needs (data, checkpoint) has proved good.
  std::function<void()> on_begin;
  int checkpoint_every = 1;  ///< epochs; a new best epoch and the last one are kept in any case
  /// Seconds after which the middle of an epoch is kept too; 0: only where the run is interrupted.
  double checkpoint_every_seconds = 600;
  std::function<void(const StepReport&)> on_step;
  std::function<void(const EpochReport&)> on_epoch;  ///< before the epoch's checkpoint
  std::function<void(TrainStage)> on_stage;          ///< before what may take its time between steps
  /// How often a device's losses are read, in steps; the host waits for it. 0: at the end of the epoch. A loss that is
  /// not finite is noticed only then. The host's losses are read every step.
  int read_losses_every = 50;
  /// Polled before each step; true ends the run: where it stands is kept, and it can be resumed from that step.
  std::function<bool()> interrupted;
  /// Refuses a run that needs more memory than there is, before it begins; on the CPU.
  bool check_memory = true;
  /// Learning rate of an epoch; empty: learning_rate * lr_decay^epoch of the settings. Either warms up as they say.
  std::function<double(int epoch)> schedule;
};

struct TrainResult {
  int epochs = 0;       ///< finished, including those before a resume
  int best_epoch = -1;  ///< -1 if none was validated
  bool interrupted = false;
  MetricValues valid;                    ///< of the best epoch
  MetricValues test;                     ///< with the weights of the best epoch
  std::size_t estimated_peak_bytes = 0;  ///< of the process, before the first step; 0 where it is not estimated
  MemoryEstimate memory;                 ///< what that is made of
  double step_seconds_median = 0;        ///< over the epochs, of each one's median step; on a device of its mean
  std::string not_recorded;              ///< why a device's steps were started one by one; empty: they were recorded
  double step_bytes_sent = 0;            ///< by this rank to others, mean over the trainer's steps
};

/// Trains `model` on `data`. The model, the data, the context and the store must outlive it.
template <Backend B>
class Trainer {
 public:
  using T = Real<B>;

  /// `store` keeps checkpoints and the best weights; null: in memory. Throws ConfigError for settings or options that
  /// are outside their limits or watch a metric that validation does not compute.
  Trainer(Context<B>& ctx, AnyRecommender<B> model, const Dataset& data, const TrainConfig& config,
          TrainOptions options = {}, TrainStore<B>* store = nullptr) try
      : ctx_(ctx),
        model_(std::move(model)),
        data_(data),
        config_((check(config, options), config)),
        options_(std::move(options)),
        store_(store != nullptr ? *store : in_memory_),
        blocks_(share_nodes(ctx, data)),
        seen_(of_own_users(data.train, items_by_user)),
        valid_(relevant(data.valid)),
        test_(relevant(data.test)),
        optimizer_({.learning_rate = config.learning_rate,
                    .weight_decay = model_.decays_weights() ? config.weight_decay : 0.0,
                    .l2 = model_.decays_weights() ? config.l2 : 0.0,
                    .bfloat16_moments = config.bfloat16_moments}),
        stopping_(config.patience, config.round_validation_metric),
        cutoffs_(config.cutoffs.begin(), config.cutoffs.end()),
        metrics_(parsed(config.metrics)),
        tape_(ctx),
        replay_(ctx) {
    if constexpr (!on_host) loss_sums_ = Matrix<T, typename B::Memory>(1, 1 + max_loss_parts);
    if (config.edge_keep == 1) return;
    if (!model_.can_train_on_part())
      throw ConfigError(detail::message(
          "edge_keep = ", config.edge_keep, ": the model ", model_.name(),
          " with these settings trains on the whole graph, or on a part of its own choice; set it to 1"));
    edges_.emplace(items_by_user(data.train, data.n_users), users_by_item(data.train, data.n_items), 1e-7,
                   config.edge_sampling);
    if (kept_edges() < 1)
      throw ConfigError(detail::message("edge_keep = ", config.edge_keep, ": leaves none of ", edges_->pairs().size(),
                                        " train pairs to an epoch's graph; choose a larger one"));
  } catch (const std::bad_alloc&) {
    detail::throw_out_of_memory("making a trainer");
  }

  /// The checks of the constructor.
  static void check(const TrainConfig& config, const TrainOptions& options) {
    check_limits(config);
    if (options.checkpoint_every < 1)
      throw ConfigError(detail::message("checkpoint_every = ", options.checkpoint_every, ": must be at least 1"));
    if (!(options.checkpoint_every_seconds >= 0))
      throw ConfigError(
          detail::message("checkpoint_every_seconds = ", options.checkpoint_every_seconds, ": must be 0 or more"));
    std::string computed;
    for (const Metric metric : parsed(config.metrics))
      for (const Index k : config.cutoffs) {
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

  /// Runs to early stopping, the last epoch or an interruption; afterwards the model holds the best weights.
  /// Feature tables then leave their weights' gradients to the optimizer (FeatureTable::fuses_weight_gradient).
  /// Throws NumericError naming the tensor when a loss or a trained parameter is not finite; the last checkpoint and
  /// the best weights stay. Called again, it goes on from the store's last checkpoint; without one, with the first
  /// epoch that is not finished and what the model holds.
  TrainResult run() {
    return detail::with_memory_errors("training", [&] { return run_epochs(); });
  }

  /// Metrics of a split with the current weights; of the users of this rank, numbered from 0, where ranks share a
  /// model.
  MetricValues evaluate(const Adjacency& relevant) {
    const Embeddings<B> e = embeddings();
    require_shared(e);
    if constexpr (on_host)
      if (is_shared())
        return evaluate_shared<B>(ctx_, e.users.value(), e.items.value(), *e.items.layout().front(), &seen_, relevant,
                                  cutoffs_, metrics_);
    return rearm::evaluate<B>(ctx_, e.users.value(), e.items.value(), &seen_, relevant, cutoffs_, metrics_);
  }

 private:
  using Clock = std::chrono::steady_clock;

  /// Throws ConfigError for a name that is no metric's.
  static std::vector<Metric> parsed(const std::vector<std::string>& names) {
    std::vector<Metric> out;
    for (const std::string& name : names) parse(name, out.emplace_back());
    return out;
  }
  static constexpr bool on_host = B::Memory::host_accessible;

  TrainResult run_epochs() {
    check_data(config_, data_, model_.n_negatives());
    BatchSource<B> batches = batch_source();
    replay_.forget();                       // an earlier run had its own batches, and `restore` makes new moments
    model_.parameters().clear_gradients();  // left by a step that an exception ended
    for (FeatureTable<B>& table : model_.parameters().tables()) table.fuses_weight_gradient = true;
    std::vector<Trained<B>> trained = model_.inner_networks();
    trained.insert(trained.begin(), {"", &model_.parameters(), &optimizer_});
    if (model_.has_begin_epoch() && !model_.has_resume_epoch() && epoch_start_ == nullptr)
      epoch_start_ = std::make_unique<EpochStart<B>>(trained);
    TrainResult result;
    if (auto state = store_.read_state()) {
      require_steps(*state, batches.n_batches());
      if (state->epoch_step > 0 && epoch_start_ != nullptr)
        store_.restore(epoch_start_->restored());
      else
        store_.restore(trained);
      state_ = std::move(*state);
      stopping_ = EarlyStopping(config_.patience, config_.round_validation_metric, state_.stopping);
      saved_step_ = state_.step;
    } else {  // an epoch that an earlier call did not finish begins again
      state_.step -= std::exchange(state_.epoch_step, 0);
      state_.epoch_losses.clear();
      state_.epoch_seconds = 0;
      state_.step_seconds.resize(std::min(state_.step_seconds.size(), static_cast<std::size_t>(state_.epoch + 1)));
    }
    check_memory(batches, result);
    if (options_.on_begin) options_.on_begin();
    saved_at_ = Clock::now();
    while (state_.epoch + 1 < config_.epochs && !stopping_.should_stop()) {
      EpochReport report = train_epoch(batches, trained, result);
      if (result.interrupted) break;
      validate_epoch(report);
      state_.epoch = report.epoch;
      state_.epoch_step = 0;
      state_.epoch_losses.clear();
      state_.epoch_seconds = 0;
      state_.stopping = stopping_.state();
      if (options_.on_epoch) options_.on_epoch(report);
      // A new best also, so that what is kept as best belongs to the checkpoint.
      if ((report.epoch + 1) % options_.checkpoint_every == 0 || report.improved) save_checkpoint(trained);
    }
    if (!result.interrupted && state_.step != saved_step_) save_checkpoint(trained);
    result.epochs = state_.epoch + 1;
    result.best_epoch = stopping_.best_epoch();
    result.valid = state_.best_valid;
    result.step_seconds_median = median(state_.step_seconds);
    result.not_recorded = replay_.failure();
    if (sent_steps_ > 0) result.step_bytes_sent = static_cast<double>(sent_) / static_cast<double>(sent_steps_);
    if (result.best_epoch >= 0) {
      tell(TrainStage::testing);
      store_.load_best(model_.parameters());
      result.test = evaluate(test_);
    }
    return result;
  }
  BatchSource<B> batch_source() {
    const bool held_out = config_.negatives == Negatives::exclude_all;
    const auto make = [&](auto&&... of) {
      return BatchSource<B>(std::forward<decltype(of)>(of)..., data_.n_items, config_.batch_size, config_.seed,
                            model_.n_negatives());
    };
    if constexpr (requires { typename BatchSource<B>::Shared; })
      if (const RowBlocks* const users = blocks_.users.get(); users != nullptr)
        return make(ctx_, *users, data_.train, known_items(data_, held_out, users->begin(), users->size()));
    return make(ctx_, data_.train, known_items(data_, held_out));
  }
  /// Whether it is so at any rank: what one does at its own time, all do in the same step.
  bool agreed(bool here) const {
    if (ctx_.ranks() == nullptr) return here;
    int n = here ? 1 : 0;
    ctx_.ranks()->sum(std::span<int>(&n, 1));
    return n > 0;
  }
  std::uint64_t sent() const { return ctx_.ranks() != nullptr ? ctx_.ranks()->bytes_sent() : 0; }
  /// Throws RankError where a parameter that every rank has is not the same on all.
  void require_same_parameters() {
    if (ctx_.ranks() == nullptr) return;
    std::uint64_t bits = 14695981039346656037U;
    std::as_const(model_.parameters()).for_each([&](const auto& x) {
      if (x.blocks() != nullptr || !x.trainable) return;
      x.with_values([&](auto values) {
        const auto* const data = reinterpret_cast<const unsigned char*>(values.data);
        const auto n = static_cast<std::size_t>(values.size()) * sizeof *values.data;
        for (std::size_t i = 0; i < n; ++i) bits = (bits ^ data[i]) * 1099511628211U;
      });
    });
    std::vector<std::uint64_t> all(static_cast<std::size_t>(ctx_.ranks()->size()));
    all[static_cast<std::size_t>(ctx_.ranks()->rank())] = bits;
    ctx_.ranks()->all_gather(all.data(), std::vector<Index>(all.size(), 1));
    for (std::size_t rank = 1; rank < all.size(); ++rank)
      if (all[rank] != all[0])
        throw RankError(
            detail::message("rank ", rank,
                            " computes other bits than rank 0: parameters that all have are no longer the same; use "
                            "machines of one kind, with the same libraries"));
  }
  /// Whether ranks share the model, of which each then has its own users to rank for.
  bool is_shared() const { return blocks_.users != nullptr && model_.parameters().shared(); }
  /// Throws ShapeError where ranks share a model and not its embeddings, or only those of users or of items.
  void require_shared(const Embeddings<B>& e) const {
    for (const Var<B>* x : {&e.users, &e.items})  // of the variables themselves nvcc makes no list
      if (x->layout().size() != (is_shared() ? 1U : 0U))
        throw ShapeError(
            "a model's parameters and its embeddings of users and of items must all be shared by ranks, or none");
  }
  /// f(the pairs of the users that this rank ranks for, numbered from 0, and how many users these are).
  template <class F>
  Adjacency of_own_users(const Interactions& pairs, const F& f) const {
    if (!is_shared()) return f(pairs, data_.n_users);
    const RowBlocks& users = *blocks_.users;
    return f(pairs_of_users(pairs, users.begin(), users.size()), users.size());
  }
  /// A variable's rows that are here, and how ranks share them.
  static SharedView<T> shared_view(const Var<B>& x) {
    return {x.value(), x.layout().empty() ? nullptr : x.layout().front()};
  }
  void tell(TrainStage stage) const {
    if (options_.on_stage) options_.on_stage(stage);
  }
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
    return of_own_users(split, [&](const Interactions& own, Index n) {
      return config_.count_cold_users ? items_by_user(own, n) : items_by_warm_user(own, seen_);
    });
  }
  /// Valid until the tape is reset.
  Embeddings<B> embeddings() {
    struct Recording {
      Tape<B>& tape;
      ~Recording() { tape.set_recording(true); }
    } const again{tape_};
    tape_.reset();
    tape_.set_recording(false);
    return model_.embeddings(tape_, {.number = static_cast<std::uint32_t>(state_.step)});
  }

  /// The epoch after the last finished one, or the rest of it.
  EpochReport train_epoch(BatchSource<B>& batches, std::span<const Trained<B>> trained, TrainResult& result) {
    EpochReport report;
    const int epoch = report.epoch = state_.epoch + 1;
    const Index first = state_.epoch_step;
    const double seconds_before = state_.epoch_seconds;
    batches.begin_epoch(static_cast<std::uint32_t>(epoch), first);
    const auto start = Clock::now();
    begin_epoch_of_model(epoch, first > 0);
    if (const bool began = std::exchange(began_, true); !began && model_.has_begin_epoch()) {
      check_memory(batches, result);
      batches.begin_epoch(static_cast<std::uint32_t>(epoch), first);
    }
    begin_losses();
    std::vector<double> seconds;
    Index& n = state_.epoch_step;
    const auto save = [&] {
      state_.epoch_seconds = seconds_before + seconds_since(start);
      state_.epoch_losses = sums_of_losses(epoch, n);
      save_checkpoint(epoch_start_ != nullptr ? std::span<const Trained<B>>(epoch_start_->kept()) : trained);
    };
    while (!result.interrupted && batches.next()) {
      if (agreed(options_.interrupted && options_.interrupted())) {
        result.interrupted = true;
        if (state_.step != saved_step_) save();
        return report;
      }
      const auto step_start = Clock::now();
      const bool last = n + 1 == batches.n_batches();
      const Index number = n;
      optimizer_.set_learning_rate(rate(epoch, batches.n_batches()));
      const std::uint64_t sent_before = sent();
      const LossValues losses = step(epoch, n, batches.batch(), last);
      sent_ += sent() - sent_before;
      ++sent_steps_;
      seconds.push_back(seconds_since(step_start));
      if (options_.on_step) options_.on_step({epoch, number, batches.n_batches(), losses, seconds.back()});
      if (const double every = options_.checkpoint_every_seconds;
          every > 0 && !last && agreed(seconds_since(saved_at_) >= every))
        save();
    }
    report.losses = losses_;
    if constexpr (on_host)
      report.losses /= static_cast<double>(n);
    else  // a step only starts work here
      seconds.assign(1, seconds_since(start) / static_cast<double>(n - first));
    require_finite_parameters(report.losses, epoch, n);
    require_same_parameters();
    state_.step_seconds.push_back(median(seconds));
    report.train_seconds = seconds_before + seconds_since(start);
    return report;
  }
  /// Of the next step.
  double rate(int epoch, Index n_batches) const {
    if (!options_.schedule) return learning_rate(config_, epoch, state_.step, n_batches);
    return options_.schedule(epoch) * warmup_factor(config_, state_.step, n_batches);
  }
  Index kept_edges() const {
    return static_cast<Index>(config_.edge_keep * static_cast<double>(edges_->pairs().size()));
  }
  void begin_epoch_of_model(int epoch, bool again) {
    if (edges_) {
      model_.train_on(
          edges_->draw(kept_edges(), {config_.seed, edge_sampling_stream, static_cast<std::uint32_t>(epoch)}));
      replay_.forget();
    }
    if (again && model_.has_resume_epoch()) return model_.resume_epoch(ctx_, epoch);
    if (model_.has_begin_epoch()) tell(TrainStage::beginning_epoch);
    const auto begin = [&] {
      if (model_.begin_epoch(ctx_, epoch)) replay_.forget();
    };
    if (epoch_start_ == nullptr) return begin();
    if (again) return epoch_start_->again(begin);
    epoch_start_->take();
    begin();
  }
  /// Estimates the run's peak of memory, without a step's where the model must begin an epoch first: then it is called
  /// again. Throws OutOfMemoryError where there is not enough.
  void check_memory([[maybe_unused]] BatchSource<B>& batches, [[maybe_unused]] TrainResult& result) {
    if constexpr (detail::DryRun<B>::possible) {
      tell(TrainStage::estimating_memory);
      ParameterStore<B>& parameters = model_.parameters();
      tape_.reset();
      ctx_.arena().release();  // or what an inner network took would be counted twice
      MemoryEstimate need;
      need.held = resident_bytes();
      need.peak_before = peak_resident_bytes();
      need.arrays = static_cast<std::size_t>(parameters.arrays().missing()) * sizeof(T) +
                    optimizer_.missing_bytes(parameters) + store_.missing_bytes(parameters);
      const Index lists = std::max(n_users_in(valid_), n_users_in(test_));
      need.ranking =
          static_cast<std::size_t>((is_shared() ? std::min(lists, shared_lists) : lists) * largest_cutoff()) *
          (sizeof(Id) + sizeof(T));
      const auto require_enough = [&](std::size_t mapped) {
        if (options_.check_memory)
          detail::require_memory(detail::on_this_machine(ctx_.ranks(), need), available_memory(mapped));
      };
      require_enough(0);
      if (began_ || !model_.has_begin_epoch()) need.step = step_bytes(batches);
      require_enough(ctx_.arena().capacity());
      result.memory = need;
      result.estimated_peak_bytes = need.peak();
    }
  }
  /// What a step takes from the arena, found by going through one, and through an evaluation, without computing. Throws
  /// OutOfMemoryError where not even its addresses are to be had.
  std::size_t step_bytes(BatchSource<B>& batches) {
    const std::int64_t count = optimizer_.step_count();
    std::size_t bytes = 0;
    try {
      const detail::DryRun<B> dry_run(ctx_);
      batches.next();
      for (int round = 0; round < 2; ++round) {  // the second finds one block, as all later steps do
        tape_.reset();
        tape_.backward(model_.loss(tape_, {batches.batch(), 0, true}).total(), AfterBackward::release);
        optimizer_.step(ctx_, model_.parameters());
        optimizer_.set_step_count(count);
        bytes = ctx_.arena().peak();
      }
      if (!began_) {  // otherwise it may choose neighbors, which cannot be gone through without computing
        embeddings();
        bytes = std::max(bytes, ctx_.arena().peak());
      }
    } catch (const OutOfMemoryError& e) {
      throw OutOfMemoryError(detail::message("training cannot begin, a step's arrays find no room within ",
                                             available_memory().limit, " (", e.what(), "); ", detail::less_memory));
    }
    tape_.reset();
    return bytes;
  }
  static Index n_users_in(const Adjacency& split) {
    Index n = 0;
    for (Index u = 0; u < split.rows(); ++u) n += split.degree(u) > 0 ? 1 : 0;
    return n;
  }
  Index largest_cutoff() const { return *std::ranges::max_element(cutoffs_); }
  /// What is kept must be worth going on from.
  void save_checkpoint(std::span<const Trained<B>> trained) {
    tell(TrainStage::saving);
    require_finite_parameters(losses_, state_.epoch + 1, state_.epoch_step);
    store_.save_checkpoint(trained, state_);
    saved_step_ = state_.step;
    saved_at_ = Clock::now();
  }
  /// A checkpoint's steps must be those of its epochs.
  static void require_steps(const TrainState& state, Index n_batches) {
    if (state.epoch_step < n_batches && state.step == (state.epoch + 1) * n_batches + state.epoch_step) return;
    throw DataError(detail::message("the checkpoint's step = ", state.step, " and epoch_step = ", state.epoch_step,
                                    " do not fit its epoch = ", state.epoch, " at ", n_batches,
                                    " steps an epoch; it is damaged or of other data"));
  }
  LossValues step(int epoch, Index n, BatchView<typename B::Memory> batch, bool last) {
    LossValues values;
    const auto work = [&] {
      tape_.reset();
      const Loss<B> loss = model_.loss(tape_, {batch, static_cast<std::uint32_t>(state_.step), true, n == 0});
      const Var<B> total = loss.total();
      if constexpr (on_host)
        values = loss_values(loss, total);
      else
        add_to_sums(loss, total);
      tape_.backward(total, AfterBackward::release);
      if constexpr (on_host)
        if (!std::isfinite(values.total)) throw_not_finite("the loss", values, epoch, n);
      optimizer_.step(ctx_, model_.parameters());
    };
    replay_.run(static_cast<std::uint32_t>(state_.step), batch.size(), optimizer_, work);
    // Together: a run that begins again after a failure takes back as many steps as its epoch has.
    ++state_.step;
    ++state_.epoch_step;
    if constexpr (on_host) {
      losses_ += values;
    } else {
      const int every = options_.read_losses_every;
      if (last || (every > 0 && (n + 1) % every == 0)) read_sums(epoch, n + 1);
      values = losses_;
    }
    return values;
  }
  /// Step n of the epoch, or the ones before it, made `what` not finite: names the first tensor that is not, either.
  [[noreturn]] void throw_not_finite(const std::string& what, const LossValues& losses, int epoch, Index n) {
    std::string tensor = non_finite_parameter<B>(ctx_, model_.parameters());
    if (tensor.empty()) tensor = non_finite_gradient<B>(ctx_, model_.parameters());
    std::string parts;
    for (const auto& part : losses.parts())
      parts += detail::message(parts.empty() ? "" : ", ", part.name, " ", part.value);
    throw NumericError(
        detail::message(what, " is not finite at step ", n, " of epoch ", epoch, ": loss ", losses.total, " (", parts,
                        ")", tensor.empty() || tensor == what ? "" : "; the first tensor that is not finite is ",
                        tensor == what ? "" : tensor, "; lower learning_rate or look at the features"));
  }
  void require_finite_parameters(const LossValues& losses, int epoch, Index n) {
    if (const std::string found = non_finite_parameter<B>(ctx_, model_.parameters()); !found.empty())
      throw_not_finite(found, losses, epoch, n);
  }
  /// The sums that the epoch's first steps have left, or none.
  void begin_losses() {
    const std::vector<double>& sums = state_.epoch_losses;
    if constexpr (on_host) {
      losses_ = {};
      if (sums.empty()) return;
      losses_.total = sums[0];
      for (std::size_t i = 1; i < sums.size(); ++i) losses_.part[i - 1].value = sums[i];
    } else {
      fill_on_host(loss_sums_, [&](Index, MatrixView<T> part) {
        std::fill_n(part.data, part.size(), T{0});
        std::ranges::transform(sums, part.data, [](double sum) { return static_cast<T>(sum); });
      });
    }
  }
  /// These sums, for a checkpoint.
  std::vector<double> sums_of_losses(int epoch, Index n) {
    std::vector<double> sums;
    if (n == 0) return sums;
    if constexpr (on_host) {
      sums.push_back(losses_.total);
      for (const auto& part : losses_.parts()) sums.push_back(part.value);
    } else {
      read_sums(epoch, n);
      const OnHost<T, typename B::Memory> read(ConstView<T>(loss_sums_.view()));
      sums.assign(read.view().data, read.view().data + 1 + static_cast<Index>(losses_.n_parts));
    }
    return sums;
  }
  /// Not on the host: the epoch's losses are added up where they are made. Their names are the host's.
  void add_to_sums(const Loss<B>& loss, Var<B> total) {
    ScaledCopies<B> sums(ctx_);
    const auto add = [&](Var<B> value, Index column) {
      sums.add({T{1}, value.value(), add_to(loss_sums_.view().col_block(column, 1))});
    };
    add(total, 0);
    losses_.n_parts = 0;
    for (const auto& part : loss.parts()) {
      add(part.value, static_cast<Index>(losses_.n_parts) + 1);
      losses_.part[losses_.n_parts++].name = part.name;
    }
    sums.run();
  }
  void read_sums(int epoch, Index n_steps) {
    const OnHost<T, typename B::Memory> sums(ConstView<T>(loss_sums_.view()));
    const auto mean = [&](std::size_t column) {
      return static_cast<double>(sums.view()(0, static_cast<Index>(column))) / static_cast<double>(n_steps);
    };
    losses_.total = mean(0);
    for (std::size_t i = 0; i < losses_.n_parts; ++i) losses_.part[i].value = mean(i + 1);
    if (!std::isfinite(losses_.total)) throw_not_finite("the loss", losses_, epoch, n_steps - 1);
  }
  void validate_epoch(EpochReport& report) {
    const bool last = report.epoch + 1 == config_.epochs;
    if ((report.epoch + 1) % config_.eval_every != 0 && !last) return;
    tell(TrainStage::validating);
    const auto start = Clock::now();
    report.valid = evaluate(valid_);
    EarlyStopping stopping = stopping_;
    report.improved = stopping.update(report.epoch, report.valid.at(config_.watch));
    if (report.improved) {
      const Embeddings<B> e = embeddings();
      store_.save_best(model_.parameters(), report.epoch, shared_view(e.users), shared_view(e.items));
      state_.best_valid = report.valid;
    }
    stopping_ = stopping;  // the best epoch is one whose weights are kept
    report.valid_seconds = seconds_since(start);
  }

  Context<B>& ctx_;
  AnyRecommender<B> model_;
  const Dataset& data_;
  TrainConfig config_;
  TrainOptions options_;
  MemoryStore<B> in_memory_;
  TrainStore<B>& store_;
  NodeBlocks blocks_;  ///< of several ranks
  Adjacency seen_;     ///< as valid_ and test_, of this rank's users where ranks share the model
  Adjacency valid_;
  Adjacency test_;
  AdamW<B> optimizer_;
  EarlyStopping stopping_;
  std::vector<Index> cutoffs_;
  std::vector<Metric> metrics_;
  Tape<B> tape_;
  StepReplay<B> replay_;
  Matrix<T, typename B::Memory> loss_sums_;
  LossValues losses_;  ///< of the epoch so far: on the host their sums, of a device the means as they were last read
  std::optional<EdgeSampler> edges_;            ///< of epochs that propagate over a part of the pairs
  std::unique_ptr<EpochStart<B>> epoch_start_;  ///< of a model that has begin_epoch alone
  bool began_ = false;                          ///< an epoch, of this model
  std::uint64_t sent_ = 0;                      ///< to other ranks, in `sent_steps_` steps
  std::int64_t sent_steps_ = 0;
  std::int64_t saved_step_ = 0;  ///< at the last checkpoint
  std::chrono::steady_clock::time_point saved_at_;
  TrainState state_;
};

}  // namespace rearm::REARM_ABI
