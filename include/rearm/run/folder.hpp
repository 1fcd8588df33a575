#pragma once
/// @file folder.hpp
/// Whose a folder is: the files of a run, and what may become of those of an earlier one.

#include <rearm/core/error.hpp>
#include <rearm/io/atomic_file.hpp>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <ostream>
#include <string>
#include <string_view>
#include <system_error>

namespace rearm {

/// A data set's name as a folder's: "TikTok (visual, acoustic)" -> "tiktok-visual-acoustic".
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

/// `base`, or the first of base-2, base-3, ... that holds no run.
inline std::filesystem::path unused_folder(const std::filesystem::path& base) {
  std::filesystem::path dir = base;
  for (int i = 2; holds_run(dir); ++i) dir = base.string() + "-" + std::to_string(i);
  return dir;
}

/// Makes the folder and proves that it can be written, before anything costly. Throws IoError; ConfigError when it
/// holds a run that is neither to be resumed nor to be overwritten, or nothing to resume.
inline void open_run_folder(const std::filesystem::path& dir, bool resume, bool overwrite) {
  const bool used = holds_run(dir);
  if (resume && used && !std::filesystem::exists(dir / "checkpoint.safetensors"))
    throw ConfigError(dir.string() + ": holds a run without checkpoint.safetensors, which --resume needs; choose " +
                      "another folder with --out, or replace the run with --overwrite");
  if (used && !resume && !overwrite)
    throw ConfigError(dir.string() + ": holds a run already; continue it with --resume, choose another folder with " +
                      "--out, or replace it with --overwrite");
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  if (error) throw IoError(dir.string() + ": cannot be made: " + error.message() + "; choose another --out");
  const std::filesystem::path probe = dir / ".writable";
  write_file_atomically(probe, [](std::ostream&) {});
  std::filesystem::remove(probe, error);
}

/// Deletes the files of an earlier run.
inline void remove_run(const std::filesystem::path& dir) {
  for (const char* name : run_files) std::filesystem::remove(dir / name);
}

}  // namespace rearm
