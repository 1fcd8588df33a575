#pragma once
/// @file settings.hpp
/// Settings in files: JSON made from the lists of fields, and how two of them are compared.

#include <rearm/train/config.hpp>

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

namespace rearm::REARM_ABI {

inline nlohmann::ordered_json to_json(const FieldValue& value) {
  return std::visit(
      [](const auto& at) -> nlohmann::ordered_json {
        if constexpr (std::is_same_v<decltype(at), const EnumValue&>)
          return at.text();
        else
          return *at;
      },
      value);
}
/// Every field under its name, nested structs as objects.
inline nlohmann::ordered_json to_json(const FieldList& fields) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const FieldEntry& entry : fields) {
    nlohmann::ordered_json* at = &json;
    std::size_t begin = 0;
    for (std::size_t dot = entry.path.find('.'); dot != std::string::npos; dot = entry.path.find('.', begin)) {
      at = &(*at)[entry.path.substr(begin, dot - begin)];
      begin = dot + 1;
    }
    (*at)[entry.path.substr(begin)] = to_json(entry.value);
  }
  return json;
}
template <FieldStruct S>
nlohmann::ordered_json to_json(const S& s) {
  return to_json(list_fields(s));
}

namespace detail {

/// The value of a field from JSON, which must have its type: 3.7 is no integer, and text is no number.
template <class T>
void assign(const std::string& path, const nlohmann::json& json, T& out) {
  const auto refuse = [&](const char* needed) {
    throw ConfigError(message(path, " = ", json.dump(), ": must be ", needed));
  };
  if constexpr (std::is_same_v<T, bool>) {
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
inline void assign(const std::string& path, const nlohmann::json& json, const EnumValue& out) {
  if (!json.is_string()) throw ConfigError(message(path, " = ", json.dump(), ": must be text"));
  out.parse(path, json.get<std::string>());
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

/// The settings of a run, whatever its model: `train.batch_size`, `model.users.k`.
struct SettingList {
  FieldList fields;
  std::span<const FormerName> former;  ///< of the model's fields

  /// The full name of a setting, given that, its name without the table (`batch_size`, `users.k`) or its name in an
  /// earlier version (`user_knn_k`). Empty if there is no such setting.
  std::string path(std::string_view name) const {
    const bool of_train = name.starts_with("train."), of_model = name.starts_with("model.");
    const std::string_view own = of_train || of_model ? name.substr(6) : name;
    const auto found = [&](std::string_view table, std::string_view wanted) {
      for (const FieldEntry& entry : fields)
        if (entry.path.starts_with(table) && std::string_view(entry.path).substr(table.size()) == wanted)
          return entry.path;
      return std::string();
    };
    const std::string out = of_model ? std::string() : found("train.", own);
    return !out.empty() || of_train ? out : found("model.", current_name(former, own));
  }
  /// The setting whose full name `path` is. Throws ConfigError if there is none.
  const FieldEntry& at(const std::string& path) const {
    for (const FieldEntry& entry : fields)
      if (entry.path == path) return entry;
    throw ConfigError(detail::message("settings: there is no '", path, "'"));
  }
  /// Throws ConfigError for a value of the wrong type.
  void set(const std::string& path, const nlohmann::json& json) const {
    const auto put = [&](const auto& value) {
      if constexpr (std::is_same_v<decltype(value), const EnumValue&>)
        detail::assign(path, json, value);
      else
        detail::assign(path, json, *value);
    };
    std::visit(put, at(path).value);
  }
  /// Sets what is in `json`, nested or flat as in version 0.1; the rest is unchanged. Throws ConfigError naming an
  /// unknown key or a value of the wrong type.
  void update(const nlohmann::json& json) const {
    if (!json.is_object()) throw ConfigError("settings: must be a JSON object");
    detail::for_each_leaf(json, [&](const std::string& name, const nlohmann::json& value) {
      const std::string full = path(name);
      if (full.empty()) throw ConfigError(detail::message("settings: unknown key '", name, "' = ", value.dump()));
      set(full, value);
    });
  }
};
/// The list's values are those of `settings`, as for list_fields.
template <FieldStruct C>
SettingList list_settings(const Settings<C>& settings) {
  SettingList out{list_fields(settings.train, "train."), former_names<C>()};
  for (FieldEntry& entry : list_fields(settings.model, "model.")) out.fields.push_back(std::move(entry));
  return out;
}

/// {"train": {...}, "model": {...}}
template <FieldStruct C>
nlohmann::ordered_json to_json(const Settings<C>& settings) {
  return to_json(list_settings(settings).fields);
}
/// See SettingList::path.
template <FieldStruct C>
std::string setting_path(const Settings<C>& settings, std::string_view name) {
  return list_settings(settings).path(name);
}
/// See SettingList::update.
template <FieldStruct C>
void update_settings(Settings<C>& settings, const nlohmann::json& json) {
  list_settings(settings).update(json);
}

/// What files keep of a run's settings, whatever the model: its name, the settings, and what is known about them.
struct SettingsRecord {
  std::string model;
  nlohmann::ordered_json settings;            ///< as by to_json(Settings)
  std::set<std::string> may_differ;           ///< full names of those that a resumed run may change
  std::map<std::string, std::string> former;  ///< full name by the name in version 0.1
  nlohmann::json data = nullptr;              ///< of the run's data set (data/digest.hpp); null where it is not known
};

inline SettingsRecord record_settings(std::string_view model, const SettingList& settings) {
  SettingsRecord out{std::string(model), to_json(settings.fields), {}, {}};
  for (const FieldEntry& entry : settings.fields) {
    if (entry.field.on_resume == OnResume::may_differ) out.may_differ.insert(entry.path);
    out.former.emplace(entry.path.substr(entry.path.find('.') + 1), entry.path);
  }
  for (const FormerName& name : settings.former)
    out.former.emplace(std::string(name.former), "model." + std::string(name.now));
  return out;
}
template <FieldStruct C>
SettingsRecord record_settings(std::string_view model, const Settings<C>& settings) {
  return record_settings(model, list_settings(settings));
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
