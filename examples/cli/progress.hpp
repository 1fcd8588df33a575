#pragma once
/// @file progress.hpp
/// What is seen of a training run on stderr: where it stands, and a line an epoch.

#include "program.hpp"
#include "status_line.hpp"

#include <rearm/train/trainer.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm::cli {

/// A metric or a loss as it is shown everywhere.
inline std::string rounded(double value) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.4f", value);
  return text;
}

/// Where a run stands in the middle of an epoch.
struct Standing {
  int epoch = 0;
  double done = 0;           ///< of the epoch's steps
  std::string loss, metric;  ///< the metric is empty before the first validation
  double epoch_seconds = 0;  ///< left of the epoch
  double run_seconds = 0;    ///< left of the run if validation improves no more
  bool may_last = false;     ///< longer than that, since it ends by early stopping
};

inline std::vector<LinePart> line_of(const Standing& s, std::size_t width) {
  return {{0, "epoch " + std::to_string(s.epoch)},
          {2, ' ' + bar(s.done, std::clamp<std::size_t>(width / 7, 7, 22))},
          {5, " loss " + s.loss},
          {4, s.metric.empty() ? "" : ", " + s.metric},
          {1, ", " + duration(s.epoch_seconds) + " left"},
          {3, ", run " + duration(s.run_seconds) + (s.may_last ? " or more" : "")}};
}

/// The line of a finished epoch; an asterisk marks one that improved the metric.
inline std::vector<LinePart> line_of(const EpochReport& r, const std::string& watch) {
  std::vector<LinePart> line = {{0, "epoch " + std::to_string(r.epoch) + ':'}, {2, " loss " + rounded(r.losses.total)}};
  std::string parts;
  for (const auto& part : r.losses.parts())
    parts += (parts.empty() ? "" : ", ") + std::string(part.name) + ' ' + rounded(part.value);
  line.push_back({3, " (" + parts + ')'});
  const auto found = r.valid.find(watch);
  line.push_back(
      {0, "  " + watch + ' ' + (found == r.valid.end() ? "-" : rounded(found->second)) + (r.improved ? " *" : "  ")});
  line.push_back({1, "  " + duration(r.train_seconds + r.valid_seconds)});
  return line;
}

/// Epochs that follow `epoch` if validation does not improve any more. `stale` validations have passed since the best.
struct EpochsLeft {
  int epochs;
  bool by_early_stopping;  ///< else by TrainConfig::epochs
};
inline EpochsLeft epochs_left(const TrainConfig& config, int epoch, int stale) {
  const long to_end = std::max(config.epochs - 1 - epoch, 0);
  const long every = config.eval_every, next = (epoch / every + 1) * every - 1;  // the epoch of the next validation
  const long to_stop = next - epoch + every * std::max(long{config.patience} - stale, 0L);
  return {static_cast<int>(std::min(to_end, to_stop)), to_stop < to_end};
}

/// Told of stages, steps and epochs.
class Progress {
 public:
  /// `state` is where a resumed run stands.
  Progress(StatusLine& line, const TrainConfig& config, const TrainState& state)
      : line_(line), config_(config), stale_(state.stopping.stale_epochs) {
    if (const auto found = state.best_valid.find(config.watch); found != state.best_valid.end())
      metric_ = rounded(found->second);
  }

  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { line_.clear(); }

  void step(const StepReport& r) {
    const auto now = Clock::now();
    std::unique_lock lock(mutex_);
    if (r.epoch != epoch_) {
      epoch_ = r.epoch;
      first_step_ = r.step;
      began_ = now - std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(r.seconds));
      loss_ = r.losses.total;
    }
    loss_ = 0.95 * loss_ + 0.05 * r.losses.total;  // what is shown follows the last steps
    n_steps_ = r.n_steps;
    step_ = r.step;
    stepped_ = now;
    if (std::exchange(stepping_, true)) return;
    lock.unlock();
    line_.show([this](std::size_t width) {
      return interrupted() ? std::vector<LinePart>{{0, "finishing this step"}} : line_of(standing(), width);
    });
  }
  /// `done` is the part of it that is, if that is known.
  void stage(std::string_view what, double done = -1) {
    {
      const std::lock_guard lock(mutex_);
      stepping_ = false;
    }
    line_.stage(what, done);
  }
  void stage(TrainStage stage) {
    switch (stage) {
      case TrainStage::estimating_memory:
        return this->stage("estimating memory");
      case TrainStage::beginning_epoch:
        return this->stage("beginning an epoch");
      case TrainStage::validating:
        return this->stage("validating");
      case TrainStage::saving:
        return this->stage("saving");
      case TrainStage::testing:
        return this->stage("computing the test metrics");
    }
  }
  void epoch(const EpochReport& r) {
    {
      const std::lock_guard lock(mutex_);
      const auto found = r.valid.find(config_.watch);
      if (found != r.valid.end()) {
        metric_ = rounded(found->second);
        stale_ = r.improved ? 0 : stale_ + 1;
      }
      valid_seconds_ = r.valid_seconds;
      const auto now = Clock::now();
      if (ended_ != Clock::time_point()) whole_seconds_ = seconds(now - ended_);
      ended_ = now;
    }
    line_.print(line_of(r, config_.watch));
  }

 private:
  using Clock = std::chrono::steady_clock;
  static double seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

  Standing standing() const {
    const std::lock_guard lock(mutex_);
    const auto steps = static_cast<double>(n_steps_);
    const double each = seconds(stepped_ - began_) / static_cast<double>(step_ + 1 - first_step_);
    const double left = std::max(
        each * (steps - static_cast<double>(step_) - 1) + valid_seconds_ - seconds(Clock::now() - stepped_), 0.0);
    const double whole = whole_seconds_ > 0 ? whole_seconds_ : each * steps + valid_seconds_;
    const EpochsLeft more = epochs_left(config_, epoch_, stale_);
    return {epoch_,
            static_cast<double>(step_ + 1) / steps,
            rounded(loss_),
            metric_.empty() ? "" : config_.watch + ' ' + metric_,
            left,
            left + whole * more.epochs,
            more.by_early_stopping};
  }

  StatusLine& line_;
  const TrainConfig& config_;
  mutable std::mutex mutex_;
  int epoch_ = -1, stale_;
  Index step_ = 0, first_step_ = 0, n_steps_ = 1;
  double loss_ = 0;
  std::string metric_;                            ///< of the last validation
  bool stepping_ = false;                         ///< the line shows steps
  double valid_seconds_ = 0, whole_seconds_ = 0;  ///< of the last epoch
  Clock::time_point began_, stepped_, ended_;
};

}  // namespace rearm::cli
