#pragma once
/// @file shared.hpp
/// Where the real data and the reference numbers lie, and how a test says that it was skipped without them.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace rearm::test {

/// The folder `shared` beside the checkout (REARM_SHARED_DIR overrides), if there is one.
inline std::optional<std::filesystem::path> shared_dir() {
  const char* override_dir = std::getenv("REARM_SHARED_DIR");
#if defined(REARM_SOURCE_DIR)
  const std::filesystem::path beside = std::filesystem::path(REARM_SOURCE_DIR).parent_path() / "shared";
#else
  const std::filesystem::path beside = "../shared";
#endif
  const std::filesystem::path dir = override_dir != nullptr ? std::filesystem::path(override_dir) : beside;
  if (std::filesystem::is_directory(dir)) return dir;
  return std::nullopt;
}

/// Every folder with a manifest.json below $`variable` if that is set, else below shared/`name`; empty when absent.
inline std::vector<std::filesystem::path> case_folders(const char* variable, const std::string& name) {
  const char* override_dir = std::getenv(variable);
  std::filesystem::path root;
  if (override_dir != nullptr)
    root = override_dir;
  else if (const auto shared = shared_dir())
    root = *shared / name;
  std::vector<std::filesystem::path> found;
  if (std::filesystem::is_directory(root))
    for (const auto& entry : std::filesystem::directory_iterator(root))
      if (std::filesystem::exists(entry.path() / "manifest.json")) found.push_back(entry.path());
  std::ranges::sort(found);
  return found;
}

/// Prints the line by which the test runner counts skipped tests.
inline void report_skip(const char* what) { std::printf("REARM-SKIPPED: %s\n", what); }

}  // namespace rearm::test

/// Skips the rest of the test case, visibly, when `condition` does not hold.
#define REARM_SKIP_UNLESS(condition, what) \
  if (!(condition)) {                      \
    ::rearm::test::report_skip(what);      \
    return;                                \
  }
