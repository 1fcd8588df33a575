#pragma once
/// @file settings_file.hpp
/// Settings in TOML: tables [train], [model], [model.<part>], or flat as in version 0.1.

#include "model_entry.hpp"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace rearm::cli {

/// The model that a settings file is for: `name` under [model]. Throws as `read_settings`.
std::optional<std::string> model_in(const std::filesystem::path& file);

/// Sets what the file says and adds the full names to `set`. Throws IoError, or ConfigError with line and column for
/// what is no TOML, an unknown key, or a value of the wrong kind.
void read_settings(const std::filesystem::path& file, ModelEntry& entry, std::set<std::string>& set);

/// A value of a TOML file: its whole key, `train.learning_rate`, with underscores, and its place, "file:line:column".
struct TomlValue {
  std::string name, place;
  nlohmann::json value;
};
/// All values, in the order of the file. A table with `low` or `high` is one value, an object. Throws IoError, or
/// ConfigError with line and column for what is no TOML or of a kind that settings do not have.
std::vector<TomlValue> read_toml(const std::filesystem::path& file);

/// A value as it is written behind a key.
std::string toml_text(const nlohmann::ordered_json& value);

/// All settings with their help, as read_settings reads them.
std::string to_toml(const ModelEntry& entry);

}  // namespace rearm::cli
