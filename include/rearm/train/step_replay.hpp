#pragma once
/// @file step_replay.hpp
/// How a training step is repeated.

#include <rearm/optim/adamw.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace rearm::REARM_ABI {

/// A step is simply run.
template <Backend B>
class PlainStep {
 public:
  explicit PlainStep(Context<B>&) {}
  template <class F>
  void run(std::uint32_t /*step*/, Index /*batch_size*/, AdamW<B>& /*optimizer*/, const F& f) {
    f();
  }
  /// To be called when something that a step reads has moved. The step after it is simply run, and kept by no
  /// recording: it may be of another kind than those after it.
  void forget() noexcept {}
  /// What a recorded step starts on a device.
  std::size_t launches() const noexcept { return 0; }
  /// Why a device's step was not recorded; empty where it was, or need not be.
  std::string_view failure() const noexcept { return {}; }
};

namespace detail {
template <class B>
struct StepReplayOf {
  using type = PlainStep<B>;
};
template <class B>
requires requires { typename B::StepReplay; }
struct StepReplayOf<B> {
  using type = typename B::StepReplay;
};
}  // namespace detail

/// The backend's own, if it can record and replay work, or the plain one.
template <Backend B>
using StepReplay = typename detail::StepReplayOf<B>::type;

}  // namespace rearm::REARM_ABI
