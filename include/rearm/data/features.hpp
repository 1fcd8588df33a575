#pragma once
/// @file features.hpp
/// Raw features of the items, one row each: an NPY file read in blocks, or a matrix in memory.

#include <rearm/core/matrix.hpp>
#include <rearm/data/npy.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <concepts>
#include <cstddef>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {
namespace detail {

/// A file that is read block by block and must not change after it was opened: every read checks its size and time. It
/// is not mapped into memory, because reading a mapping of a file that was truncated raises a signal.
class SteadyFile {
 public:
  SteadyFile() = default;
  explicit SteadyFile(std::filesystem::path path) : path_(std::move(path)) {
    fd_ = std::make_unique<FileDescriptor>(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    if (fd_->get() < 0) throw_io(path_, "cannot be opened for reading", errno);
    opened_ = status();
  }
  const std::filesystem::path& path() const noexcept { return path_; }
  /// Throws IoError unless the path still names the opened file.
  void require_same() const {
    struct stat there = {};
    if (::stat(path_.c_str(), &there) != 0 || there.st_dev != opened_.st_dev || there.st_ino != opened_.st_ino)
      throw_changed();
  }
  bool is_open() const noexcept { return fd_ != nullptr; }
  /// Reads the n bytes at `offset`. Throws IoError if they cannot be read or the file has changed.
  void read(Index offset, char* out, Index n) const {
    for (Index done = 0; done < n;) {
      const ::ssize_t got =
          ::pread(fd_->get(), out + done, static_cast<std::size_t>(n - done), static_cast<::off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw_io(path_, "reading failed", errno);
      if (got == 0) throw_changed();
      done += static_cast<Index>(got);
    }
    const struct stat now = status();
    if (now.st_size != opened_.st_size || now.st_mtim.tv_sec != opened_.st_mtim.tv_sec ||
        now.st_mtim.tv_nsec != opened_.st_mtim.tv_nsec)
      throw_changed();
  }

 private:
  struct stat status() const {
    struct stat out = {};
    if (::fstat(fd_->get(), &out) != 0) throw_io(path_, "cannot be examined", errno);
    return out;
  }
  [[noreturn]] void throw_changed() const {
    throw IoError(message(path_.string(), ": was changed while it was being read; start again when it is complete"));
  }
  std::filesystem::path path_;
  std::unique_ptr<FileDescriptor> fd_;
  struct stat opened_ = {};
};

}  // namespace detail

/// rows x cols values that are copied out in blocks, so that a table larger than memory can be used. Move-only.
class FeatureMatrix {
 public:
  FeatureMatrix() = default;

