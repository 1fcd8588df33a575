// The dense products of cuBLAS. They round in an order of their own, so only tolerances can be compared.
#pragma once

#include "cuda_runtime.h"

#define EMULATED_CUBLAS_STATUSES(X)     \
  X(CUBLAS_STATUS_SUCCESS, 0)           \
  X(CUBLAS_STATUS_NOT_INITIALIZED, 1)   \
  X(CUBLAS_STATUS_ALLOC_FAILED, 3)      \
  X(CUBLAS_STATUS_INVALID_VALUE, 7)     \
  X(CUBLAS_STATUS_ARCH_MISMATCH, 8)     \
  X(CUBLAS_STATUS_MAPPING_ERROR, 11)    \
  X(CUBLAS_STATUS_EXECUTION_FAILED, 13) \
  X(CUBLAS_STATUS_INTERNAL_ERROR, 14)   \
  X(CUBLAS_STATUS_NOT_SUPPORTED, 15)    \
  X(CUBLAS_STATUS_LICENSE_ERROR, 16)

enum cublasStatus_t {
#define X(name, value) name = value,
  EMULATED_CUBLAS_STATUSES(X)
#undef X
};
inline const char* cublasGetStatusName(cublasStatus_t status) {
  switch (status) {
#define X(name, value) \
  case name:           \
    return #name;
    EMULATED_CUBLAS_STATUSES(X)
#undef X
  }
  return "unknown cuBLAS status";
}
#undef EMULATED_CUBLAS_STATUSES
inline const char* cublasGetStatusString(cublasStatus_t status) { return cublasGetStatusName(status); }

enum cublasOperation_t { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1, CUBLAS_OP_C = 2 };
enum cublasPointerMode_t { CUBLAS_POINTER_MODE_HOST = 0, CUBLAS_POINTER_MODE_DEVICE = 1 };
enum cublasMath_t { CUBLAS_DEFAULT_MATH = 0, CUBLAS_PEDANTIC_MATH = 2, CUBLAS_TF32_TENSOR_OP_MATH = 3 };
enum cublasGemmAlgo_t { CUBLAS_GEMM_DEFAULT = -1, CUBLAS_GEMM_DEFAULT_TENSOR_OP = 99 };
enum cublasComputeType_t {
  CUBLAS_COMPUTE_32F = 68,
  CUBLAS_COMPUTE_32F_PEDANTIC = 69,
  CUBLAS_COMPUTE_32F_FAST_TF32 = 77,
  CUBLAS_COMPUTE_64F = 70
};

struct cublasContext {
  cudaStream_t stream = nullptr;
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
};
using cublasHandle_t = cublasContext*;

namespace emulated_cuda {

struct Gemm {
  bool transpose_a, transpose_b, tf32;
  int m, n, k;
  double alpha, beta;
  const void *a, *b;
  void* c;
  cudaDataType type_ab, type_c;
  int lda, ldb, ldc;
};

inline std::size_t bytes_of(cudaDataType type) { return type == CUDA_R_64F ? 8 : type == CUDA_R_16BF ? 2 : 4; }

template <class T>
T load(const void* p, cudaDataType type, std::size_t i) {
  if (type != CUDA_R_16BF) return static_cast<const T*>(p)[i];
  return static_cast<T>(__uint_as_float(unsigned{static_cast<const std::uint16_t*>(p)[i]} << 16));
}
template <class T>
void store(void* p, cudaDataType type, std::size_t i, T value) {
  if (type != CUDA_R_16BF) {
    static_cast<T*>(p)[i] = value;
    return;
  }
  const unsigned bits = __float_as_uint(static_cast<float>(value));
  const bool nan = value != value;
  static_cast<std::uint16_t*>(p)[i] =
      static_cast<std::uint16_t>((nan ? bits | 0x400000u : bits + 0x7FFFu + (bits >> 16 & 1)) >> 16);
}
// TF32 keeps ten bits of the fraction: what is sensitive to it should show here too.
inline float to_tf32(float x) { return __uint_as_float((__float_as_uint(x) + 0x1000u) & ~0x1FFFu); }

// op(A) as columns of `rows` values.
template <class T>
std::vector<T> gather(const void* p, cudaDataType type, bool transpose, int rows, int columns, int ld, bool tf32) {
  std::vector<T> result(static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns));
  std::size_t at = 0;
  for (int j = 0; j < columns; ++j) {
    for (int i = 0; i < rows; ++i) {
      const long index = transpose ? j + static_cast<long>(i) * ld : i + static_cast<long>(j) * ld;
      T value = load<T>(p, type, static_cast<std::size_t>(index));
      if constexpr (std::is_same_v<T, float>) {
        if (tf32 && std::isfinite(value)) value = to_tf32(value);
      }
      result[at++] = value;
    }
  }
  return result;
}

