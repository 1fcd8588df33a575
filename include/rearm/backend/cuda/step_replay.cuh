#pragma once
/// @file step_replay.cuh
/// A training step recorded as a CUDA graph and replayed: one call a step instead of hundreds.

#include <rearm/backend/cuda/cuda_backend.cuh>
#include <rearm/train/step_replay.hpp>

#include <cstddef>
#include <cstdint>

namespace rearm {
namespace gpu {

/// What changes from step to step, where a recorded step reads it.
template <class T>
struct LiveStep {
  std::uint32_t step;
  functors::AdamStep<T> adam;
};

template <class T>
REARM_KERNEL void set_live_kernel(LiveStep<T>* to, LiveStep<T> value) {
  *to = value;
}

}  // namespace gpu

/// The first steps run as they are, until the arena has found its size; then one is recorded, and replayed for every
/// batch of the same size as long as the arena keeps its addresses. A single batch of another size runs unrecorded.
template <class T>
class StepReplay<CudaBackend<T>> {
 public:
  using B = CudaBackend<T>;
  explicit StepReplay(Context<B>& ctx) : ctx_(&ctx), live_(1) {}
  StepReplay(const StepReplay&) = delete;
  StepReplay& operator=(const StepReplay&) = delete;
  ~StepReplay() { forget(); }

  /// f() or what was recorded of it. f must start its work on the context's stream alone and wait for nothing.
  template <class F>
  void run(std::uint32_t step, Index batch_size, AdamW<B>& optimizer, const F& f) {
    const std::size_t generation = ctx_->arena().generation();
    const bool other_size = batch_size != batch_size_;
    if (other_size && batch_size_ != 0 && !last_was_other_) {  // one such batch: the last of an epoch
      last_was_other_ = true;
      return f();
    }
    last_was_other_ = false;
    if (other_size || generation != generation_) {
      forget();
      generation_ = generation;
      batch_size_ = batch_size;
      settled_ = 0;
    }
    if (graph_ == nullptr && settled_ >= settling_steps) record(step, optimizer, f);
    if (graph_ == nullptr) {
      f();
      settled_ = ctx_->arena().generation() == generation_ ? settled_ + 1 : 0;
      return;
    }
    gpu::launch(ctx_->resources(), 1, 1, gpu::set_live_kernel<T>, live_.data(),
                gpu::LiveStep<T>{step, optimizer.next_step()});
    REARM_CUDA_CHECK(cudaGraphLaunch(graph_, ctx_->resources().stream()));
    optimizer.set_step_count(optimizer.step_count() + 1);
  }
  bool recorded() const noexcept { return graph_ != nullptr; }
  /// Kernels and copies that the recorded step starts; 0 without one.
  std::size_t launches() const noexcept { return recorded() ? launches_ : 0; }

 private:
  static constexpr int settling_steps = 3;

  template <class F>
  void record(std::uint32_t step, AdamW<B>& optimizer, const F& f) {
    gpu::Resources& resources = ctx_->resources();
    const std::int64_t count = optimizer.step_count();
    resources.set_step_source(&live_.data()->step, step);
    optimizer.set_step_source(&live_.data()->adam);
    cudaGraph_t recording = nullptr;
    const auto end = [&] {
      resources.set_step_source(nullptr, 0);
      optimizer.set_step_source(nullptr);
      optimizer.set_step_count(count);  // nothing has run yet
      return cudaStreamEndCapture(resources.stream(), &recording);
    };
    REARM_CUDA_CHECK(cudaStreamBeginCapture(resources.stream(), cudaStreamCaptureModeThreadLocal));
    try {
      f();
    } catch (...) {
      end();
      if (recording != nullptr) cudaGraphDestroy(recording);
      cudaGetLastError();
      throw;
    }
    gpu::check(end(), "cudaStreamEndCapture");
    cudaError_t status = cudaGraphGetNodes(recording, nullptr, &launches_);
    if (status == cudaSuccess) status = cudaGraphInstantiate(&graph_, recording, 0);
    cudaGraphDestroy(recording);
    gpu::check(status, "cudaGraphInstantiate");
  }
  void forget() noexcept {
    if (graph_ != nullptr) cudaGraphExecDestroy(graph_);
    graph_ = nullptr;
  }

  Context<B>* ctx_;
  Buffer<gpu::LiveStep<T>, CudaMemory> live_;
  cudaGraphExec_t graph_ = nullptr;
  std::size_t launches_ = 0;
  std::size_t generation_ = 0;
  Index batch_size_ = 0;
  bool last_was_other_ = false;
  int settled_ = 0;
};

}  // namespace rearm
