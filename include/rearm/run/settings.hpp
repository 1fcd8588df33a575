#pragma once
/// @file settings.hpp
/// Settings in files: JSON made from the lists of fields, and how two of them are compared.

#include <rearm/train/config.hpp>

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// A struct of settings as an object: every field under its name, nested structs as objects.
template <FieldStruct S>
nlohmann::ordered_json to_json(const S& s) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  visit_fields(s, [&](const std::string& path, const Field&, const auto& value) {
    nlohmann::ordered_json* at = &json;
    std::size_t begin = 0;
    for (std::size_t dot = path.find('.'); dot != std::string::npos; dot = path.find('.', begin)) {
      at = &(*at)[path.substr(begin, dot - begin)];
      begin = dot + 1;
    }
    nlohmann::ordered_json& field = (*at)[path.substr(begin)];
    if constexpr (std::is_enum_v<std::remove_cvref_t<decltype(value)>>)
      field = to_string(value);
    else
      field = value;
  });
  return json;
}
/// {"train": {...}, "model": {...}}
template <FieldStruct C>
nlohmann::ordered_json to_json(const Settings<C>& settings) {
  return {{"train", to_json(settings.train)}, {"model", to_json(settings.model)}};
}

namespace detail {

/// The value of a field from JSON, which must have its type: 3.7 is no integer, and text is no number.
template <class T>
void assign(const std::string& path, const nlohmann::json& json, T& out) {
  const auto refuse = [&](const char* needed) {
    throw ConfigError(message(path, " = ", json.dump(), ": must be ", needed));
  };
  if constexpr (std::is_enum_v<T>) {
    if (!json.is_string()) refuse("text");
    parse(path, json.get<std::string>(), out);
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!json.is_boolean()) refuse("true or false");
    out = json.get<bool>();
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!json.is_string()) refuse("text");
    out = json.get<std::string>();
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!json.is_number()) refuse("a number");
    out = json.get<T>();
  } else if constexpr (std::is_integral_v<T>) {
    if (!json.is_number_integer()) refuse("a whole number");
    const bool fits = json.is_number_unsigned() ? std::in_range<T>(json.get<std::uint64_t>())
                                                : std::in_range<T>(json.get<std::int64_t>());
    if (!fits) refuse("a whole number that fits");
    out = json.get<T>();
  } else {
    if (!json.is_array()) refuse("a list");
    out.clear();
    for (const auto& entry : json) assign(path, entry, out.emplace_back());
  }
}

/// f(path, value) for every leaf of nested objects, `a.b` for {"a": {"b": ...}}.
template <class Json, class F>
void for_each_leaf(const Json& json, const F& f, const std::string& prefix = {}) {
  for (const auto& [name, value] : json.items())
    if (value.is_object())
      for_each_leaf(value, f, prefix + name + '.');
    else
      f(prefix + name, value);
}

}  // namespace detail

/// The full name of a setting, `train.batch_size` or `model.users.k`, given that, its name without the table
/// (`batch_size`, `users.k`) or its name in an earlier version (`user_knn_k`). Empty if there is no such setting.
template <FieldStruct C>
std::string setting_path(const Settings<C>& settings, const std::string& name) {
  std::string found;
  const auto look = [&](const char* table, const auto& fields, std::string_view wanted) {
    visit_fields(fields, [&](const std::string& path, const Field&, const auto&) {
      if (found.empty() && path == wanted) found = table + path;
    });
  };
  if (!name.starts_with("model.")) look("train.", settings.train, name.starts_with("train.") ? name.substr(6) : name);
  if (found.empty() && !name.starts_with("train."))
    look("model.", settings.model, current_name<C>(name.starts_with("model.") ? name.substr(6) : name));
  return found;
}

/// Calls f(path, field, value) with the field whose full name `path` is.
template <FieldStruct C, class F>
void with_setting(Settings<C>& settings, const std::string& path, const F& f) {
  const auto look = [&](const std::string& table, auto& fields) {
    visit_fields(fields, [&](const std::string& name, const Field& field, auto& value) {
      if (table + name == path) f(path, field, value);
    });
  };
  look("train.", settings.train);
  look("model.", settings.model);
}

