#pragma once
/// @file made_folders.hpp
/// Folders that are gone again if nothing was put into them.

#include <rearm/core/macros.hpp>

#include <filesystem>
#include <system_error>
#include <vector>

namespace rearm::REARM_ABI::detail {

/// Makes a folder and those above it that are missing. In the end, those it made that are empty are removed, so that
/// work that was refused leaves none.
class MadeFolders {
 public:
  MadeFolders() = default;
  /// `error` is set as by std::filesystem::create_directories.
  MadeFolders(const std::filesystem::path& folder, std::error_code& error) {
    std::error_code ignored;
    for (std::filesystem::path at = std::filesystem::absolute(folder, error).lexically_normal();
         at.has_relative_path() && !std::filesystem::exists(at, ignored); at = at.parent_path())
      if (at.has_filename()) made_.push_back(at);
    if (!error) std::filesystem::create_directories(folder, error);
  }
  MadeFolders(MadeFolders&&) = default;
  MadeFolders& operator=(MadeFolders&&) = delete;
  ~MadeFolders() {
    std::error_code ignored;  // one that holds something stays
    for (const std::filesystem::path& folder : made_) std::filesystem::remove(folder, ignored);
  }

 private:
  std::vector<std::filesystem::path> made_;  ///< the innermost first
};

}  // namespace rearm::REARM_ABI::detail
