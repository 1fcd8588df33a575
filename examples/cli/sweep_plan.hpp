#pragma once
/// @file sweep_plan.hpp
/// What a sweep file asks for: settings of one or several models, some of them lists or ranges, and how to search them.

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace rearm::cli {

/// Settings that are tried.
struct Trial {
  std::string model;
  std::vector<std::pair<std::string, nlohmann::json>> chosen;  ///< full name and value of what varies
  std::string settings;                                        ///< a settings file: these and the fixed ones
  int epochs = 0;                                              ///< at most
  bool preset = false;                                         ///< begins with the sweep's preset
};

struct SweepPlan {
  enum class Method { grid, random, halving } method = Method::grid;
  std::vector<std::uint64_t> seeds = {2025};
  std::string metric, preset;
  int min_epochs = 0, factor = 0;  ///< of halving
  std::vector<Trial> trials;
  std::vector<std::string> varied;  ///< full names, in the order of the file
  std::vector<std::string> notes;   ///< what the user should know
  nlohmann::ordered_json asked_for =
      nlohmann::ordered_json::object();  ///< the file's content, by which two sweeps are compared
};

/// Reads a sweep file. Throws IoError, or ConfigError with line and column for what is no TOML, an unknown key, a value
/// of the wrong kind or a search that cannot be made.
SweepPlan read_sweep(const std::filesystem::path& file);

}  // namespace rearm::cli
