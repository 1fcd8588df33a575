#include "settings_file.hpp"

// toml++ asserts, or without assertions lets the compiler assume, what the file decides (a line with "[" alone). With
// neither it says as an error what is wrong.
#pragma push_macro("NDEBUG")
#undef NDEBUG
#define TOML_ASSERT(expression) static_assert(true)
#define TOML_MAX_NESTED_VALUES 16
#define TOML_EXCEPTIONS 1
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>
#pragma pop_macro("NDEBUG")

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

namespace rearm::cli {
namespace {

using rearm::detail::message;

std::string place(const std::filesystem::path& file, const toml::source_region& region) {
  return message(file.string(), ":", region.begin.line, ":", region.begin.column);
}

/// toml++ recurses as deep as a dotted key has parts, which it does not limit.
void require_short_keys(const std::string& text, const std::filesystem::path& file) {
  int line = 1, dots = 0;
  for (const char c : text) {
    if (c == '.' && ++dots > 200)
      throw ConfigError(message(file.string(), ':', line, ": more than 200 dots in one line; no setting has them"));
    if (c != '\n') continue;
    ++line;
    dots = 0;
  }
}

toml::table parse(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in || std::filesystem::is_directory(file))
    throw IoError(message(file.string(), ": cannot be read; give a TOML file with settings"));
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  require_short_keys(text, file);
  try {
    return toml::parse(std::string_view(text), file.string());
  } catch (const toml::parse_error& e) {
    throw ConfigError(message(place(file, e.source()), ": ", e.description()));
  }
}

nlohmann::json to_json(const toml::node& node, const std::filesystem::path& file) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return number->get();
  if (const auto* number = node.as_floating_point()) return number->get();
  if (const auto* flag = node.as_boolean()) return flag->get();
  if (const auto* list = node.as_array()) {
    nlohmann::json json = nlohmann::json::array();
    for (const toml::node& entry : *list) json.push_back(to_json(entry, file));
    return json;
  }
  throw ConfigError(
      message(place(file, node.source()), ": a setting is text, a number, true, false or a list of them"));
}

/// f(path, key, node) for every value that is no table.
template <class F>
void for_each_value(const toml::table& table, const std::string& prefix, const F& f) {
  for (const auto& [key, node] : table) {
    std::string name = prefix + std::string(key.str());
    std::ranges::replace(name, '-', '_');
    if (const toml::table* inner = node.as_table())
      for_each_value(*inner, name + '.', f);
    else
      f(name, key, node);
  }
}

}  // namespace

std::optional<std::string> model_in(const std::filesystem::path& file) {
  return parse(file)["model"]["name"].value<std::string>();
}

void read_settings(const std::filesystem::path& file, ModelEntry& entry, std::set<std::string>& set) {
  const toml::table table = parse(file);
  for_each_value(table, {}, [&](const std::string& name, const toml::key& key, const toml::node& node) {
    if (name == "model.name") {
      if (const auto of = node.value<std::string>(); of != entry.name())
        throw ConfigError(message(place(file, node.source()), ": the file is for the model ", of.value_or("(no text)"),
                                  " but the model is ", entry.name()));
      return;
    }
    const std::string path = entry.path(name);
    if (path.empty())
      throw ConfigError(message(place(file, key.source()), ": unknown key '", name, "' for the model ", entry.name(),
                                "; `rearm models ", entry.name(), "` lists the settings"));
    try {
      entry.set(path, to_json(node, file));
    } catch (const ConfigError& e) {
      throw ConfigError(message(place(file, node.source()), ": ", e.what()));
    }
    set.insert(path);
  });
}

std::string to_toml(const ModelEntry& entry) {
  std::string out;
  std::string table;
  const auto write = [&](const std::string& path, const Field& field, const nlohmann::ordered_json& value, bool) {
    const std::size_t dot = path.rfind('.');
    if (path.substr(0, dot) != table) {
      const bool first_of_model = table.rfind("model", 0) != 0 && path.rfind("model", 0) == 0;
      table = path.substr(0, dot);
      out += message(out.empty() ? "" : "\n", '[', table, "]\n");
      if (first_of_model) out += message("name = \"", entry.name(), "\"\n");
    }
    // TOML's whole numbers end at 2^63 - 1; larger ones are read from text. Unlike JSON it wants DEL escaped.
    const bool large = value.is_number_unsigned() &&
                       value.get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int64_t>::max()};
    std::string text = large ? '"' + value.dump() + '"' : value.dump();
    for (std::size_t at = 0; (at = text.find('\x7f', at)) != std::string::npos;) text.replace(at, 1, "\\u007f");
    out += message("# ", field.help, '\n', path.substr(dot + 1), " = ", text, '\n');
  };
  // A table's own values come before the tables inside it.
  for (const bool nested : {false, true})
    entry.visit([&](const std::string& path, const Field& field, const nlohmann::ordered_json& value, bool list) {
      if ((std::ranges::count(path, '.') > 1) == nested) write(path, field, value, list);
    });
  return out;
}

}  // namespace rearm::cli
