#pragma once
/// @file backend.hpp
/// The backend that a test runs on, the CPU's, with REARM_TEST_CUDA a GPU's or with REARM_TEST_MINIMAL the one that has
/// no more than it must, and ways between its memory and ours.

#include <rearm/autodiff/ops.hpp>
#include <rearm/train/sampler.hpp>
#if defined(REARM_TEST_CUDA)
#include <rearm/cuda.cuh>
#elif defined(REARM_TEST_MINIMAL)
#include "tests/support/minimal_backend.hpp"
#else
#include <rearm/backend/cpu/cpu_backend.hpp>
#endif

#include <span>
#include <type_traits>
#include <vector>

namespace rearm::test {

#if defined(REARM_TEST_CUDA)
template <class T>
using TestBackend = CudaBackend<T>;
/// The number of threads is the CPU's.
inline CudaOptions test_options(int /*threads*/ = 2) { return {}; }
#elif defined(REARM_TEST_MINIMAL)
template <class T>
using TestBackend = MinimalBackend<T>;
inline MinimalBackend<double>::Options test_options(int /*threads*/ = 1) { return {}; }
#else
template <class T>
using TestBackend = CpuBackend<T>;
inline CpuOptions test_options(int threads = 2) { return {.threads = threads}; }
#endif
using TestMemory = TestBackend<double>::Memory;
/// A matrix in the backend's memory.
template <class T>
using TestMatrix = Matrix<T, TestMemory>;

/// A copy of what lies in the backend's memory.
template <class T>
Matrix<std::remove_const_t<T>> to_host(MatrixView<T> there) {
  using Element = std::remove_const_t<T>;
  const OnHost<Element, TestMemory> copy{MatrixView<const Element>(there)};
  Matrix<Element> here(there.rows, there.cols);
  for (Index i = 0; i < there.rows; ++i)
    for (Index j = 0; j < there.cols; ++j) here(i, j) = copy.view()(i, j);
  return here;
}
template <class T>
Matrix<T> to_host(const TestMatrix<T>& there) {
  return to_host(there.view());
}
template <Backend B>
Matrix<typename B::Scalar> to_host(const Var<B>& there) {
  return to_host(there.value());
}
template <class T>
std::vector<T> to_host(const T* there, Index n) {
  std::vector<T> here(static_cast<std::size_t>(n));
  if (n > 0) TestMemory::copy_to_host(here.data(), there, here.size() * sizeof(T));
  return here;
}

/// A copy in the backend's memory.
template <class T>
TestMatrix<T> upload(const Matrix<T>& here) {
  TestMatrix<T> there(here.rows(), here.cols());
  if (!here.empty()) TestMemory::copy_from_host(there.data(), here.data(), sizeof(T) * std::size_t(here.size()));
  return there;
}
template <class T>
Buffer<T, TestMemory> upload(const std::vector<T>& here) {
  return Buffer<T, TestMemory>(here);
}
template <class T>
SparseOperator<T, TestMemory> upload(const SparseOperator<T>& here) {
  return SparseOperator<T, TestMemory>::from_host(here);
}
/// The values of a parameter or a table stored in T <- here.
template <class X, class T>
void set(X& parameter, const Matrix<T>& here) {
  detail::require_shape(here.view(), parameter.rows(), parameter.cols(), "set", "values");
  parameter.with_values([&](auto there) {
    if constexpr (std::is_same_v<decltype(there), MatrixView<T>>)
      TestMemory::copy_from_host(there.data, here.data(), sizeof(T) * std::size_t(here.size()));
    else
      throw ShapeError("set: stored in another type");
  });
}
/// The values of a parameter or a table stored in the backend's scalar.
template <class X>
Matrix<typename X::T> values_of(const X& parameter) {
  return parameter.with_values([](auto there) {
    if constexpr (std::is_same_v<decltype(there), ConstView<typename X::T>>) return to_host(there);
    throw ShapeError("values_of: stored in another type");
    return Matrix<typename X::T>();
  });
}
/// Entry number `i` <- value.
template <class T>
void put(const MatrixView<T>& there, Index i, std::type_identity_t<T> value) {
  TestMemory::copy_from_host(there.data + i, &value, sizeof value);
}
template <class T>
void put(TestMatrix<T>& there, Index i, std::type_identity_t<T> value) {
  put(there.view(), i, value);
}

/// A batch in the backend's memory.
struct BatchThere {
  Buffer<Id, TestMemory> users, positives, negatives;
  explicit BatchThere(const Batch& batch)
      : users(batch.users), positives(batch.positives), negatives(batch.negatives) {}
  operator BatchView<TestMemory>() const {  // NOLINT(google-explicit-constructor)
    return {users.span(), positives.span(), negatives.span()};
  }
};

}  // namespace rearm::test
