#pragma once
/// @file config_json.hpp
/// A Config as JSON, as it is stored in model files and checkpoints, and the comparison of two.

#include <rearm/model/config.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

namespace rearm {

/// Every field under its own name.
inline nlohmann::ordered_json to_json(const Config& config) {
  nlohmann::ordered_json json;
  visit_fields(config, [&](const char* name, const char*, const auto& value) {
    if constexpr (std::is_enum_v<std::decay_t<decltype(value)>>)
      json[name] = to_string(value);
    else
      json[name] = value;
  });
  return json;
}

/// Fields that are absent keep their defaults; an unknown one, or a value of the wrong type, throws ConfigError.
inline Config config_from_json(const nlohmann::json& json) {
  if (!json.is_object()) throw ConfigError("config: must be a JSON object");
  Config config;
  std::set<std::string> known;
  visit_fields(config, [&](const char* name, const char*, auto& value) {
    known.insert(name);
    if (!json.contains(name)) return;
    try {
      if constexpr (std::is_enum_v<std::decay_t<decltype(value)>>)
        parse(json.at(name).get<std::string>(), value);
      else
        json.at(name).get_to(value);
    } catch (const nlohmann::json::exception&) {
      throw ConfigError(detail::message(name, " = ", json.at(name).dump(), ": is of the wrong type"));
    }
  });
  for (const auto& [name, value] : json.items())
    if (!known.contains(name)) throw ConfigError(detail::message("config: unknown key '", name, "' = ", value.dump()));
  return config;
}

/// Throws ConfigError naming the first field, apart from those in `may_differ`, in which `theirs` is not `ours`.
inline void require_same_config(const Config& ours, const Config& theirs, const std::string& where,
                                const std::vector<std::string>& may_differ) {
  const auto a = to_json(ours);
  const auto b = to_json(theirs);
  for (const auto& [name, value] : a.items()) {
    if (std::ranges::find(may_differ, name) != may_differ.end()) continue;
    if (b.at(name) != value)
      throw ConfigError(detail::message(where, " was made with ", name, " = ", b.at(name).dump(), " but now it is ",
                                        value.dump(), "; use the same settings or another file"));
  }
}

}  // namespace rearm
