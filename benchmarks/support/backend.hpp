#pragma once
/// @file backend.hpp
/// The backend that is measured: the CPU's, or with REARM_BENCH_CUDA a GPU's.

#if defined(REARM_BENCH_CUDA)
#include <rearm/cuda.cuh>
#if defined(__NVCC__)  // an emulated device has no profiler
#include <cuda_profiler_api.h>
#endif
#else
#include <rearm/rearm.hpp>
#endif

#include <string>

namespace rearm::bench {

#if defined(REARM_BENCH_CUDA)
using B = CudaBackend<float>;
#else
using B = CpuBackend<float>;
#endif

inline constexpr bool on_host = B::Memory::host_accessible;
/// A matrix in the backend's memory.
using BackendMatrix = Matrix<float, B::Memory>;

/// Waits for what a device was told to do.
inline void finish([[maybe_unused]] Context<B>& ctx) {
#if defined(REARM_BENCH_CUDA)
  ctx.resources().synchronize();
#endif
}

/// Around what is measured, for a profiler that waits for it (ncu --profile-from-start off).
inline void set_profiled([[maybe_unused]] bool on) {
#if defined(__NVCC__)
  static_cast<void>(on ? cudaProfilerStart() : cudaProfilerStop());
#endif
}

/// How rows of results say where they were made.
inline std::string backend_suffix() { return std::string("/").append(B::name()); }

}  // namespace rearm::bench
