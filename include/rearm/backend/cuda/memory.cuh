#pragma once
/// @file memory.cuh
/// A device's memory, and what a thread must know to use it: which device, and what it has started there.

#include <rearm/backend/cuda/error.cuh>

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

namespace rearm::REARM_ABI {
namespace gpu {

/// Makes a device the calling thread's until the guard goes; then the one before is again. Where they differ this makes
/// CUDA open both: a program that uses one device alone calls cudaSetDevice first.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device) {
    REARM_CUDA_CHECK(cudaGetDevice(&before_));
    if (before_ == device)
      before_ = -1;
    else
      REARM_CUDA_CHECK(cudaSetDevice(device));
  }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;
  ~DeviceGuard() {
    if (before_ >= 0) cudaSetDevice(before_);
  }

 private:
  int before_ = -1;
};

/// A stream of a device; it waits for no other stream.
struct Stream {
  int device;
  cudaStream_t handle = nullptr;
  explicit Stream(int on) : device(on) {
    const DeviceGuard here(device);
    REARM_CUDA_CHECK(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking));
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { cudaStreamDestroy(handle); }
};

/// What the calling thread has used, as CUDA keeps a thread's current device.
struct ThreadUse {
  std::weak_ptr<const Stream> last;                  ///< of the context that it entered last
  std::vector<std::weak_ptr<const Stream>> waiting;  ///< where it started work since it waited
  static ThreadUse& own() {
    static thread_local ThreadUse use;
    return use;
  }
};
inline bool same(const std::weak_ptr<const Stream>& a, const std::shared_ptr<const Stream>& b) noexcept {
  return !a.owner_before(b) && !b.owner_before(a);
}
/// Waits for what the calling thread has started, and for nobody else's work.
inline void wait_for_own_work() {
  auto& waiting = ThreadUse::own().waiting;
  for (const auto& stream : waiting)
    if (const auto there = stream.lock()) REARM_CUDA_CHECK(cudaStreamSynchronize(there->handle));
  waiting.clear();
}

/// Held by who records, and by calls for which a whole device may wait, which would spoil another thread's recording.
/// One for the process, as its devices are.
inline std::recursive_mutex& device_wide_calls() {
  static std::recursive_mutex mutex;
  return mutex;
}

/// The device of the context that the calling thread entered last; without one its current device.
inline int device_in_use() {
  if (const auto last = ThreadUse::own().last.lock()) return last->device;
  int device = 0;
  REARM_CUDA_CHECK(cudaGetDevice(&device));
  return device;
}

}  // namespace gpu

/// What `Buffer`, `Matrix` and `Arena` need of a device. Memory is taken on the device of the context that the thread
/// entered last (`Context::enter`). Copies and zeroing wait for all that the thread has started, on any device, and are
/// done on a stream of the thread's own: other threads' work and recordings go on beside them. What another thread has
/// started must be waited for there (`Resources::synchronize`). Throws DeviceError.
struct CudaMemory {
  static constexpr bool host_accessible = false;

  static void* allocate(std::size_t bytes) {
    const gpu::DeviceGuard here(gpu::device_in_use());
    const std::lock_guard lock(gpu::device_wide_calls());
    void* p = nullptr;
    const cudaError_t status = cudaMalloc(&p, bytes);
    if (status != cudaErrorMemoryAllocation) {
      gpu::check(status, "cudaMalloc");
      return p;
    }
    cudaGetLastError();
    std::size_t free = 0;
    std::size_t total = 0;
    REARM_CUDA_CHECK(cudaMemGetInfo(&free, &total));
    throw DeviceError(detail::message("cudaMalloc: ", bytes, " bytes were asked for but the device has ", free, " of ",
                                      total,
                                      " free; use features = frozen or residual, bfloat16_tables = true, "
                                      "bfloat16_moments = true, a smaller batch_size or another device"));
  }
  static void deallocate(void* p, std::size_t /*bytes*/) noexcept {
    const std::lock_guard lock(gpu::device_wide_calls());
    cudaFree(p);
  }
  static void zero(void* p, std::size_t bytes) {
    at_once(p, bytes, "cudaMemsetAsync", [&] { return cudaMemsetAsync(p, 0, bytes, cudaStreamPerThread); });
  }
  static void copy(void* to, const void* from, std::size_t bytes) {
    copy(to, from, bytes, to, cudaMemcpyDeviceToDevice);
  }
  static void copy_to_host(void* to, const void* from, std::size_t bytes) {
    copy(to, from, bytes, from, cudaMemcpyDeviceToHost);
  }
  static void copy_from_host(void* to, const void* from, std::size_t bytes) {
    copy(to, from, bytes, to, cudaMemcpyHostToDevice);
  }

 private:
  static void copy(void* to, const void* from, std::size_t bytes, const void* there, cudaMemcpyKind kind) {
    at_once(there, bytes, "cudaMemcpyAsync",
            [&] { return cudaMemcpyAsync(to, from, bytes, kind, cudaStreamPerThread); });
  }
  /// Starts f() when the thread's work is done, on the device where `there` lies, and waits for it.
  template <class F>
  static void at_once(const void* there, std::size_t bytes, const char* call, const F& f) {
    if (bytes == 0) return;
    gpu::wait_for_own_work();
    cudaPointerAttributes attributes{};
    REARM_CUDA_CHECK(cudaPointerGetAttributes(&attributes, there));
    const gpu::DeviceGuard here(attributes.device);
    gpu::check(f(), call);
    gpu::check(cudaStreamSynchronize(cudaStreamPerThread), call);
  }
};

}  // namespace rearm::REARM_ABI
