#pragma once
/// @file atomic_file.hpp
/// Files that appear complete or not at all (POSIX), and texts that are read completely or not at all.

#include <rearm/core/error.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <locale>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {
namespace detail {

/// Owns a file descriptor.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const noexcept { return fd_; }

 private:
  int fd_;
};

/// Deletes the temporary file unless it was renamed.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::filesystem::path path) : path_(std::move(path)) {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  const std::filesystem::path& path() const noexcept { return path_; }
  void release() noexcept { path_.clear(); }

 private:
  std::filesystem::path path_;
};

/// Calls f(); a file system error in it becomes an IoError that names the path.
template <class F>
decltype(auto) with_io_errors(const F& f) {
  try {
    return f();
  } catch (const std::filesystem::filesystem_error& e) {
    throw IoError(
        message(e.path1().string(), e.path2().empty() ? "" : " and ", e.path2().string(), ": ", e.code().message()));
  }
}

/// Throws IoError if the first bytes of a file are those of a Git LFS pointer.
inline void require_no_pointer(std::string_view first_bytes, const std::filesystem::path& path) {
  if (first_bytes.starts_with("version https://git-lfs"))
    throw IoError(message(path.string(), ": is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`"));
}

[[noreturn]] inline void throw_io(const std::filesystem::path& path, const char* what, int error) {
  throw IoError(message(path.string(), ": ", what, error != 0 ? ": " : "", error != 0 ? std::strerror(error) : ""));
}

/// Syncs a folder; returns the error number, or 0. File systems that cannot sync folders are not an error.
inline int sync_folder(int folder) {
  if (::fsync(folder) == 0 || errno == EINVAL || errno == ENOTSUP || errno == ENOSYS) return 0;
  return errno;
}

/// A whole file. Throws IoError; a stream alone would take a failing disk for the end of the file.
inline std::string read_text(const std::filesystem::path& path) {
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in) throw_io(path, "cannot be opened for reading", errno);
  std::string text;
  char block[1 << 14];
  while (in.read(block, sizeof block) || in.gcount() > 0) text.append(block, static_cast<std::size_t>(in.gcount()));
  if (in.bad()) throw_io(path, "reading failed", errno);
  return text;
}

/// The names in a folder; none if it does not exist. The iterators of std::filesystem terminate the program if they run
/// out of memory.
inline std::vector<std::string> names_in(const std::filesystem::path& folder) {
  struct Close {
    void operator()(DIR* dir) const { ::closedir(dir); }
  };
  std::vector<std::string> names;
  const std::unique_ptr<DIR, Close> dir(::opendir(folder.c_str()));
  if (dir == nullptr && errno != ENOENT) throw_io(folder, "cannot be listed", errno);
  while (dir != nullptr) {
    const dirent* const entry = ::readdir(dir.get());
    if (entry == nullptr) break;
    if (const std::string_view name = entry->d_name; name != "." && name != "..") names.emplace_back(name);
  }
  return names;
}

/// Removes a folder of files, if it exists.
inline void remove_folder(const std::filesystem::path& folder) {
  for (const std::string& name : names_in(folder)) std::filesystem::remove(folder / name);
  std::filesystem::remove(folder);
}

/// Removes a folder's temporary files that have not been written to for `age`: their processes were killed.
inline void remove_temporaries(const std::filesystem::path& folder, std::chrono::seconds age) {
  std::error_code error;
  const auto now = std::filesystem::file_time_type::clock::now();
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with('.') || !name.ends_with(".tmp")) continue;
    std::error_code ignored;
    const auto written = std::filesystem::last_write_time(entry->path(), ignored);
    if (!ignored && written + age <= now) std::filesystem::remove(entry->path(), ignored);
  }
}

}  // namespace detail

/// Runs write(std::ostream&) on a temporary file in path's folder, syncs it, renames it to `path` and syncs the folder.
/// A crash or an error at any moment leaves the old file, if any, unchanged. Throws IoError naming the path, also for a
/// folder, a device or a pipe, which a file would take the place of; what `write` throws passes through.
template <class Writer>
void write_file_atomically(const std::filesystem::path& path, Writer&& write) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  const detail::FileDescriptor folder_fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder_fd.get() < 0) detail::throw_io(path, "cannot open the folder to write into", errno);
  std::error_code unknown;  // then the rename says what is wrong
  const auto there = std::filesystem::status(path, unknown);
  if (std::filesystem::exists(there) && !std::filesystem::is_regular_file(there))
    throw IoError(path.string() + ": cannot be replaced by a file: it is a folder, a device or a pipe");
  std::filesystem::path temporary;
  int fd = -1;
  // Skips names left by a run that was killed.
  for (int attempt = 0; fd < 0 && attempt < 100; ++attempt) {
    temporary = folder / detail::message('.', path.filename().string(), '.', ::getpid(), '.', attempt, ".tmp");
    fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 && errno != EEXIST) break;
  }
  if (fd < 0) detail::throw_io(path, "cannot create a temporary file next to it", errno);
  const detail::FileDescriptor file(fd);
  detail::TemporaryFile guard(temporary);
  std::ofstream out;
  out.imbue(std::locale::classic());  // machines read it, whatever the program's locale
  out.open(temporary, std::ios::binary | std::ios::trunc);
  errno = 0;
  if (out) write(static_cast<std::ostream&>(out));
  out.close();
  if (!out) detail::throw_io(path, "writing failed (is the disk full?)", errno);
  if (::fsync(file.get()) != 0) detail::throw_io(path, "syncing failed", errno);
  if (::rename(temporary.c_str(), path.c_str()) != 0) detail::throw_io(path, "cannot be replaced", errno);
  guard.release();
  if (const int error = detail::sync_folder(folder_fd.get()); error != 0)
    detail::throw_io(path, "written, but its folder could not be synced", error);
}

}  // namespace rearm::REARM_ABI
