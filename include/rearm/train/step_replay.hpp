#pragma once
/// @file step_replay.hpp
/// How a training step is run again and again.

#include <rearm/optim/adamw.hpp>

#include <cstddef>
#include <cstdint>

namespace rearm {

/// On the host a step is simply run; a backend that can record work and replay it specialises this.
template <Backend B>
class StepReplay {
 public:
  explicit StepReplay(Context<B>&) {}
  template <class F>
  void run(std::uint32_t /*step*/, Index /*batch_size*/, AdamW<B>& /*optimizer*/, const F& f) {
    f();
  }
  /// To be called when something that a step reads has moved.
  void forget() noexcept {}
  /// What a recorded step starts on a device.
  std::size_t launches() const noexcept { return 0; }
};

}  // namespace rearm
