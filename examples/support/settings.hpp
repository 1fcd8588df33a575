#pragma once
/// @file settings.hpp
/// A Config from flags and TOML files, both made from visit_fields.

#include <rearm/model/config_json.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <deque>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace rearm::support {
namespace detail {

using rearm::detail::message;

inline void read_value(std::string_view, const std::string& text, std::string& out) { out = text; }
inline void read_value(std::string_view field, const std::string& text, bool& out) {
  if (text != "true" && text != "false") throw ConfigError(message(field, " = '", text, "': must be true or false"));
  out = text == "true";
}
/// Numbers and enumerations.
template <class T>
void read_value(std::string_view field, const std::string& text, T& out) {
  if constexpr (std::is_enum_v<T>) {
    parse(text, out);
  } else {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool whole = error == std::errc() && end == text.data() + text.size() && !text.empty();
    if (!whole || !std::isfinite(static_cast<double>(value)))
      throw ConfigError(message(field, " = '", text, "': must be a ", std::is_integral_v<T> ? "whole " : "", "number",
                                error == std::errc::result_out_of_range ? " that fits its type" : ""));
    out = value;
  }
}
template <class T>
void read_values(std::string_view field, const std::vector<std::string>& texts, T& out) {
  if (texts.size() != 1) throw ConfigError(message(field, ": needs one value but has ", texts.size()));
  read_value(field, texts[0], out);
}
template <class T>
void read_values(std::string_view field, const std::vector<std::string>& texts, std::vector<T>& out) {
  out.clear();
  for (const std::string& text : texts) read_value(field, text, out.emplace_back());
}

/// `name` with every `from` replaced.
inline std::string replaced(std::string name, char from, char to) {
  std::ranges::replace(name, from, to);
  return name;
}

}  // namespace detail

/// Fields that were set by the user rather than by a default or a preset.
using SetFields = std::set<std::string>;

/// Sets one field from text; false if there is no such field. Throws ConfigError for text of the wrong kind.
inline bool set_field(Config& config, const std::string& field, const std::vector<std::string>& texts) {
  bool found = false;
  visit_fields(config, [&](const char* name, const char*, auto& value) {
    if (field != name) return;
    found = true;
    detail::read_values(field, texts, value);
  });
  return found;
}

/// A flag for every field: --learning-rate for learning_rate, lists with commas.
class SettingFlags {
 public:
  explicit SettingFlags(CLI::App& app) {
    const Config config;
    const auto defaults = to_json(config);
    visit_fields(config, [&](const char* name, const char* help, const auto& value) {
      constexpr bool list = requires { value.push_back(value.front()); };
      Flag& flag = flags_.emplace_back();
      flag.field = name;
      flag.option = app.add_option("--" + detail::replaced(name, '_', '-'), flag.text, help)
                        ->type_name(list ? "A,B,..." : "VALUE")
                        ->group("Settings");
      if (!list) flag.option->default_str(defaults.at(name).dump());
    });
  }
  /// Throws ConfigError for a value of the wrong kind.
  void apply(Config& config, SetFields& set) const {
    for (const Flag& flag : flags_) {
      if (flag.option->count() == 0) continue;
      set_field(config, flag.field, values(flag.field, flag.text));
      set.insert(flag.field);
    }
  }

 private:
  struct Flag {
    std::string field, text;
    CLI::Option* option = nullptr;
  };
  static std::vector<std::string> values(const std::string& field, const std::string& text) {
    if (field != "modalities" && !field.ends_with("_weights")) return {text};
    return text.empty() ? std::vector<std::string>{} : CLI::detail::split(text, ',');
  }
  std::deque<Flag> flags_;  // CLI11 keeps addresses of the texts
};

/// Settings that suit make_synthetic()'s data set, found by a small search on its validation split.
inline Config synthetic_config() {
  Config c = preset("baby");
  c.features = Features::residual;
  c.user_modality_weights = c.item_modality_weights = {0.5, 0.5};
  c.user_knn_k = 20;
  c.learning_rate = 3e-3;
  c.weight_decay = 0.4;
  c.batch_size = 1024;
  c.epochs = 26;
  c.patience = 5;
  c.negatives = Negatives::exclude_train;
  return c;
}

/// Reads settings in TOML. Throws IoError, or ConfigError naming an unknown key or a value of the wrong kind.
inline void read_settings(const std::filesystem::path& path, Config& config, SetFields& set) {
  std::ifstream in(path);
  if (!in || std::filesystem::is_directory(path))
    throw IoError(detail::message(path.string(), ": cannot be read; give a TOML file with settings"));
  for (const CLI::ConfigItem& item : CLI::ConfigTOML().from_config(in)) {
    if (!item.parents.empty())
      throw ConfigError(detail::message(path.string(), ": unknown section [", item.parents.front(),
                                        "]; settings stand at the top level"));
    const std::string field = detail::replaced(item.name, '-', '_');
    if (!set_field(config, field, item.inputs))
      throw ConfigError(detail::message(path.string(), ": unknown key '", item.name, "'; --help lists the settings"));
    set.insert(field);
  }
}

/// Every field with its help, as read_settings reads it.
inline std::string to_toml(const Config& config) {
  const auto json = to_json(config);
  std::string out;
  visit_fields(config, [&](const char* name, const char* help, const auto&) {
    out += detail::message("# ", help, '\n', name, " = ", json.at(name).dump(), '\n');
  });
  return out;
}

}  // namespace rearm::support
