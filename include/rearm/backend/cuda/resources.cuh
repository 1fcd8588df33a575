#pragma once
/// @file resources.cuh
/// What a CUDA context owns: for each branch of a step a stream, library handles and their workspace; and how a kernel
/// is started.

#include <rearm/backend/cuda/memory.cuh>
#include <rearm/core/matrix.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace rearm::REARM_ABI {

/// Settings of a CUDA context.
struct CudaOptions {
  int device = 0;
  /// Dense products of floats in TF32 on tensor cores: ten bits of mantissa instead of 23, several times as fast.
  bool tf32 = false;
  /// Sparse products with our kernel, which sums in a fixed order, instead of cuSPARSE: the same bits run after run.
  bool deterministic = true;
  /// Updates of tables with products in FP32 and correctly rounded divisions and roots, instead of 3xTF32
  /// (backend/cuda/tensor_cores.cuh) and quotients and roots good to 2 units in the last place.
  bool exact_updates = false;
  /// What `Context::in_branch` is given runs on two streams, one beside the other; otherwise in one chain. The bits are
  /// the same. Costs a second workspace of cuBLAS.
  bool branches = true;
};

namespace gpu {

/// Size of cuBLAS's workspace, set beforehand so that it allocates nothing while a step is recorded.
inline constexpr std::size_t blas_workspace_bytes = std::size_t{32} << 20;

/// Number of usable devices; 0 also without a driver, and `why` then says what CUDA says.
inline int device_count(std::string* why = nullptr) {
  int n = 0;
  const cudaError_t status = cudaGetDeviceCount(&n);
  if (status == cudaSuccess) return n;
  cudaGetLastError();
  if (why != nullptr) *why = detail::message(": ", cudaGetErrorName(status), ", ", cudaGetErrorString(status));
  return 0;
}

/// What work needs that other work may run beside: a stream, library handles, their workspace, a counter. Made and
/// destroyed on its device.
class Lane {
 public:
  explicit Lane(const CudaOptions& options) : stream_(std::make_shared<const Stream>(options.device)) {
    ThreadUse::own().last = stream_;  // memory is taken there
    try {
      REARM_CUDA_CHECK(cudaEventCreateWithFlags(&mark_, cudaEventDisableTiming));
      REARM_CUDA_CHECK(cublasCreate(&blas_));
      REARM_CUDA_CHECK(cublasSetStream(blas_, stream()));
      REARM_CUDA_CHECK(cublasSetMathMode(blas_, options.tf32 ? CUBLAS_TF32_TENSOR_OP_MATH : CUBLAS_DEFAULT_MATH));
      arrived_ = Buffer<unsigned, CudaMemory>(1);
      workspace_ = Buffer<unsigned char, CudaMemory>(static_cast<Index>(blas_workspace_bytes));
      REARM_CUDA_CHECK(cublasSetWorkspace(blas_, workspace_.data(), blas_workspace_bytes));
      REARM_CUDA_CHECK(cusparseCreate(&sparse_));
      REARM_CUDA_CHECK(cusparseSetStream(sparse_, stream()));
    } catch (...) {
      release();
      throw;
    }
  }
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;
  ~Lane() { release(); }

  const std::shared_ptr<const Stream>& shared_stream() const noexcept { return stream_; }
  cudaStream_t stream() const noexcept { return stream_->handle; }
  cublasHandle_t blas() const noexcept { return blas_; }
  cusparseHandle_t sparse() const noexcept { return sparse_; }
  unsigned* arrived() const noexcept { return arrived_.data(); }
  /// What this lane is given from now on waits for all that `other` has been given.
  void wait_for(const Lane& other) const {
    REARM_CUDA_CHECK(cudaEventRecord(other.mark_, other.stream()));
    REARM_CUDA_CHECK(cudaStreamWaitEvent(stream(), other.mark_, 0));
  }

 private:
  void release() noexcept try {
    const DeviceGuard here(stream_->device);
    const std::lock_guard lock(device_wide_calls());
    if (sparse_ != nullptr) cusparseDestroy(sparse_);
    if (blas_ != nullptr) cublasDestroy(blas_);
    if (mark_ != nullptr) cudaEventDestroy(mark_);
  } catch (const DeviceError&) {  // a device that is lost has taken the handles along
  }
  std::shared_ptr<const Stream> stream_;
  cudaEvent_t mark_ = nullptr;
  cublasHandle_t blas_ = nullptr;
  cusparseHandle_t sparse_ = nullptr;
  Buffer<unsigned char, CudaMemory> workspace_;
  mutable Buffer<unsigned, CudaMemory> arrived_;
};

/// Owned by a Context. Throws ConfigError for a device that does not exist, DeviceError if there is none at all or a
/// call fails.
///
/// Work is started in branch 0, in branch 1, or in none (`set_branch`). The branches run beside each other, each in the
/// order of its calls. The first of them to be entered waits for nothing new and begins where work in none has ended;
/// work in none waits for both. Without `CudaOptions::branches` all is in none.
class Resources {
 public:
  static constexpr int n_branches = 2;

