// The product of a CSR matrix and a dense one, of cuSPARSE.
#pragma once

#include "cuda_runtime.h"

#define EMULATED_CUSPARSE_STATUSES(X)             \
  X(CUSPARSE_STATUS_SUCCESS, 0)                   \
  X(CUSPARSE_STATUS_NOT_INITIALIZED, 1)           \
  X(CUSPARSE_STATUS_ALLOC_FAILED, 2)              \
  X(CUSPARSE_STATUS_INVALID_VALUE, 3)             \
  X(CUSPARSE_STATUS_ARCH_MISMATCH, 4)             \
  X(CUSPARSE_STATUS_MAPPING_ERROR, 5)             \
  X(CUSPARSE_STATUS_EXECUTION_FAILED, 6)          \
  X(CUSPARSE_STATUS_INTERNAL_ERROR, 7)            \
  X(CUSPARSE_STATUS_MATRIX_TYPE_NOT_SUPPORTED, 8) \
  X(CUSPARSE_STATUS_ZERO_PIVOT, 9)                \
  X(CUSPARSE_STATUS_NOT_SUPPORTED, 10)            \
  X(CUSPARSE_STATUS_INSUFFICIENT_RESOURCES, 11)

enum cusparseStatus_t {
#define X(name, value) name = value,
  EMULATED_CUSPARSE_STATUSES(X)
#undef X
};
inline const char* cusparseGetErrorName(cusparseStatus_t status) {
  switch (status) {
#define X(name, value) \
  case name:           \
    return #name;
    EMULATED_CUSPARSE_STATUSES(X)
#undef X
  }
  return "unknown cuSPARSE status";
}
#undef EMULATED_CUSPARSE_STATUSES
inline const char* cusparseGetErrorString(cusparseStatus_t status) { return cusparseGetErrorName(status); }

enum cusparseOperation_t {
  CUSPARSE_OPERATION_NON_TRANSPOSE = 0,
  CUSPARSE_OPERATION_TRANSPOSE = 1,
  CUSPARSE_OPERATION_CONJUGATE_TRANSPOSE = 2
};
enum cusparseIndexBase_t { CUSPARSE_INDEX_BASE_ZERO = 0, CUSPARSE_INDEX_BASE_ONE = 1 };
enum cusparseIndexType_t { CUSPARSE_INDEX_16U = 1, CUSPARSE_INDEX_32I = 2, CUSPARSE_INDEX_64I = 3 };
enum cusparseOrder_t { CUSPARSE_ORDER_COL = 1, CUSPARSE_ORDER_ROW = 2 };
enum cusparsePointerMode_t { CUSPARSE_POINTER_MODE_HOST = 0, CUSPARSE_POINTER_MODE_DEVICE = 1 };
enum cusparseSpMMAlg_t {
  CUSPARSE_SPMM_ALG_DEFAULT = 0,
  CUSPARSE_SPMM_CSR_ALG1 = 4,
  CUSPARSE_SPMM_CSR_ALG2 = 6,
  CUSPARSE_SPMM_CSR_ALG3 = 12
};

struct cusparseContext {
  cudaStream_t stream = nullptr;
};
struct cusparseSpMatDescr {
  std::int64_t rows, columns, entries;
  const void *offsets, *indices, *values;
  cusparseIndexType_t index_type;
  std::int64_t base;
  cudaDataType type;
};
struct cusparseDnMatDescr {
  std::int64_t rows, columns, ld;
  void* values;
  cudaDataType type;
  cusparseOrder_t order;
};
using cusparseHandle_t = cusparseContext*;
using cusparseSpMatDescr_t = cusparseSpMatDescr*;
using cusparseConstSpMatDescr_t = const cusparseSpMatDescr*;
using cusparseDnMatDescr_t = cusparseDnMatDescr*;
using cusparseConstDnMatDescr_t = const cusparseDnMatDescr*;

