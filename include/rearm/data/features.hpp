#pragma once
/// @file features.hpp
/// Raw features of the items, one row each: a memory-mapped NPY file, or a matrix in memory.

#include <rearm/core/matrix.hpp>
#include <rearm/data/npy.hpp>

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <concepts>
#include <cstddef>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace rearm {
namespace detail {

/// A whole file mapped read-only (POSIX); the pages are the system's, shared and clean. Must not shrink while mapped.
class MappedFile {
 public:
  MappedFile() = default;
  MappedFile(const std::filesystem::path& path, Index bytes) : bytes_(static_cast<std::size_t>(bytes)) {
    const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.get() < 0) throw_io(path, "cannot be opened for reading", errno);
    void* p = ::mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (p == MAP_FAILED) throw_io(path, "cannot be mapped into memory", errno);
    data_ = static_cast<const char*>(p);
  }
  MappedFile(MappedFile&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MappedFile() {
    if (data_ != nullptr) ::munmap(const_cast<char*>(data_), bytes_);
  }
  const char* data() const noexcept { return data_; }
  /// Lets the system take back the pages in memory; reading brings them in again.
  void drop_pages() const noexcept {
    if (data_ != nullptr) ::madvise(const_cast<char*>(data_), bytes_, MADV_DONTNEED);
  }

 private:
  const char* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace detail

/// rows x cols numbers that are copied out in blocks, so that a table larger than memory can be used. Move-only.
class FeatureMatrix {
 public:
  FeatureMatrix() = default;

  /// Maps a two-dimensional NPY of float16, float32 or float64. Throws what read_npy_header throws, and DataError for
  /// integers, another number of dimensions, or no rows or columns.
  static FeatureMatrix open(const std::filesystem::path& path) {
    const NpyHeader header = read_npy_header(path);
    if (!is_floating(header.dtype))
      throw DataError(detail::message(path.string(), ": features are ", to_string(header.dtype),
                                      " but must be floating-point; convert them with array.astype(numpy.float32)"));
    if (header.shape.size() != 2 || header.size == 0)
      throw DataError(detail::message(path.string(), ": features have shape ", shape_string(header.shape),
                                      " but must be (items, width), neither 0"));
    FeatureMatrix out;
    out.path_ = path;
    out.dtype_ = header.dtype;
    out.rows_ = header.shape[0];
    out.cols_ = header.shape[1];
    out.offset_ = header.data_offset;
    out.file_ = detail::MappedFile(path, header.data_offset + header.size * item_size(header.dtype));
    return out;
  }
  static FeatureMatrix from(Matrix<float> values) {
    FeatureMatrix out;
    out.rows_ = values.rows();
    out.cols_ = values.cols();
    out.owned_ = std::move(values);
    return out;
  }

  Index rows() const noexcept { return rows_; }
  Index cols() const noexcept { return cols_; }
  /// The mapped file; empty for a matrix in memory.
  const std::filesystem::path& path() const noexcept { return path_; }

  /// out = rows [begin, begin + out.rows), converted. Throws ShapeError when they are not all there.
  template <std::floating_point T>
  void copy_rows(Index begin, MatrixView<T> out) const {
    if (begin < 0 || out.rows < 0 || begin > rows_ - out.rows || out.cols != cols_)
      throw ShapeError(detail::message("copy_rows: rows from ", begin, " into ", shape_string(out), " of features ",
                                       shape_string(rows_, cols_)));
    visit_rows(begin, out.rows, [&](Index i, Index j, auto value) { out(i, j) = static_cast<T>(value); });
  }

  /// Says that the rows are not needed for now: a mapped file no longer counts as memory in use.
  void drop_pages() const noexcept { file_.drop_pages(); }

  /// Throws DataError naming the file (or `name`), row, column and value of the first number that is NaN, infinite or
  /// too large for a float. Reads everything once.
  void check_finite(std::string_view name) const {
    visit_rows(0, rows_, [&](Index i, Index j, auto value) {
      // Written so that NaN fails.
      if (!(value <= std::numeric_limits<float>::max() && value >= std::numeric_limits<float>::lowest()))
        throw DataError(detail::message(path_.empty() ? std::string(name) : path_.string(), ": features of '", name,
                                        "' hold ", value, " at row ", i, ", column ", j,
                                        "; replace it, for instance with numpy.nan_to_num"));
    });
  }

 private:
  /// f(row - begin, column, value as stored; float16 as float).
  template <class F>
  void visit_rows(Index begin, Index n, const F& f) const {
    if (file_.data() == nullptr) {
      for (Index i = 0; i < n; ++i)
        for (Index j = 0; j < cols_; ++j) f(i, j, owned_(begin + i, j));
      return;
    }
    detail::visit_npy_type(dtype_, [&](auto stored) {
      using Stored = decltype(stored);
      if constexpr (!std::signed_integral<Stored>) {
        using Value = std::conditional_t<std::same_as<Stored, double>, double, float>;
        const char* p = file_.data() + offset_ + begin * cols_ * static_cast<Index>(sizeof(Stored));
        for (Index i = 0; i < n; ++i)
          for (Index j = 0; j < cols_; ++j, p += sizeof(Stored)) f(i, j, detail::load_npy<Value, Stored>(p));
      }
    });
  }

  std::filesystem::path path_;
  NpyType dtype_ = NpyType::float32;
  Index rows_ = 0;
  Index cols_ = 0;
  Index offset_ = 0;
  detail::MappedFile file_;
  Matrix<float> owned_;
};

}  // namespace rearm