inline std::size_t extent(int rows, int columns, int ld, cudaDataType type) {
  if (rows == 0 || columns == 0) return 0;
  return (static_cast<std::size_t>(columns - 1) * static_cast<std::size_t>(ld) + static_cast<std::size_t>(rows)) *
         bytes_of(type);
}

template <class T>
void run_gemm(const Gemm& g) {
  const int rows_a = g.transpose_a ? g.k : g.m, columns_a = g.transpose_a ? g.m : g.k;
  const int rows_b = g.transpose_b ? g.n : g.k, columns_b = g.transpose_b ? g.k : g.n;
  const T alpha = static_cast<T>(g.alpha), beta = static_cast<T>(g.beta);
  std::vector<T> a, b;
  const bool product = alpha != 0;  // BLAS reads neither A nor B otherwise
  if (product) {
    require_device(g.a, extent(rows_a, columns_a, g.lda, g.type_ab), "gemm: A");
    require_device(g.b, extent(rows_b, columns_b, g.ldb, g.type_ab), "gemm: B");
    a = gather<T>(g.a, g.type_ab, g.transpose_a, g.m, g.k, g.lda, g.tf32);
    b = gather<T>(g.b, g.type_ab, g.transpose_b, g.k, g.n, g.ldb, g.tf32);
  }
  require_device(g.c, extent(g.m, g.n, g.ldc, g.type_c), "gemm: C");
  const std::size_t m = static_cast<std::size_t>(g.m), k = static_cast<std::size_t>(g.k);
  std::vector<T> column(m);
  for (std::size_t j = 0; j < static_cast<std::size_t>(g.n); ++j) {
    std::fill(column.begin(), column.end(), T{0});
    for (std::size_t p = 0; product && p < k; ++p) {
      const T factor = b[j * k + p];
      for (std::size_t i = 0; i < m; ++i) column[i] += a[p * m + i] * factor;
    }
    for (std::size_t i = 0; i < m; ++i) {
      const std::size_t at = j * static_cast<std::size_t>(g.ldc) + i;
      T value = alpha * column[i];
      if (beta != 0) value += beta * load<T>(g.c, g.type_c, at);
      store(g.c, g.type_c, at, value);
    }
  }
}

