#pragma once
/// @file folder.hpp
/// Who owns a run's folder: the files of a run, and what may become of those of an earlier one.

#include <rearm/core/error.hpp>
#include <rearm/io/atomic_file.hpp>
#include <rearm/io/made_folders.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <exception>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <ostream>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// A data set's name as a folder name: "TikTok (visual, acoustic)" -> "tiktok-visual-acoustic".
inline std::string slug(std::string_view name) {
  std::string out;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0)
      out += static_cast<char>(std::tolower(byte));
    else if (!out.empty() && out.back() != '-')
      out += '-';
  }
  while (out.ends_with('-')) out.pop_back();
  return out.empty() ? "run" : out;
}

/// Files by which a folder is known to hold a run.
inline constexpr const char* run_files[] = {"result.json", "checkpoint.safetensors", "model.safetensors",
                                            "metrics.jsonl"};

inline bool holds_run(const std::filesystem::path& dir) {
  return std::ranges::any_of(run_files, [&](const char* name) {
    return std::filesystem::exists(dir / name) && !std::filesystem::is_empty(dir / name);
  });
}

/// Whether a run was begun there, even if it was killed before its first checkpoint.
inline bool holds_begun_run(const std::filesystem::path& dir) {
  return detail::with_io_errors([&] {
    return holds_run(dir) || std::ranges::any_of(std::array{"config.toml", ".lock", ".next"},
                                                 [&](const char* name) { return std::filesystem::exists(dir / name); });
  });
}

/// `base`, or the first of base-2, base-3, ... that holds no run.
inline std::filesystem::path unused_folder(const std::filesystem::path& base) {
  std::filesystem::path dir = base;
  for (int i = 2; holds_run(dir); ++i) dir = base.string() + "-" + std::to_string(i);
  return dir;
}

/// Holds a run's folder as long as this object exists: another process that asks for it is refused. The lock is the
/// system's (flock) and ends with the process, however that ends. If the file system has no locks, nobody is refused.
class RunLock {
 public:
  /// Creates the folder if it does not exist; if it is empty in the end, it goes again. Throws IoError if it cannot be
  /// written to, ConfigError saying who holds it. Temporary files that killed runs left in it are removed.
  explicit RunLock(const std::filesystem::path& dir) : path_(dir / ".lock") {
    for (int attempt = 0;; ++attempt) {
      std::error_code error;
      made_.emplace(dir, error);
      if (error) throw IoError(dir.string() + ": cannot be made: " + error.message() + "; choose another --out");
      file_ = std::make_unique<detail::FileDescriptor>(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
      if (file_->get() < 0 && errno == ENOENT && attempt < 100) continue;  // one that was refused removed the folder
      if (file_->get() < 0) detail::throw_io(dir, "cannot be written into; choose another --out", errno);
      if (::flock(file_->get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno == EINTR) continue;
        if (errno != EWOULDBLOCK) break;  // a file system without locks: go on without one
        std::ifstream in(path_);
        std::string holder;
        std::getline(in, holder);
        throw ConfigError(dir.string() + ": is in use by " + (holder.empty() ? "another process" : holder) +
                          "; wait for it to end, or choose another --out");
      }
      // The last holder may have removed the file between our two calls.
      struct stat ours = {};
      struct stat there = {};
      if (::fstat(file_->get(), &ours) == 0 && ::stat(path_.c_str(), &there) == 0 && ours.st_ino == there.st_ino) break;
    }
    char host[256] = "";
    ::gethostname(host, sizeof host - 1);
    const std::string holder = detail::message("process ", ::getpid(), " on ", host, '\n');
    if (::ftruncate(file_->get(), 0) != 0 ||
        ::pwrite(file_->get(), holder.data(), holder.size(), 0) != static_cast<::ssize_t>(holder.size())) {
      const int failed = errno;
      ::unlink(path_.c_str());
      detail::throw_io(dir, "cannot be written into; choose another --out", failed);
    }
    detail::remove_temporaries(dir, std::chrono::seconds(0));
  }
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;
  ~RunLock() { ::unlink(path_.c_str()); }

 private:
  std::filesystem::path path_;
  std::optional<detail::MadeFolders> made_;
  std::unique_ptr<detail::FileDescriptor> file_;
};

/// Files of a folder that change together: they are written into its subfolder `.next` and moved into place by
/// commit(). A process killed before that leaves the old files as they were; if it is killed in the middle of it, the
/// next process finishes the moves. Only for the holder of the folder's lock.
class StagedFiles {
 public:
  /// Finishes or discards what a killed process left.
  explicit StagedFiles(std::filesystem::path dir) : dir_(std::move(dir)), next_(dir_ / ".next") {
    detail::with_io_errors([&] {
      if (std::filesystem::exists(next_ / "commit"))
        finish();
      else
        detail::remove_folder(next_);
    });
  }
  StagedFiles(const StagedFiles&) = delete;
  StagedFiles& operator=(const StagedFiles&) = delete;
  /// Discards what has not been committed.
  ~StagedFiles() {
    try {
      std::error_code ignored;
      if (!std::filesystem::exists(next_ / "commit", ignored)) detail::remove_folder(next_);
    } catch (const std::exception&) {  // the next holder does it
    }
  }
  /// Where the file `name` of that folder is, as if an interrupted commit had been finished.
  static std::filesystem::path current(const std::filesystem::path& dir, const std::string& name) {
    const std::filesystem::path next = dir / ".next";
    return detail::with_io_errors([&] {
      const bool moved = !std::filesystem::exists(next / "commit") || !std::filesystem::exists(next / name);
      return (moved ? dir : next) / name;
    });
  }
  /// Where to write the file `name`.
  std::filesystem::path path(const std::string& name) const {
    return detail::with_io_errors([&] {
      if (name != "commit" && std::filesystem::exists(next_ / "commit")) finish();  // one that failed half-way
      std::filesystem::create_directories(next_);
      return next_ / name;
    });
  }
  /// Makes the next commit remove that file, unless it has been written by then.
  void remove(const std::string& name) { removed_.push_back(name); }
  /// Throws IoError.
  void commit() {
    detail::with_io_errors([&] {
      std::erase_if(removed_, [&](const std::string& name) { return std::filesystem::exists(next_ / name); });
    });
    sync();  // `.next` must be there before anything in the folder goes
    write_file_atomically(path("commit"), [&](std::ostream& out) {
      for (const std::string& name : removed_) out << name << '\n';
    });
    detail::with_io_errors([&] { finish(); });
    removed_.clear();
  }