namespace emulated_cuda {

inline constexpr std::size_t spmm_buffer_bytes = 256;

inline std::size_t at(const cusparseDnMatDescr& matrix, std::int64_t i, std::int64_t j) {
  return static_cast<std::size_t>(matrix.order == CUSPARSE_ORDER_ROW ? i * matrix.ld + j : j * matrix.ld + i);
}

template <class T>
void require_dense(const cusparseDnMatDescr& matrix, const char* what) {
  if (matrix.rows == 0 || matrix.columns == 0) return;
  // The real one is said to fault on some.
  const bool several = (matrix.order == CUSPARSE_ORDER_ROW ? matrix.rows : matrix.columns) > 1;
  if (reinterpret_cast<std::uintptr_t>(matrix.values) % 16 != 0 ||
      (several && static_cast<std::size_t>(matrix.ld) * sizeof(T) % 16 != 0)) {
    stop("%s or a row of it begins in the middle of 16 bytes", what);
  }
  require_device(matrix.values, (at(matrix, matrix.rows - 1, matrix.columns - 1) + 1) * sizeof(T), what);
}

template <class T, class Index>
void run_spmm(const cusparseSpMatDescr& a, const cusparseDnMatDescr& b, const cusparseDnMatDescr& c, T alpha, T beta) {
  require_device(a.offsets, static_cast<std::size_t>(a.rows + 1) * sizeof(Index), "SpMM: row offsets");
  require_device(a.indices, static_cast<std::size_t>(a.entries) * sizeof(Index), "SpMM: column indices");
  require_device(a.values, static_cast<std::size_t>(a.entries) * sizeof(T), "SpMM: values");
  require_dense<T>(b, "SpMM: B");
  require_dense<T>(c, "SpMM: C");
  const Index* offsets = static_cast<const Index*>(a.offsets);
  const Index* indices = static_cast<const Index*>(a.indices);
  const T* values = static_cast<const T*>(a.values);
  const T* b_values = static_cast<const T*>(b.values);
  std::vector<T> row(static_cast<std::size_t>(c.columns));
  for (std::int64_t i = 0; i < a.rows; ++i) {
    std::fill(row.begin(), row.end(), T{0});
    const std::int64_t begin = offsets[i] - a.base, end = offsets[i + 1] - a.base;
    if (begin < 0 || begin > end || end > a.entries) stop("SpMM: row %ld has wrong offsets", static_cast<long>(i));
    for (std::int64_t e = begin; e < end; ++e) {
      const std::int64_t column = indices[e] - a.base;
      if (column < 0 || column >= a.columns) stop("SpMM: entry %ld has a wrong column", static_cast<long>(e));
      for (std::size_t j = 0; j < row.size(); ++j) {
        row[j] += values[e] * b_values[at(b, column, static_cast<std::int64_t>(j))];
      }
    }
    for (std::size_t j = 0; j < row.size(); ++j) {
      T& target = static_cast<T*>(c.values)[at(c, i, static_cast<std::int64_t>(j))];
      target = beta == 0 ? alpha * row[j] : alpha * row[j] + beta * target;
    }
  }
}

inline cusparseStatus_t check_spmm(cusparseHandle_t handle, cusparseOperation_t op_a, cusparseOperation_t op_b,
                                   const void* alpha, cusparseConstSpMatDescr_t a, cusparseConstDnMatDescr_t b,
                                   const void* beta, cusparseConstDnMatDescr_t c, cudaDataType compute) {
  if (handle == nullptr) return CUSPARSE_STATUS_NOT_INITIALIZED;
  if (alpha == nullptr || beta == nullptr || a == nullptr || b == nullptr || c == nullptr) {
    return CUSPARSE_STATUS_INVALID_VALUE;
  }
  if (op_a != CUSPARSE_OPERATION_NON_TRANSPOSE || op_b != CUSPARSE_OPERATION_NON_TRANSPOSE) {
    return CUSPARSE_STATUS_NOT_SUPPORTED;
  }
  if (a->columns != b->rows || a->rows != c->rows || b->columns != c->columns) return CUSPARSE_STATUS_INVALID_VALUE;
  const bool types = a->type == compute && b->type == compute && c->type == compute;
  return types && (compute == CUDA_R_32F || compute == CUDA_R_64F) ? CUSPARSE_STATUS_SUCCESS
                                                                   : CUSPARSE_STATUS_NOT_SUPPORTED;
}

template <class T>
cudaError_t enqueue_spmm(Runtime& r, cudaStream_t stream, const cusparseSpMatDescr& a, const cusparseDnMatDescr& b,
                         const cusparseDnMatDescr& c, const void* alpha, const void* beta, void* buffer) {
  const T alpha_value = *static_cast<const T*>(alpha), beta_value = *static_cast<const T*>(beta);
  ++r.counters.sparse_products;
  return r.enqueue(stream, [=] {
    require_device(buffer, spmm_buffer_bytes, "SpMM: external buffer");
    std::memset(buffer, 0xFF, spmm_buffer_bytes);
    if (a.index_type == CUSPARSE_INDEX_64I) {
      run_spmm<T, std::int64_t>(a, b, c, alpha_value, beta_value);
    } else {
      run_spmm<T, std::int32_t>(a, b, c, alpha_value, beta_value);
    }
  });
}

}  // namespace emulated_cuda

