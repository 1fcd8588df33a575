#pragma once
/// @file early_stopping.hpp
/// When to stop training: patience over a validation metric, higher is better.

#include <rearm/core/error.hpp>

#include <cmath>
#include <limits>

namespace rearm::REARM_ABI {

/// What a checkpoint must keep of an EarlyStopping.
struct EarlyStoppingState {
  double best_value = -std::numeric_limits<double>::infinity();
  int best_epoch = -1;   ///< -1 before the first update
  int stale_epochs = 0;  ///< updates since the best one
  friend bool operator==(const EarlyStoppingState&, const EarlyStoppingState&) = default;
};

/// Stops at the (patience + 1)-th update in a row without improvement, that is, without a strictly greater value.
class EarlyStopping {
 public:
  /// `round_to_4_decimals` compares as the authors' program does. Throws ConfigError when patience < 0.
  explicit EarlyStopping(int patience, bool round_to_4_decimals = false, EarlyStoppingState state = {})
      : patience_(patience), round_(round_to_4_decimals), state_(state) {
    if (patience < 0) throw ConfigError(detail::message("patience = ", patience, ": must be 0 or more"));
  }

  /// Records the value of an epoch; true if it is the best so far. Throws NumericError when the value is not finite.
  bool update(int epoch, double value) {
    if (!std::isfinite(value)) throw NumericError(detail::message("validation metric of epoch ", epoch, " is ", value));
    if (round_) value = std::round(value * 1e4) / 1e4;
    if (value > state_.best_value) {
      state_ = {value, epoch, 0};
      return true;
    }
    ++state_.stale_epochs;
    return false;
  }
  bool should_stop() const noexcept { return state_.stale_epochs > patience_; }
  double best_value() const noexcept { return state_.best_value; }
  int best_epoch() const noexcept { return state_.best_epoch; }
  const EarlyStoppingState& state() const noexcept { return state_; }

 private:
  int patience_;
  bool round_;
  EarlyStoppingState state_;
};

}  // namespace rearm::REARM_ABI
