#pragma once
/// @file error.cuh
/// Every status of the CUDA runtime, cuBLAS and cuSPARSE becomes a DeviceError that names call, code and text.

#include <rearm/core/error.hpp>

#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <cusparse.h>

namespace rearm::REARM_ABI::gpu {

inline void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // a non-sticky error must not show up again in a later call
  throw DeviceError(detail::message(call, " failed with ", cudaGetErrorName(status), " (", static_cast<int>(status),
                                    "): ", cudaGetErrorString(status)));
}
inline void check(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw DeviceError(detail::message(call, " failed with ", cublasGetStatusName(status), " (",
                                      static_cast<int>(status), "): ", cublasGetStatusString(status)));
}
inline void check(cusparseStatus_t status, const char* call) {
  if (status != CUSPARSE_STATUS_SUCCESS)
    throw DeviceError(detail::message(call, " failed with ", cusparseGetErrorName(status), " (",
                                      static_cast<int>(status), "): ", cusparseGetErrorString(status)));
}

}  // namespace rearm::REARM_ABI::gpu

/// Calls and checks: REARM_CUDA_CHECK(cudaFree(p)).
#define REARM_CUDA_CHECK(call) ::rearm::gpu::check((call), #call)

/// Kernels have internal linkage: a header's kernel is registered once per translation unit, used or not.
#define REARM_KERNEL [[maybe_unused]] static __global__