inline cublasStatus_t gemm(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k,
                           const void* alpha, const void* a, cudaDataType type_ab, int lda, const void* b, int ldb,
                           const void* beta, void* c, cudaDataType type_c, int ldc, bool fast_tf32) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  const bool transpose_a = op_a != CUBLAS_OP_N, transpose_b = op_b != CUBLAS_OP_N;
  if (m < 0 || n < 0 || k < 0 || alpha == nullptr || beta == nullptr || lda < std::max(1, transpose_a ? k : m) ||
      ldb < std::max(1, transpose_b ? n : k) || ldc < std::max(1, m)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (runtime().in_heap(alpha) || runtime().in_heap(beta)) stop("gemm: alpha and beta must be host memory");
  if (m == 0 || n == 0) return CUBLAS_STATUS_SUCCESS;
  const bool wide = type_c == CUDA_R_64F;
  const auto scalar = [&](const void* p) {
    return wide ? *static_cast<const double*>(p) : static_cast<double>(*static_cast<const float*>(p));
  };
  const bool tf32 = type_ab == CUDA_R_32F && (fast_tf32 || handle->math == CUBLAS_TF32_TENSOR_OP_MATH);
  const Gemm g{transpose_a, transpose_b, tf32, m,       n,      k,   scalar(alpha), scalar(beta),
               a,           b,           c,    type_ab, type_c, lda, ldb,           ldc};
  const cudaError_t error = call([&](Runtime& r) {
    return r.enqueue(handle->stream, [g, wide] { wide ? run_gemm<double>(g) : run_gemm<float>(g); });
  });
  return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // namespace emulated_cuda

inline cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
  if (handle == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  // The real one allocates, which a capture does not allow.
  const cudaError_t error = emulated_cuda::call([](emulated_cuda::Runtime& r) {
    return r.spoils_capture(nullptr, emulated_cuda::Runtime::Reach::allocation) ? cudaErrorStreamCaptureUnsupported
                                                                                : cudaSuccess;
  });
  if (error != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasGetStream_v2(cublasHandle_t handle, cudaStream_t* stream) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  *stream = handle->stream;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  handle->math = mode;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasGetMathMode(cublasHandle_t handle, cublasMath_t* mode) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  *mode = handle->math;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void* workspace, std::size_t bytes) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (reinterpret_cast<std::uintptr_t>(workspace) % 256 != 0) return CUBLAS_STATUS_INVALID_VALUE;
  emulated_cuda::require_device(workspace, bytes, "cublasSetWorkspace");
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasSetPointerMode_v2(cublasHandle_t handle, cublasPointerMode_t mode) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  return mode == CUBLAS_POINTER_MODE_HOST ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}
inline cublasStatus_t cublasSgemm_v2(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m,
                                     int n, int k, const float* alpha, const float* a, int lda, const float* b, int ldb,
                                     const float* beta, float* c, int ldc) {
  return emulated_cuda::gemm(handle, op_a, op_b, m, n, k, alpha, a, CUDA_R_32F, lda, b, ldb, beta, c, CUDA_R_32F, ldc,
                             false);
}
inline cublasStatus_t cublasDgemm_v2(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m,
                                     int n, int k, const double* alpha, const double* a, int lda, const double* b,
                                     int ldb, const double* beta, double* c, int ldc) {
  return emulated_cuda::gemm(handle, op_a, op_b, m, n, k, alpha, a, CUDA_R_64F, lda, b, ldb, beta, c, CUDA_R_64F, ldc,
                             false);
}
inline cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b,
                                                int m, int n, int k, const float* alpha, const float* a, int lda,
                                                long long stride_a, const float* b, int ldb, long long stride_b,
                                                const float* beta, float* c, int ldc, long long stride_c, int batch) {
  if (batch < 0) return CUBLAS_STATUS_INVALID_VALUE;
  cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
  for (int i = 0; i < batch && status == CUBLAS_STATUS_SUCCESS; ++i) {
    status = cublasSgemm_v2(handle, op_a, op_b, m, n, k, alpha, a + i * stride_a, lda, b + i * stride_b, ldb, beta,
                            c + i * stride_c, ldc);
  }
  return status;
}
inline cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n,
                                   int k, const void* alpha, const void* a, cudaDataType type_a, int lda, const void* b,
                                   cudaDataType type_b, int ldb, const void* beta, void* c, cudaDataType type_c,
                                   int ldc, cublasComputeType_t compute, cublasGemmAlgo_t) {
  const bool same = type_a == type_b && type_a == type_c;
  const bool single =
      compute != CUBLAS_COMPUTE_64F && ((same && (type_a == CUDA_R_32F || type_a == CUDA_R_16BF)) ||
                                        (type_a == CUDA_R_16BF && type_b == CUDA_R_16BF && type_c == CUDA_R_32F));
  if (!single && !(compute == CUBLAS_COMPUTE_64F && same && type_a == CUDA_R_64F)) return CUBLAS_STATUS_NOT_SUPPORTED;
  return emulated_cuda::gemm(handle, op_a, op_b, m, n, k, alpha, a, type_a, lda, b, ldb, beta, c, type_c, ldc,
                             compute == CUBLAS_COMPUTE_32F_FAST_TF32);
}

#define cublasCreate cublasCreate_v2
#define cublasDestroy cublasDestroy_v2
#define cublasSetStream cublasSetStream_v2
#define cublasGetStream cublasGetStream_v2
#define cublasSetWorkspace cublasSetWorkspace_v2
#define cublasSetPointerMode cublasSetPointerMode_v2
#define cublasSgemm cublasSgemm_v2
#define cublasDgemm cublasDgemm_v2
