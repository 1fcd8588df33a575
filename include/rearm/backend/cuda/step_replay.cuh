#pragma once
/// @file step_replay.cuh
/// A training step recorded as a CUDA graph and replayed: one call per step instead of hundreds.

#include <rearm/backend/cuda/cuda_backend.cuh>
#include <rearm/train/step_replay.hpp>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

namespace rearm::REARM_ABI {
namespace gpu {

/// What changes from step to step: every step, replayed or not, reads it here.
struct LiveStep {
  std::uint32_t step;
  functors::AdamStep adam;
};

REARM_KERNEL void set_live_kernel(LiveStep* to, LiveStep value) { *to = value; }

}  // namespace gpu

/// The first steps run unrecorded until the arena has settled; then one is recorded, and replayed for every batch of
/// the same size as long as the arena keeps its addresses. A single batch of another size runs unrecorded. All of them
/// read what changes from step to step from the same place, so all compute the same. A step that the device does not
/// record runs unrecorded; after three such failures all do.
template <class T>
class CudaStepReplay {
 public:
  using B = CudaBackend<T>;
  explicit CudaStepReplay(Context<B>& ctx) : ctx_(&ctx), live_((ctx.enter(), 1)) {}
  CudaStepReplay(const CudaStepReplay&) = delete;
  CudaStepReplay& operator=(const CudaStepReplay&) = delete;
  ~CudaStepReplay() { forget(); }

  /// Runs f() or its recording. f must start all its work on the context's stream and wait for nothing, and what it
  /// reads outside the arena must keep its address: call `forget` if it does not.
  template <class F>
  void run(std::uint32_t step, Index batch_size, AdamW<B>& optimizer, const F& f) {
    gpu::launch(ctx_->resources(), 1, 1, gpu::set_live_kernel, live_.data(),
                gpu::LiveStep{step, optimizer.next_step()});
    const std::size_t generation = ctx_->arena_generation();
    const bool other_size = batch_size != batch_size_;
    if (other_size && batch_size_ != 0 && !last_was_other_) {  // one such batch: the last of an epoch
      last_was_other_ = true;
      return from_live(step, optimizer, f);
    }
    last_was_other_ = false;
    if (other_size || generation != generation_) {
      forget();
      generation_ = generation;
      batch_size_ = batch_size;
    }
    if (graph_ == nullptr && settled_ >= settling_steps && failures_ < most_failures) {
      failure_ = record(step, optimizer, f);
      if (!failure_.empty()) {
        ++failures_;
        settled_ = -1;  // this step is no sign that anything has settled
      }
    }
    if (graph_ == nullptr) {
      from_live(step, optimizer, f);
      settled_ = ctx_->arena_generation() == generation_ ? settled_ + 1 : 0;
      return;
    }
    const gpu::DeviceGuard here = ctx_->resources().start();
    REARM_CUDA_CHECK(cudaGraphLaunch(graph_, ctx_->resources().stream()));
    optimizer.set_step_count(optimizer.step_count() + 1);
  }
  /// Drops the recording; the next steps run as the first did.
  void forget() noexcept {
    if (graph_ != nullptr) {
      const std::lock_guard lock(gpu::device_wide_calls());
      cudaGraphExecDestroy(graph_);
    }
    graph_ = nullptr;
    settled_ = 0;
  }
  bool recorded() const noexcept { return graph_ != nullptr; }
  /// Kernels and copies that the recorded step starts; 0 if none is recorded.
  std::size_t launches() const noexcept { return recorded() ? launches_ : 0; }
  /// What CUDA said when the last attempt to record a step failed; empty if it did not.
  std::string_view failure() const noexcept { return failure_; }

 private:
  static constexpr int settling_steps = 3;  ///< at least 1: an epoch's first step may be of its own kind
  static constexpr int most_failures = 3;

  /// Runs f() with its random keys and updates reading `live_`.
  template <class F>
  void from_live(std::uint32_t step, AdamW<B>& optimizer, const F& f) {
    struct Source {
      gpu::Resources& resources;
      AdamW<B>& optimizer;
      ~Source() {
        resources.set_step_source(nullptr, 0);
        optimizer.set_step_source(nullptr);
      }
    } const source{ctx_->resources(), optimizer};
    source.resources.set_step_source(&live_.data()->step, step);
    optimizer.set_step_source(&live_.data()->adam);
    f();
  }
  /// Returns why there is no recording: a call of the step is one that CUDA does not record, or another thread has let
  /// the device wait meanwhile. What f throws beside that goes on.
  template <class F>
  std::string record(std::uint32_t step, AdamW<B>& optimizer, const F& f) {
    const gpu::DeviceGuard here = ctx_->resources().start();
    const std::lock_guard lock(gpu::device_wide_calls());
    struct Capture {
      cudaStream_t stream;
      AdamW<B>& optimizer;
      std::int64_t count = optimizer.step_count();
      cudaGraph_t recording = nullptr;
      bool under_way = false;
      cudaError_t end() {
        optimizer.set_step_count(count);  // nothing has run yet
        under_way = false;
        return cudaStreamEndCapture(stream, &recording);
      }
      ~Capture() {
        if (under_way) end();
        if (recording != nullptr) cudaGraphDestroy(recording);
        cudaGetLastError();
      }
    } capture{ctx_->resources().stream(), optimizer};
    try {
      REARM_CUDA_CHECK(cudaStreamBeginCapture(capture.stream, cudaStreamCaptureModeThreadLocal));
      capture.under_way = true;
      from_live(step, optimizer, f);
      ctx_->join();
      gpu::check(capture.end(), "cudaStreamEndCapture");
      REARM_CUDA_CHECK(cudaGraphGetNodes(capture.recording, nullptr, &launches_));
      REARM_CUDA_CHECK(cudaGraphInstantiate(&graph_, capture.recording, 0));
    } catch (const DeviceError& e) {
      return e.what();
    }
    return {};
  }

  Context<B>* ctx_;
  Buffer<gpu::LiveStep, CudaMemory> live_;
  cudaGraphExec_t graph_ = nullptr;
  std::size_t launches_ = 0;
  std::size_t generation_ = 0;
  Index batch_size_ = 0;
  bool last_was_other_ = false;
  int settled_ = 0;
  int failures_ = 0;
  std::string failure_;
};

}  // namespace rearm::REARM_ABI