/// Sets what is in `json`, nested as by `to_json` or flat as in version 0.1; the rest is unchanged. Throws ConfigError
/// naming an unknown key or a value of the wrong type.
template <FieldStruct C>
void update_settings(Settings<C>& settings, const nlohmann::json& json) {
  if (!json.is_object()) throw ConfigError("settings: must be a JSON object");
  detail::for_each_leaf(json, [&](const std::string& name, const nlohmann::json& value) {
    const std::string path = setting_path(settings, name);
    if (path.empty()) throw ConfigError(detail::message("settings: unknown key '", name, "' = ", value.dump()));
    with_setting(settings, path,
                 [&](const std::string& p, const Field&, auto& field) { detail::assign(p, value, field); });
  });
}

/// What files keep of a run's settings, whatever the model: its name, the settings, and what is known about them.
struct SettingsRecord {
  std::string model;
  nlohmann::ordered_json settings;            ///< as by to_json(Settings)
  std::set<std::string> may_differ;           ///< full names of those that a resumed run may change
  std::map<std::string, std::string> former;  ///< full name by the name in version 0.1
  nlohmann::json data = nullptr;              ///< of the run's data set (data/digest.hpp); null where it is not known
};

template <FieldStruct C>
SettingsRecord record_settings(std::string_view model, const Settings<C>& settings) {
  SettingsRecord out{std::string(model), to_json(settings), {}, {}};
  const auto look = [&](const std::string& table, const auto& fields) {
    visit_fields(fields, [&](const std::string& path, const Field& field, const auto&) {
      if (field.on_resume == OnResume::may_differ) out.may_differ.insert(table + path);
      out.former.emplace(path, table + path);
    });
  };
  look("train.", settings.train);
  look("model.", settings.model);
  if constexpr (requires { C::former_names[0]; })
    for (const FormerName& name : C::former_names)
      out.former.emplace(std::string(name.former), "model." + std::string(name.now));
  return out;
}

/// Throws ConfigError naming what differs between our data set and the one whose digests `theirs` are.
inline void require_same_data(const SettingsRecord& ours, const nlohmann::json& theirs, const std::string& where) {
  if (ours.data.is_null() || !theirs.is_object()) return;
  std::string differ;
  const auto compare = [&](const nlohmann::json& a, const nlohmann::json& b, bool here) {
    for (const auto& [name, digest] : a.items())
      if (!b.contains(name) || (here && b.at(name) != digest)) differ += (differ.empty() ? "" : ", ") + name;
  };
  compare(ours.data, theirs, true);
  compare(theirs, ours.data, false);
  if (!differ.empty())
    throw ConfigError(detail::message(where, " is of other data than this: ", differ,
                                      " differ; use the same data, or another folder for the run"));
}

/// Throws ConfigError naming the first setting under `table` ("train." or "model.") in which `theirs` differ from
/// `ours`, except for those that may differ; `where` is the file that theirs come from. Flat settings of version 0.1
/// are understood; a setting missing from theirs is taken to be the same.
inline void require_same_settings(const SettingsRecord& ours, const nlohmann::json& theirs, const std::string& where,
                                  std::string_view table) {
  std::map<std::string, nlohmann::json> other;
  detail::for_each_leaf(theirs, [&](const std::string& name, const nlohmann::json& value) {
    const auto path = ours.former.find(name);
    other[path != ours.former.end() ? path->second : name] = value;
  });
  detail::for_each_leaf(ours.settings, [&](const std::string& path, const nlohmann::ordered_json& value) {
    if (!path.starts_with(table) || ours.may_differ.contains(path)) return;
    const auto found = other.find(path);
    if (found != other.end() && found->second != nlohmann::json(value))
      throw ConfigError(detail::message(where, " was made with ", path.substr(path.find('.') + 1), " = ",
                                        found->second.dump(), " but now it is ", value.dump(),
                                        "; use the same settings or another file"));
  });
}

}  // namespace rearm::REARM_ABI
