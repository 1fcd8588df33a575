#pragma once
/// @file atomic_folder.hpp
/// Folders of files that appear complete or not at all (POSIX).

#include <rearm/io/atomic_file.hpp>
#include <rearm/io/made_folders.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>

namespace rearm::REARM_ABI {
namespace detail {

/// A new folder beside `path`, which is removed with its files in the end. It is locked (flock) as long as its process
/// lives, so that the next one for the same path knows what a killed process left, and removes it.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::filesystem::path& path) {
    const std::filesystem::path parent = path.parent_path();
    const std::string prefix = message('.', path.filename().string(), '.');
    for (const std::string& name : names_in(parent)) {
      const std::size_t numbers = std::min(name.find_first_not_of("0123456789.", prefix.size()), name.size());
      if (!name.starts_with(prefix) || name.substr(numbers) != "tmp") continue;
      if (const auto left = locked(parent / name)) remove_folder(parent / name);
    }
    for (int attempt = 0; attempt < 100; ++attempt) {
      path_ = parent / message(prefix, ::getpid(), '.', attempt, ".tmp");
      if (::mkdir(path_.c_str(), 0777) == 0) {
        lock_ = locked(path_);
        if (std::filesystem::exists(path_)) return;  // it was not taken for one that was left
      } else if (errno != EEXIST) {
        break;
      }
    }
    throw_io(path, "cannot create a temporary folder next to it", errno);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    try {
      remove_folder(path_);
    } catch (const std::exception&) {  // its name says what it is
    }
  }
  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  /// The folder, locked; nothing if another process holds it or the file system has no locks.
  static std::unique_ptr<FileDescriptor> locked(const std::filesystem::path& folder) {
    auto fd = std::make_unique<FileDescriptor>(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd->get() < 0 || ::flock(fd->get(), LOCK_EX | LOCK_NB) != 0) return nullptr;
    return fd;
  }
  std::filesystem::path path_;
  std::unique_ptr<FileDescriptor> lock_;
};

/// Exchanges the names of two folders, at once where the system can.
inline void exchange_folders(const std::filesystem::path& a, const std::filesystem::path& b) {
#if defined(RENAME_EXCHANGE)
  if (::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0) return;
  if (errno != EINVAL && errno != ENOSYS) throw_io(b, "cannot be replaced", errno);
#endif
  const std::filesystem::path old = a.string() + ".old";
  std::filesystem::rename(b, old);
  std::filesystem::rename(a, b);
  std::filesystem::rename(old, a);
}

}  // namespace detail

/// Runs write(folder) on a new folder beside `path` and renames it to `path`, which may be a folder of files already:
/// that one stays until the new one stands, and is removed then. Folders above are made. A crash or an error leaves
/// `path` as it was, an error no empty folder either. Throws IoError naming the path; what `write` throws passes
/// through.
template <class Writer>
void write_folder_atomically(const std::filesystem::path& path, const Writer& write) {
  detail::with_io_errors([&] {
    std::filesystem::path target = std::filesystem::weakly_canonical(std::filesystem::absolute(path));
    if (!target.has_filename()) target = target.parent_path();
    std::error_code error;
    const detail::MadeFolders made(target.parent_path(), error);
    if (error) throw std::filesystem::filesystem_error("", target.parent_path(), error);
    const detail::TemporaryFolder next(target);
    write(next.path());
    if (std::filesystem::exists(target))
      detail::exchange_folders(next.path(), target);
    else
      std::filesystem::rename(next.path(), target);
    const detail::FileDescriptor parent(::open(target.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (parent.get() < 0) return;  // a folder that may not be read
    if (const int failed = detail::sync_folder(parent.get()); failed != 0)
      detail::throw_io(path, "written, but its folder could not be synced", failed);
  });
}

}  // namespace rearm::REARM_ABI
