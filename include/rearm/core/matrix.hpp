#pragma once
/// @file matrix.hpp
/// Owning storage: `Buffer` (one dimension) and `Matrix` (two, row-major), 64-byte aligned, in a backend's memory.

#include <rearm/core/matrix_view.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#if REARM_MAPS_LARGE_ARRAYS
#include <sys/mman.h>
#endif

namespace rearm::REARM_ABI {

/// Alignment of every allocation the library makes, in bytes (one cache line, one AVX-512 register).
inline constexpr std::size_t alignment = 64;

/// Main memory. A backend names its own memory type with the same functions; copies wait for work under way.
struct HostMemory {
  /// Throws OutOfMemoryError. On Linux large arrays are mappings of their own, in huge pages where the system has them:
  /// rows gathered from gigabytes miss the address caches less often, and what is given back is free at once, where a
  /// heap keeps the hole that an array leaves below others (a tenth of a training's peak).
  static void* allocate(std::size_t bytes) {
#if REARM_MAPS_LARGE_ARRAYS
    if (bytes >= huge_page) {
      // A whole number of huge pages from a boundary of theirs: what is mapped too much goes back.
      const std::size_t room = mapped(bytes) + huge_page;
      if (room < bytes) throw_out_of_memory(bytes);
      void* const map = ::mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (map == MAP_FAILED) throw_out_of_memory(bytes);
      char* const begin = static_cast<char*>(map);
      const std::size_t before = (huge_page - reinterpret_cast<std::uintptr_t>(map) % huge_page) % huge_page;
      if (before > 0) ::munmap(begin, before);
      ::munmap(begin + before + mapped(bytes), huge_page - before);
      static_cast<void>(::madvise(begin + before, mapped(bytes), MADV_HUGEPAGE));
      return begin + before;
    }
#endif
    void* const p = ::operator new (bytes, std::align_val_t{alignment}, std::nothrow);
    if (p == nullptr) throw_out_of_memory(bytes);
    return p;
  }
  /// The same, zero. A mapping is that already, and its pages are not there before they are used.
  static void* allocate_zero(std::size_t bytes) {
    void* const p = allocate(bytes);
    if (REARM_MAPS_LARGE_ARRAYS == 0 || bytes < huge_page) zero(p, bytes);
    return p;
  }
  /// `bytes` as they were asked for.
  static void deallocate(void* p, [[maybe_unused]] std::size_t bytes) noexcept {
#if REARM_MAPS_LARGE_ARRAYS
    if (bytes >= huge_page) {
      ::munmap(p, mapped(bytes));
      return;
    }
#endif
    ::operator delete (p, std::align_val_t{alignment});
  }
  // Empty arrays have no address, which the functions of C forbid even for no bytes.
  static void zero(void* p, std::size_t bytes) {
    if (bytes > 0) std::memset(p, 0, bytes);
  }
  static void copy(void* to, const void* from, std::size_t bytes) {
    if (bytes > 0) std::memcpy(to, from, bytes);
  }
  static void copy_to_host(void* to, const void* from, std::size_t bytes) { copy(to, from, bytes); }
  static void copy_from_host(void* to, const void* from, std::size_t bytes) { copy(to, from, bytes); }
  static constexpr bool host_accessible = true;

 private:
  [[noreturn]] static void throw_out_of_memory(std::size_t bytes) {
    throw OutOfMemoryError(detail::message("out of memory: an array of ", bytes, " bytes was asked for"));
  }
  static constexpr std::size_t huge_page = std::size_t{1} << 21;
  static constexpr std::size_t page = std::size_t{1} << 16;  ///< a multiple of every usual page size
  static constexpr std::size_t mapped(std::size_t bytes) { return (bytes + page - 1) / page * page; }
};

/// `size` trivially copyable elements, move-only, zero-initialized.
template <class T, class Memory = HostMemory>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Buffer() = default;
  explicit Buffer(Index size) : size_(size) {
    require_size(size);
    if (size == 0) return;
    if constexpr (requires { Memory::allocate_zero(bytes()); }) {
      data_ = static_cast<T*>(Memory::allocate_zero(bytes()));
    } else {
      data_ = static_cast<T*>(Memory::allocate(bytes()));
      Memory::zero(data_, bytes());
    }
  }
  /// A copy of values on the host.
  explicit Buffer(std::span<const T> values) : Buffer(static_cast<Index>(values.size()), Uninitialized()) {
    if (size_ > 0) Memory::copy_from_host(data_, values.data(), bytes());
  }
  explicit Buffer(const std::vector<T>& values) : Buffer(std::span<const T>(values)) {}
  Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Buffer() {
    if (data_ != nullptr) Memory::deallocate(data_, bytes());
  }