 private:
  void finish() const {
    std::istringstream list(detail::read_text(next_ / "commit"));
    for (std::string name; std::getline(list, name);) std::filesystem::remove(dir_ / name);
    for (const std::string& name : detail::names_in(next_))
      if (name != "commit" && !name.starts_with('.')) std::filesystem::rename(next_ / name, dir_ / name);
    sync();
    detail::remove_folder(next_);
  }
  void sync() const {
    const detail::FileDescriptor folder(::open(dir_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder.get() < 0) return;  // a folder that may not be read
    if (const int error = detail::sync_folder(folder.get()); error != 0) detail::throw_io(dir_, "did not sync", error);
  }
  std::filesystem::path dir_;
  std::filesystem::path next_;
  std::vector<std::string> removed_;
};

/// A run's folder held by this process.
struct HeldFolder {
  explicit HeldFolder(const std::filesystem::path& dir) : lock(dir), staged(dir) {}
  RunLock lock;
  StagedFiles staged;
};

/// Throws ConfigError if nothing of a run is in the folder. To be called before this process holds it, which leaves a
/// lock there.
inline void require_begun_run(const std::filesystem::path& dir) {
  if (!holds_begun_run(dir))
    throw ConfigError(dir.string() + ": holds no run that --resume could continue; leave --resume out to begin one, " +
                      "or name the folder of the run with --out");
}

/// Throws ConfigError if the folder holds a run that is to be neither resumed nor overwritten, or one to be resumed
/// that has no checkpoint; IoError if the folder cannot be read.
inline void check_run_folder(const std::filesystem::path& dir, bool resume, bool overwrite) {
  bool used = false, goes_on = false;
  detail::with_io_errors([&] {
    used = holds_run(dir);
    goes_on = std::filesystem::exists(dir / "checkpoint.safetensors");
  });
  if (resume && used && !goes_on)
    throw ConfigError(dir.string() + ": holds a run without checkpoint.safetensors, which --resume needs; choose " +
                      "another folder with --out, or replace the run with --overwrite");
  if (used && !resume && !overwrite)
    throw ConfigError(dir.string() + ": holds a run already; continue it with --resume, choose another folder with " +
                      "--out, or replace it with --overwrite");
}

}  // namespace rearm::REARM_ABI
