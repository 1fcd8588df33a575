#pragma once
/// @file atomic_folder.hpp
/// Folders of files that appear complete or not at all (POSIX).

#include <rearm/io/atomic_file.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <utility>

namespace rearm::REARM_ABI {
namespace detail {

/// A new folder beside `path`, which is removed with its files in the end.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::filesystem::path& path) {
    // Skips names left by a process that was killed.
    for (int attempt = 0; attempt < 100; ++attempt) {
      path_ = path.parent_path() / message('.', path.filename().string(), '.', ::getpid(), '.', attempt, ".tmp");
      if (::mkdir(path_.c_str(), 0777) == 0) return;
      if (errno != EEXIST) break;
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
  std::filesystem::path path_;
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
/// `path` as it was. Throws IoError naming the path; what `write` throws passes through.
template <class Writer>
void write_folder_atomically(const std::filesystem::path& path, const Writer& write) {
  detail::with_io_errors([&] {
    std::filesystem::path target = std::filesystem::weakly_canonical(std::filesystem::absolute(path));
    if (!target.has_filename()) target = target.parent_path();
    std::filesystem::create_directories(target.parent_path());
    const detail::TemporaryFolder next(target);
    write(next.path());
    if (std::filesystem::exists(target))
      detail::exchange_folders(next.path(), target);
    else
      std::filesystem::rename(next.path(), target);
    const detail::FileDescriptor parent(::open(target.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (parent.get() < 0) return;  // a folder that may not be read
    if (const int error = detail::sync_folder(parent.get()); error != 0)
      detail::throw_io(path, "written, but its folder could not be synced", error);
  });
}

}  // namespace rearm::REARM_ABI
