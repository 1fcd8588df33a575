#pragma once
/// @file json_lines.hpp
/// Reviews as JSON, one object a line: Amazon's files.

#include <rearm/data/formats/delimited.hpp>
#include <rearm/data/interaction_log.hpp>
#include <rearm/io/atomic_file.hpp>
#include <rearm/io/json.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <istream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {
namespace detail {

/// Takes the wanted fields of an object as it is parsed; builds nothing of the rest.
class FieldsOfLine {
 public:
  struct Field {
    std::string name, text;
    bool present = false;
  };
  std::array<Field, 4> fields;
  std::string error;

  void begin_line() {
    for (Field& field : fields) field.present = false;
    depth_ = 0;
    wanted_ = nullptr;
  }

  bool start_object(std::size_t) { return open(); }
  bool start_array(std::size_t) { return open(); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    if (depth_ != 1) return true;
    wanted_ = nullptr;
    for (Field& field : fields)
      if (!field.name.empty() && field.name == name) wanted_ = &field;
    return true;
  }
  bool string(std::string& text) {
    if (depth_ == 1 && wanted_ != nullptr) {
      wanted_->text.swap(text);
      wanted_->present = true;
    }
    return true;
  }
  bool number_integer(std::int64_t value) { return number(std::to_string(value)); }
  bool number_unsigned(std::uint64_t value) { return number(std::to_string(value)); }
  bool number_float(double, const std::string& text) { return number(text); }
  bool null() { return true; }
  bool boolean(bool) { return true; }
  bool binary(nlohmann::json::binary_t&) { return true; }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception& e) {
    error = e.what();
    return false;
  }

 private:
  bool open() {
    ++depth_;
    return true;
  }
  bool close() {
    --depth_;
    return true;
  }
  bool number(std::string text) { return string(text); }

  int depth_ = 0;
  Field* wanted_ = nullptr;
};

}  // namespace detail

/// Reads one JSON object a line; `path` is for messages. Of each the user, the item and, if the first line has them,
/// rating and time are taken: Amazon's `reviewerID`, `asin`, `overall`, `unixReviewTime` (J. McAuley et al., SIGIR'15),
/// or the fields that `columns` names. Throws DataError naming file and line, IoError for a Git LFS pointer or a
/// failing stream.
inline InteractionLog read_json_lines(std::istream& in, const std::filesystem::path& path,
                                      const ColumnNames& columns = {}) {
  detail::skip_byte_order_mark(in, path);
  InteractionLog log;
  detail::FieldsOfLine sax;
  std::string line;
  bool named = false;
  for (Index number = 1; std::getline(in, line); ++number) {
    const auto place = [&] { return detail::message(path.string(), ": line ", number); };
    if (number == 1) detail::require_text(line, path);
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    if (!named) {
      if (line.starts_with("{'") || line.starts_with("{ '"))
        throw DataError(place() +
                        " is a Python dictionary with single quotes, as in old copies of Amazon's files, and not JSON; "
                        "convert it: python3 -c 'import ast, json, sys; [print(json.dumps(ast.literal_eval(line))) for "
                        "line in sys.stdin]' < OLD > NEW");
      std::vector<std::string> names;
      const nlohmann::json object = parse_json_object(line, place());
      for (const auto& [name, value] : object.items()) names.push_back(name);
      const auto found = detail::find_columns(names, columns, place());
      for (std::size_t f = 0; f < sax.fields.size(); ++f)
        if (found[f]) sax.fields[f].name = names[*found[f]];
      named = true;
    }
    sax.begin_line();
    if (line.find_first_not_of(" \t") != line.find('{') || !nlohmann::json::sax_parse(line, &sax))
      throw DataError(place() + " is not a JSON object: " +
                      (sax.error.empty() ? "it must begin with {" : sax.error.substr(0, 400)));
    std::array<std::optional<double>, 2> values;
    for (std::size_t f = 0; f < sax.fields.size(); ++f) {
      const auto& field = sax.fields[f];
      if (f < 2 && !field.present)
        throw DataError(
            detail::message(place(), ": has no '", field.name, "', or one that is neither text nor a number"));
      if (f < 2 || !field.present) continue;
      values[f - 2] = detail::finite_number(field.text);
      if (!values[f - 2])
        throw DataError(detail::message(place(), ": '", field.name, "' is '", field.text, "' but must be a number"));
    }
    detail::add_record(log, {sax.fields[0].text, sax.fields[1].text, values[0], values[1], std::nullopt}, place);
  }
  if (in.bad()) detail::throw_io(path, "reading failed", errno);
  if (log.size() == 0) throw DataError(path.string() + ": holds no reviews");
  return log;
}

/// Reads JSON lines if the text begins with a brace or a bracket, else delimited text. Throws ConfigError for a
/// delimiter or a header in JSON lines, and what the readers throw.
inline InteractionLog read_interactions(std::istream& in, const std::filesystem::path& path,
                                        const DelimitedOptions& options = {}) {
  detail::skip_byte_order_mark(in, path);
  const bool json = in.peek() == '{' || in.peek() == '[';
  if (!json) return read_delimited(in, path, options);
  if (!options.delimiter.empty() || !options.header.empty())
    throw ConfigError(path.string() +
                      ": holds JSON, which has neither a delimiter nor a list of columns; leave them out");
  return read_json_lines(in, path, options.columns);
}

}  // namespace rearm::REARM_ABI