  /// Opens a two-dimensional NPY of float16, float32 or float64, to be read block by block. Throws what read_npy_header
  /// throws, IoError for Fortran order, DataError for integers, any other number of dimensions, or no rows or columns.
  /// Reading throws IoError if the file has been changed since.
  static FeatureMatrix open(const std::filesystem::path& path) {
    detail::npy_file_bytes(path);  // says what is wrong if there is no file
    detail::SteadyFile file(path);
    const NpyHeader header = read_npy_header(path);
    file.require_same();
    if (!is_floating(header.dtype))
      throw DataError(detail::message(path.string(), ": features are ", to_string(header.dtype),
                                      " but must be floating-point; convert them with array.astype(numpy.float32)"));
    if (header.shape.size() != 2 || header.size == 0)
      throw DataError(detail::message(path.string(), ": features have shape ", shape_string(header.shape),
                                      " but must be (items, width), neither 0"));
    if (header.by_columns)
      throw IoError(detail::message(path.string(),
                                    ": the array is in Fortran order and features are read by rows; save "
                                    "it as numpy.ascontiguousarray(array)"));
    FeatureMatrix out;
    out.dtype_ = header.dtype;
    out.rows_ = header.shape[0];
    out.cols_ = header.shape[1];
    out.offset_ = header.data_offset;
    out.file_ = std::move(file);
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
  /// The file; empty for a matrix in memory.
  const std::filesystem::path& path() const noexcept { return file_.path(); }

  /// out = rows [begin, begin + out.rows), converted. Throws ShapeError unless all of them exist.
  template <std::floating_point T>
  void copy_rows(Index begin, MatrixView<T> out) const {
    if (begin < 0 || out.rows < 0 || begin > rows_ - out.rows || out.cols != cols_)
      throw ShapeError(detail::message("copy_rows: rows from ", begin, " into ", shape_string(out),
                                       " do not fit features of ", shape_string(rows_, cols_)));
    visit_rows(begin, out.rows, [&](Index i, Index j, auto value) { out(i, j) = static_cast<T>(value); });
  }

  /// Keeps the file in memory, if that takes at most `most_bytes`, until the returned object is destroyed: for callers
  /// that ask for single rows again and again. Neither this call nor the destruction may overlap with copying rows; the
  /// matrix must not move.
  [[nodiscard]] std::shared_ptr<void> hold(std::size_t most_bytes) const {
    const Index bytes = rows_ * cols_ * item_size(dtype_);
    if (!file_.is_open() || held_ != nullptr || static_cast<std::size_t>(bytes) > most_bytes) return nullptr;
    const auto all = std::make_shared<Buffer<char>>(bytes);
    file_.read(offset_, all->data(), bytes);
    held_ = all->data();
    return {all.get(), [this, all](void*) { held_ = nullptr; }};
  }

  /// Throws DataError naming the file (or `name`), row, column and value of the first value that is NaN, infinite or
  /// too large for a float. Reads everything once.
  void check_finite(std::string_view name) const {
    visit_rows(0, rows_, [&](Index i, Index j, auto value) {
      // Written so that NaN fails.
      if (!(value <= std::numeric_limits<float>::max() && value >= std::numeric_limits<float>::lowest()))
        throw DataError(detail::message(path().empty() ? std::string(name) : path().string(), ": features of '", name,
                                        "' hold ", value, " at row ", i, ", column ", j,
                                        "; replace it, for instance with numpy.nan_to_num"));
    });
  }

 private:
  /// Calls f(row - begin, column, value as stored; float16 as float).
  template <class F>
  void visit_rows(Index begin, Index n, const F& f) const {
    if (!file_.is_open()) {
      for (Index i = 0; i < n; ++i)
        for (Index j = 0; j < cols_; ++j) f(i, j, owned_(begin + i, j));
      return;
    }
    const Index row_bytes = cols_ * item_size(dtype_);
    const auto visit = [&](Index first, Index rows, const char* p) {
      detail::visit_npy_type(dtype_, [&](auto stored) {
        using Stored = decltype(stored);
        if constexpr (!std::integral<Stored>) {
          using Value = std::conditional_t<std::same_as<Stored, double>, double, float>;
          for (Index i = first; i < first + rows; ++i)
            for (Index j = 0; j < cols_; ++j, p += sizeof(Stored)) f(i, j, detail::load_npy<Value, Stored>(p));
        }
      });
    };
    if (held_ != nullptr) return visit(0, n, held_ + begin * row_bytes);
    const Index block = std::clamp<Index>((Index{1} << 18) / row_bytes, 1, std::max<Index>(n, 1));
    std::vector<char> raw(static_cast<std::size_t>(block * row_bytes));
    for (Index first = 0; first < n; first += block) {
      const Index rows = std::min(block, n - first);
      file_.read(offset_ + (begin + first) * row_bytes, raw.data(), rows * row_bytes);
      visit(first, rows, raw.data());
    }
  }

  NpyType dtype_ = NpyType::float32;
  Index rows_ = 0;
  Index cols_ = 0;
  Index offset_ = 0;
  detail::SteadyFile file_;
  mutable const char* held_ = nullptr;  ///< all rows, while they are held
  Matrix<float> owned_;
};

}  // namespace rearm::REARM_ABI
