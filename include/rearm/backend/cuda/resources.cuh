#pragma once
/// @file resources.cuh
/// What a CUDA context owns: a stream, library handles and their workspace; and how a kernel is started.

#include <rearm/backend/cuda/memory.cuh>
#include <rearm/core/matrix.hpp>

#include <algorithm>
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

/// Owned by a Context. Throws ConfigError for a device that does not exist, DeviceError if there is none at all or a
/// call fails.
class Resources {
 public:
  explicit Resources(CudaOptions options) : options_(options) {
    std::string why;
    const int n = device_count(&why);
    if (n == 0)
      throw DeviceError("no CUDA device (or no driver for it) on this machine" + why + "; use the CPU backend");
    if (options.device < 0 || options.device >= n)
      throw ConfigError(detail::message("device = ", options.device, ": must be 0 to ", n - 1));
    const DeviceGuard here(options.device);
    const std::lock_guard lock(device_wide_calls());
    stream_ = std::make_shared<const Stream>(options.device);
    enter();
    try {
      REARM_CUDA_CHECK(cublasCreate(&blas_));
      REARM_CUDA_CHECK(cublasSetStream(blas_, stream_->handle));
      REARM_CUDA_CHECK(cublasSetMathMode(blas_, options.tf32 ? CUBLAS_TF32_TENSOR_OP_MATH : CUBLAS_DEFAULT_MATH));
      arrived_ = Buffer<unsigned, CudaMemory>(1);
      workspace_ = Buffer<unsigned char, CudaMemory>(static_cast<Index>(blas_workspace_bytes));
      REARM_CUDA_CHECK(cublasSetWorkspace(blas_, workspace_.data(), blas_workspace_bytes));
      REARM_CUDA_CHECK(cusparseCreate(&sparse_));
      REARM_CUDA_CHECK(cusparseSetStream(sparse_, stream_->handle));
    } catch (...) {
      release();
      throw;
    }
  }
  Resources(const Resources&) = delete;
  Resources& operator=(const Resources&) = delete;
  ~Resources() { release(); }

  const CudaOptions& options() const noexcept { return options_; }
  cudaStream_t stream() const noexcept { return stream_->handle; }
  cublasHandle_t blas() const noexcept { return blas_; }
  cusparseHandle_t sparse() const noexcept { return sparse_; }
  /// From now on the calling thread takes memory on this context's device.
  void enter() const noexcept {
    if (auto& last = ThreadUse::own().last; !same(last, stream_)) last = stream_;
  }
  /// To be held while work is started: the device is then the calling thread's, whose copies will wait for the work.
  [[nodiscard]] DeviceGuard start() const {
    enter();
    auto& waiting = ThreadUse::own().waiting;
    if (std::ranges::none_of(waiting, [&](const auto& stream) { return same(stream, stream_); }))
      waiting.push_back(stream_);
    return DeviceGuard(stream_->device);
  }
  /// Waits for everything this context started, whoever did: to be called before another thread goes on with it.
  void synchronize() const { REARM_CUDA_CHECK(cudaStreamSynchronize(stream())); }
  /// Counts the blocks of a kernel that have finished; 0 between kernels.
  unsigned* arrived() const noexcept { return arrived_.data(); }
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
  void release() noexcept try {
    const DeviceGuard here(stream_->device);
    cudaStreamSynchronize(stream_->handle);
    const std::lock_guard lock(device_wide_calls());
    if (sparse_ != nullptr) cusparseDestroy(sparse_);
    if (blas_ != nullptr) cublasDestroy(blas_);
  } catch (const DeviceError&) {  // a device that is lost has taken the handles along
  }
  CudaOptions options_;
  std::shared_ptr<const Stream> stream_;
  cublasHandle_t blas_ = nullptr;
  cusparseHandle_t sparse_ = nullptr;
  Buffer<unsigned char, CudaMemory> workspace_;
  mutable Buffer<unsigned, CudaMemory> arrived_;
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
