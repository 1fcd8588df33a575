#pragma once
/// @file memory.cuh
/// Memory of the current device.

#include <rearm/backend/cuda/error.cuh>

#include <cstddef>

namespace rearm::REARM_ABI {

/// What `Buffer`, `Matrix` and `Arena` need of a device. Copies and zeroing wait for all work in flight: they are for
/// loading, metrics and saving. Throws DeviceError.
struct CudaMemory {
  static constexpr bool host_accessible = false;

  static void* allocate(std::size_t bytes) {
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
  static void deallocate(void* p, std::size_t /*bytes*/) noexcept { cudaFree(p); }
  static void zero(void* p, std::size_t bytes) {
    REARM_CUDA_CHECK(cudaDeviceSynchronize());
    REARM_CUDA_CHECK(cudaMemset(p, 0, bytes));
    REARM_CUDA_CHECK(cudaDeviceSynchronize());  // a memset may return before it is done
  }
  static void copy(void* to, const void* from, std::size_t bytes) {
    REARM_CUDA_CHECK(cudaDeviceSynchronize());
    REARM_CUDA_CHECK(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToDevice));
    REARM_CUDA_CHECK(cudaDeviceSynchronize());
  }
  static void copy_to_host(void* to, const void* from, std::size_t bytes) {
    if (bytes == 0) return;
    REARM_CUDA_CHECK(cudaDeviceSynchronize());
    REARM_CUDA_CHECK(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost));
  }
  static void copy_from_host(void* to, const void* from, std::size_t bytes) {
    if (bytes == 0) return;
    REARM_CUDA_CHECK(cudaDeviceSynchronize());
    REARM_CUDA_CHECK(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice));
    REARM_CUDA_CHECK(cudaDeviceSynchronize());  // a small copy may still be in flight
  }
};

}  // namespace rearm::REARM_ABI