  T* data() noexcept { return data_; }
  const T* data() const noexcept { return data_; }
  Index size() const noexcept { return size_; }
  std::size_t bytes() const noexcept { return static_cast<std::size_t>(size_) * sizeof(T); }
  bool empty() const noexcept { return size_ == 0; }
  T& operator[](Index i) noexcept { return data_[i]; }
  const T& operator[](Index i) const noexcept { return data_[i]; }
  T* begin() noexcept { return data_; }
  T* end() noexcept { return data_ + size_; }
  const T* begin() const noexcept { return data_; }
  const T* end() const noexcept { return data_ + size_; }
  std::span<const T> span() const noexcept { return {data_, static_cast<std::size_t>(size_)}; }

 private:
  struct Uninitialized {};
  Buffer(Index size, Uninitialized) : size_(size) {
    require_size(size);
    if (size > 0) data_ = static_cast<T*>(Memory::allocate(bytes()));
  }
  static void require_size(Index size) {
    if (size < 0) throw ShapeError(detail::message("Buffer: negative size ", size));
  }
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
  Matrix clone() const {
    Matrix copy(rows_, cols_);
    copy.assign(*this);
    return copy;
  }
  /// The elements of a matrix of the same shape (ShapeError), in place.
  void assign(const Matrix& other) {
    detail::require_shape(other.view(), rows_, cols_, "assign", "source");
    if (!empty()) Memory::copy(data(), other.data(), static_cast<std::size_t>(size()) * sizeof(T));
  }

 private:
  Index rows_ = 0;
  Index cols_ = 0;
  Buffer<T, Memory> storage_;
};

/// The elements of a matrix where the host can read them: the matrix itself, or a copy of it.
template <class T, class Memory>
class OnHost {
 public:
  explicit OnHost(MatrixView<const T> m) : view_(m) {
    if constexpr (!Memory::host_accessible) {
      copy_ = Matrix<T>(m.rows, m.cols);
      if (m.contiguous() && m.size() > 0)
        Memory::copy_to_host(copy_.data(), m.data, static_cast<std::size_t>(m.size()) * sizeof(T));
      else
        for (Index i = 0; i < m.rows; ++i)
          Memory::copy_to_host(copy_.row(i), m.row(i), static_cast<std::size_t>(m.cols) * sizeof(T));
      view_ = copy_.view();
    }
  }
  MatrixView<const T> view() const noexcept { return view_; }

 private:
  Matrix<T> copy_;
  MatrixView<const T> view_;
};

/// Fills a contiguous matrix in Memory with values made by the host: calls write(begin, view) to fill rows
/// [begin, begin + view.rows), for all rows in place where the host can write there, else block by block in a buffer
/// that is then copied over.
template <class Memory, class T, class F>
void fill_on_host(const MatrixView<T>& m, const F& write) {
  if constexpr (Memory::host_accessible) {
    write(Index{0}, m);
  } else {
    const Index block = std::max<Index>(1, (Index{1} << 22) / std::max<Index>(1, m.cols));
    Matrix<T> rows(std::min(block, m.rows), m.cols);
    for (Index begin = 0; begin < m.rows; begin += block) {
      const MatrixView<T> part = rows.view().row_block(0, std::min(block, m.rows - begin));
      write(begin, part);
      Memory::copy_from_host(m.row(begin), part.data, static_cast<std::size_t>(part.size()) * sizeof(T));
    }
  }
}
template <class T, class Memory, class F>
void fill_on_host(Matrix<T, Memory>& m, const F& write) {
  fill_on_host<Memory>(m.view(), write);
}

}  // namespace rearm::REARM_ABI
