#pragma once
/// @file matrix.hpp
/// Owning storage: `Buffer` (one dimension) and `Matrix` (two, row-major), 64-byte aligned, in a backend's memory.

#include <rearm/core/matrix_view.hpp>

#include <algorithm>
#include <cstddef>
#include <new>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace rearm {

/// Alignment of every allocation the library makes, in bytes (one cache line, one AVX-512 register).
inline constexpr std::size_t alignment = 64;

/// Main memory. A backend names its own memory type with the same three functions.
struct HostMemory {
  static void* allocate(std::size_t bytes) { return ::operator new (bytes, std::align_val_t{alignment}); }
  static void deallocate(void* p) noexcept { ::operator delete (p, std::align_val_t{alignment}); }
  static constexpr bool host_accessible = true;
};

/// `size` trivially copyable elements, move-only, zero-initialised where the host can write them.
template <class T, class Memory = HostMemory>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Buffer() = default;
  explicit Buffer(Index size) : size_(size) {
    if (size < 0) throw ShapeError(detail::message("Buffer: negative size ", size));
    if (size > 0) data_ = static_cast<T*>(Memory::allocate(static_cast<std::size_t>(size) * sizeof(T)));
    if constexpr (Memory::host_accessible) std::fill_n(data_, size_, T{});
  }
  explicit Buffer(std::span<const T> values) requires(Memory::host_accessible)
      : Buffer(static_cast<Index>(values.size())) {
    std::copy(values.begin(), values.end(), data_);
  }
  explicit Buffer(const std::vector<T>& values) requires(Memory::host_accessible)
      : Buffer(std::span<const T>(values)) {}
  Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Buffer() {
    if (data_ != nullptr) Memory::deallocate(data_);
  }

  T* data() noexcept { return data_; }
  const T* data() const noexcept { return data_; }
  Index size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  T& operator[](Index i) noexcept { return data_[i]; }
  const T& operator[](Index i) const noexcept { return data_[i]; }
  T* begin() noexcept { return data_; }
  T* end() noexcept { return data_ + size_; }
  const T* begin() const noexcept { return data_; }
  const T* end() const noexcept { return data_ + size_; }
  std::span<const T> span() const noexcept { return {data_, static_cast<std::size_t>(size_)}; }

 private:
  T* data_ = nullptr;
  Index size_ = 0;
};

/// Owning row-major matrix, move-only; `clone()` copies on purpose.
template <class T, class Memory = HostMemory>
class Matrix {
 public:
  Matrix() = default;
  Matrix(Index rows, Index cols) : rows_(rows), cols_(cols), storage_(rows * cols) {}
  Matrix(Matrix&& other) noexcept
      : rows_(std::exchange(other.rows_, 0)),
        cols_(std::exchange(other.cols_, 0)),
        storage_(std::move(other.storage_)) {}
  Matrix& operator=(Matrix&& other) noexcept {
    std::swap(rows_, other.rows_);
    std::swap(cols_, other.cols_);
    storage_ = std::move(other.storage_);
    return *this;
  }

  Index rows() const noexcept { return rows_; }
  Index cols() const noexcept { return cols_; }
  Index size() const noexcept { return rows_ * cols_; }
  bool empty() const noexcept { return size() == 0; }
  T* data() noexcept { return storage_.data(); }
  const T* data() const noexcept { return storage_.data(); }
  MatrixView<T> view() noexcept { return {storage_.data(), rows_, cols_}; }
  MatrixView<const T> view() const noexcept { return {storage_.data(), rows_, cols_}; }
  T& operator()(Index i, Index j) noexcept { return storage_[i * cols_ + j]; }
  const T& operator()(Index i, Index j) const noexcept { return storage_[i * cols_ + j]; }
  T* row(Index i) noexcept { return storage_.data() + i * cols_; }
  const T* row(Index i) const noexcept { return storage_.data() + i * cols_; }
  Matrix clone() const requires(Memory::host_accessible) {
    Matrix copy(rows_, cols_);
    std::copy_n(data(), size(), copy.data());
    return copy;
  }

 private:
  Index rows_ = 0;
  Index cols_ = 0;
  Buffer<T, Memory> storage_;
};

}  // namespace rearm