  explicit Resources(CudaOptions options) : options_(options) {
    std::string why;
    const int n = device_count(&why);
    if (n == 0)
      throw DeviceError("no CUDA device (or no driver for it) on this machine" + why + "; use the CPU backend");
    if (options.device < 0 || options.device >= n)
      throw ConfigError(detail::message("device = ", options.device, ": must be 0 to ", n - 1));
    const DeviceGuard here(options.device);
    const std::lock_guard lock(device_wide_calls());
    lanes_[0] = std::make_unique<const Lane>(options);
    if (options.branches) lanes_[1] = std::make_unique<const Lane>(options);
    enter();
  }
  Resources(const Resources&) = delete;
  Resources& operator=(const Resources&) = delete;
  ~Resources() {
    for (const auto& lane : lanes_)  // either may wait for the other
      if (lane != nullptr) cudaStreamSynchronize(lane->stream());
  }

  const CudaOptions& options() const noexcept { return options_; }
  /// Of the branch that work belongs to.
  cudaStream_t stream() const noexcept { return lane().stream(); }
  cublasHandle_t blas() const noexcept { return lane().blas(); }
  cusparseHandle_t sparse() const noexcept { return lane().sparse(); }
  /// From now on the calling thread takes memory on this context's device.
  void enter() const noexcept {
    const auto& stream = lanes_.front()->shared_stream();
    if (auto& last = ThreadUse::own().last; !same(last, stream)) last = stream;
  }
  /// To be held while work is started: the device is then the calling thread's, whose copies will wait for the work.
  [[nodiscard]] DeviceGuard start() const {
    enter();
    if (branch_ < 0) join();
    auto& waiting = ThreadUse::own().waiting;
    const auto& stream = lane().shared_stream();
    if (std::ranges::none_of(waiting, [&](const auto& other) { return same(other, stream); }))
      waiting.push_back(stream);
    return DeviceGuard(options_.device);
  }
  /// Waits for everything this context started, whoever did: to be called before another thread goes on with it.
  void synchronize() const {
    for (const auto& lane : lanes_)
      if (lane != nullptr) REARM_CUDA_CHECK(cudaStreamSynchronize(lane->stream()));
  }
  /// The branch that work belongs to, or -1 for none.
  int branch() const noexcept { return branch_; }
  void set_branch(int branch) {
    if (!options_.branches) return;
    if (branch >= 0 && !apart_) {
      lanes_[1]->wait_for(*lanes_[0]);
      apart_ = true;
    }
    branch_ = branch;
  }
  /// Work started from now on, in whatever branch, waits for both.
  void join() const {
    if (!apart_) return;
    lanes_[0]->wait_for(*lanes_[1]);
    apart_ = false;
  }
  /// Work of this branch started from now on waits for what the other has been given so far.
  void wait_for_other_branch() const {
    if (branch_ >= 0) lane().wait_for(*lanes_[static_cast<std::size_t>(1 - branch_)]);
  }
  /// Counts the blocks of a kernel that have finished; 0 between kernels. Each branch has its own.
  unsigned* arrived() const noexcept { return lane().arrived(); }
  /// In a step that may be replayed, where its random keys read the step number; null otherwise.
  const std::uint32_t* step_source() const noexcept { return step_source_; }
  /// The step number when `set_step_source` was called.
  std::uint32_t recorded_step() const noexcept { return recorded_step_; }
  void set_step_source(const std::uint32_t* source, std::uint32_t step) noexcept {
    step_source_ = source;
    recorded_step_ = step;
  }
  std::string device_name() const {
    cudaDeviceProp properties{};
    REARM_CUDA_CHECK(cudaGetDeviceProperties(&properties, options_.device));
    return properties.name;
  }

 private:
  const Lane& lane() const noexcept { return *lanes_[branch_ > 0 ? 1 : 0]; }
  CudaOptions options_;
  std::array<std::unique_ptr<const Lane>, n_branches> lanes_;
  int branch_ = -1;
  mutable bool apart_ = false;  ///< the second lane has work that the first has not waited for
  const std::uint32_t* step_source_ = nullptr;
  std::uint32_t recorded_step_ = 0;
};

/// Starts `kernel` on the stream of `resources` with `blocks` x `threads`; does nothing without blocks.
template <class... Parameters, class... Arguments>
void launch(const Resources& resources, dim3 blocks, unsigned threads, void (*kernel)(Parameters...),
            Arguments&&... arguments) {
  if (blocks.x == 0 || blocks.y == 0 || blocks.z == 0) return;
  cudaLaunchConfig_t config{};
  config.gridDim = blocks;
  config.blockDim = dim3(threads);
  config.stream = resources.stream();
  const DeviceGuard here = resources.start();
  REARM_CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...));
}

/// Number of blocks of `per_block` that n needs.
inline unsigned blocks_for(Index n, Index per_block) { return static_cast<unsigned>((n + per_block - 1) / per_block); }

}  // namespace gpu
}  // namespace rearm::REARM_ABI