inline cusparseStatus_t cusparseCreate(cusparseHandle_t* handle) {
  if (handle == nullptr) return CUSPARSE_STATUS_INVALID_VALUE;
  const cudaError_t error = emulated_cuda::call([](emulated_cuda::Runtime& r) {
    return r.spoils_capture(nullptr, emulated_cuda::Runtime::Reach::allocation) ? cudaErrorStreamCaptureUnsupported
                                                                                : cudaSuccess;
  });
  if (error != cudaSuccess) return CUSPARSE_STATUS_NOT_INITIALIZED;
  *handle = new cusparseContext;
  return CUSPARSE_STATUS_SUCCESS;
}
inline cusparseStatus_t cusparseDestroy(cusparseHandle_t handle) {
  if (handle == nullptr) return CUSPARSE_STATUS_NOT_INITIALIZED;
  delete handle;
  return CUSPARSE_STATUS_SUCCESS;
}
inline cusparseStatus_t cusparseSetStream(cusparseHandle_t handle, cudaStream_t stream) {
  if (handle == nullptr) return CUSPARSE_STATUS_NOT_INITIALIZED;
  handle->stream = stream;
  return CUSPARSE_STATUS_SUCCESS;
}
inline cusparseStatus_t cusparseSetPointerMode(cusparseHandle_t handle, cusparsePointerMode_t mode) {
  if (handle == nullptr) return CUSPARSE_STATUS_NOT_INITIALIZED;
  return mode == CUSPARSE_POINTER_MODE_HOST ? CUSPARSE_STATUS_SUCCESS : CUSPARSE_STATUS_NOT_SUPPORTED;
}
inline cusparseStatus_t cusparseCreateConstCsr(cusparseConstSpMatDescr_t* result, std::int64_t rows,
                                               std::int64_t columns, std::int64_t entries, const void* offsets,
                                               const void* indices, const void* values, cusparseIndexType_t offset_type,
                                               cusparseIndexType_t index_type, cusparseIndexBase_t base,
                                               cudaDataType type) {
  if (result == nullptr || rows < 0 || columns < 0 || entries < 0 || offsets == nullptr ||
      (entries > 0 && (indices == nullptr || values == nullptr))) {
    return CUSPARSE_STATUS_INVALID_VALUE;
  }
  // The documentation names products with both kinds of index alike only.
  if (offset_type != index_type || index_type == CUSPARSE_INDEX_16U) return CUSPARSE_STATUS_NOT_SUPPORTED;
  *result = new cusparseSpMatDescr{rows, columns, entries, offsets, indices, values, index_type, base, type};
  return CUSPARSE_STATUS_SUCCESS;
}
inline cusparseStatus_t cusparseCreateCsr(cusparseSpMatDescr_t* result, std::int64_t rows, std::int64_t columns,
                                          std::int64_t entries, void* offsets, void* indices, void* values,
                                          cusparseIndexType_t offset_type, cusparseIndexType_t index_type,
                                          cusparseIndexBase_t base, cudaDataType type) {
  if (result == nullptr) return CUSPARSE_STATUS_INVALID_VALUE;
  cusparseConstSpMatDescr_t matrix = nullptr;
  const cusparseStatus_t status = cusparseCreateConstCsr(&matrix, rows, columns, entries, offsets, indices, values,
                                                         offset_type, index_type, base, type);
  *result = const_cast<cusparseSpMatDescr_t>(matrix);
  return status;
}
inline cusparseStatus_t cusparseDestroySpMat(cusparseConstSpMatDescr_t matrix) {
  delete matrix;
  return CUSPARSE_STATUS_SUCCESS;
}
inline cusparseStatus_t cusparseCreateDnMat(cusparseDnMatDescr_t* result, std::int64_t rows, std::int64_t columns,
                                            std::int64_t ld, void* values, cudaDataType type, cusparseOrder_t order) {
  if (result == nullptr || rows < 0 || columns < 0 || ld < (order == CUSPARSE_ORDER_ROW ? columns : rows) ||
      (values == nullptr && rows > 0 && columns > 0)) {
    return CUSPARSE_STATUS_INVALID_VALUE;
  }
  *result = new cusparseDnMatDescr{rows, columns, ld, values, type, order};
  return CUSPARSE_STATUS_SUCCESS;
}
inline cusparseStatus_t cusparseCreateConstDnMat(cusparseConstDnMatDescr_t* result, std::int64_t rows,
                                                 std::int64_t columns, std::int64_t ld, const void* values,
                                                 cudaDataType type, cusparseOrder_t order) {
  if (result == nullptr) return CUSPARSE_STATUS_INVALID_VALUE;
  cusparseDnMatDescr_t matrix = nullptr;
  const cusparseStatus_t status =
      cusparseCreateDnMat(&matrix, rows, columns, ld, const_cast<void*>(values), type, order);
  *result = matrix;
  return status;
}
inline cusparseStatus_t cusparseDestroyDnMat(cusparseConstDnMatDescr_t matrix) {
  delete matrix;
  return CUSPARSE_STATUS_SUCCESS;
}
inline cusparseStatus_t cusparseSpMM_bufferSize(cusparseHandle_t handle, cusparseOperation_t op_a,
                                                cusparseOperation_t op_b, const void* alpha,
                                                cusparseConstSpMatDescr_t a, cusparseConstDnMatDescr_t b,
                                                const void* beta, cusparseDnMatDescr_t c, cudaDataType compute,
                                                cusparseSpMMAlg_t, std::size_t* bytes) {
  if (bytes == nullptr) return CUSPARSE_STATUS_INVALID_VALUE;
  *bytes = emulated_cuda::spmm_buffer_bytes;
  return emulated_cuda::check_spmm(handle, op_a, op_b, alpha, a, b, beta, c, compute);
}
inline cusparseStatus_t cusparseSpMM(cusparseHandle_t handle, cusparseOperation_t op_a, cusparseOperation_t op_b,
                                     const void* alpha, cusparseConstSpMatDescr_t a, cusparseConstDnMatDescr_t b,
                                     const void* beta, cusparseDnMatDescr_t c, cudaDataType compute, cusparseSpMMAlg_t,
                                     void* buffer) {
  using namespace emulated_cuda;
  const cusparseStatus_t status = check_spmm(handle, op_a, op_b, alpha, a, b, beta, c, compute);
  if (status != CUSPARSE_STATUS_SUCCESS) return status;
  if (runtime().in_heap(alpha) || runtime().in_heap(beta)) stop("SpMM: alpha and beta must be host memory");
  const cudaError_t error = call([&](Runtime& r) {
    return compute == CUDA_R_64F ? enqueue_spmm<double>(r, handle->stream, *a, *b, *c, alpha, beta, buffer)
                                 : enqueue_spmm<float>(r, handle->stream, *a, *b, *c, alpha, beta, buffer);
  });
  return error == cudaSuccess ? CUSPARSE_STATUS_SUCCESS : CUSPARSE_STATUS_EXECUTION_FAILED;
}
