#pragma once
/// @file progress.hpp
/// What is seen of a training run on stderr: a bar on a terminal, else one line an epoch.

#include <rearm/train/trainer.hpp>

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

namespace rearm::cli {

/// "1 h 05 min", "3 min 20 s", "12 s".
inline std::string duration(double seconds) {
  const auto s = static_cast<long>(std::max(0.0, seconds) + 0.5);
  char text[64];
  if (s >= 3600)
    std::snprintf(text, sizeof(text), "%ld h %02ld min", s / 3600, s / 60 % 60);
  else if (s >= 60)
    std::snprintf(text, sizeof(text), "%ld min %02ld s", s / 60, s % 60);
  else
    std::snprintf(text, sizeof(text), "%ld s", s);
  return text;
}

/// Told of stages, steps and epochs.
class Progress {
 public:
  /// `watch` is the metric that is shown.
  Progress(int n_epochs, std::string watch)
      : n_epochs_(n_epochs), watch_(std::move(watch)), terminal_(::isatty(STDERR_FILENO) == 1) {}

  void stage(std::string_view name, double done) {
    if (!terminal_) return;
    std::fprintf(stderr, "\r\033[K%s %.*s", bar(done).c_str(), static_cast<int>(name.size()), name.data());
    if (done >= 1) std::fputs("\r\033[K", stderr);
  }
  void step(const StepReport& r) {
    // The loss that is shown follows the last steps.
    loss_ = r.step == 0 ? r.losses.total : 0.95 * loss_ + 0.05 * r.losses.total;
    step_seconds_ = step_seconds_ == 0 ? r.seconds : 0.95 * step_seconds_ + 0.05 * r.seconds;
    const auto now = std::chrono::steady_clock::now();
    if (!terminal_ || (r.step + 1 < r.n_steps && now - drawn_ < std::chrono::milliseconds(100))) return;
    drawn_ = now;
    const auto left = static_cast<double>(r.n_steps - r.step - 1);
    const double epoch = step_seconds_ * static_cast<double>(r.n_steps) + valid_seconds_;
    const double all = step_seconds_ * left + valid_seconds_ + epoch * static_cast<double>(n_epochs_ - r.epoch - 1);
    std::fprintf(stderr, "\r\033[Kepoch %d %s loss %.4f %s %s, %s left, run <= %s", r.epoch,
                 bar(static_cast<double>(r.step + 1) / static_cast<double>(r.n_steps)).c_str(), loss_, watch_.c_str(),
                 metric_.c_str(), duration(step_seconds_ * left + valid_seconds_).c_str(), duration(all).c_str());
    std::fflush(stderr);
  }
  void epoch(const EpochReport& r) {
    valid_seconds_ = r.valid_seconds;
    if (const auto found = r.valid.find(watch_); found != r.valid.end())
      metric_ = std::to_string(found->second).substr(0, 6);
    std::string parts;
    for (const auto& part : r.losses.parts()) {
      char text[64];
      std::snprintf(text, sizeof(text), "%s%.*s %.4f", parts.empty() ? "" : ", ", static_cast<int>(part.name.size()),
                    part.name.data(), part.value);
      parts += text;
    }
    std::fprintf(stderr, "%sepoch %d: loss %.4f (%s)  %s %s%s  %s\n", terminal_ ? "\r\033[K" : "", r.epoch,
                 r.losses.total, parts.c_str(), watch_.c_str(), r.valid.empty() ? "-" : metric_.c_str(),
                 r.improved ? " *" : "  ", duration(r.train_seconds + r.valid_seconds).c_str());
    std::fflush(stderr);
  }
  /// Ends a line that was being drawn.
  void clear() const {
    if (terminal_) std::fputs("\r\033[K", stderr);
  }

 private:
  static std::string bar(double done) {
    constexpr int width = 12;
    const int full = std::clamp(static_cast<int>(done * width), 0, width);
    return "[" + std::string(static_cast<std::size_t>(full), '#') +
           std::string(static_cast<std::size_t>(width - full), '.') + "]";
  }
  int n_epochs_;
  std::string watch_;
  bool terminal_;
  double loss_ = 0;
  std::string metric_ = "-";  ///< of the last validation
  double step_seconds_ = 0;
  double valid_seconds_ = 0;
  std::chrono::steady_clock::time_point drawn_;
};

}  // namespace rearm::cli
