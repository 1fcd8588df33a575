#pragma once
/// @file run_files.hpp
/// What the folder of a run tells, also of one that has not ended.

#include "model_entry.hpp"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace rearm::cli {

/// A line of metrics.jsonl.
struct EpochLine {
  int epoch = 0;
  std::map<std::string, double> losses, valid;
  double seconds = 0;
  std::optional<double> valid_seconds;  ///< part of them; earlier versions did not say it
};

struct RunFiles {
  std::filesystem::path folder;
  std::string name;                   ///< for people: the folder's, with as much of its path as tells it from others
  std::unique_ptr<ModelEntry> entry;  ///< with the run's settings
  std::vector<EpochLine> epochs;
  nlohmann::json result;  ///< result.json; an empty object while there is none

  const std::string& watch() const { return entry->train().watch; }
};

/// Throws IoError or DataError if a folder holds no run, or files that cannot be read.
std::vector<RunFiles> read_runs(const std::vector<std::filesystem::path>& folders);

}  // namespace rearm::cli
