#pragma once
/// @file delimited.hpp
/// Delimited text with a header line: CSV, TSV, RecBole's and MMRec's `.inter`.

#include <rearm/data/interaction_log.hpp>
#include <rearm/io/atomic_file.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <initializer_list>
#include <istream>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace rearm::REARM_ABI {
namespace detail {

/// The fields of a line. One in quotes may hold the delimiter, and quotes that are written twice; a quote that is not
/// closed before a delimiter or the end is an ordinary character, and true is returned.
inline bool split_fields(std::string_view line, std::string_view delimiter, std::vector<std::string>& out) {
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  bool open = false;
  std::size_t n = 0;
  for (std::size_t begin = 0;; ++n) {
    if (n == out.size()) out.emplace_back();
    std::string& field = out[n];
    field.clear();
    std::size_t end = std::string_view::npos;
    bool quoted = false;
    if (begin < line.size() && line[begin] == '"') {
      std::size_t at = begin + 1;
      for (; at < line.size(); ++at) {
        if (line[at] == '"' && line.substr(at + 1, 1) != "\"") break;
        if (line[at] == '"') ++at;
        field += line[at];
      }
      const std::string_view after = line.substr(std::min(at + 1, line.size()));
      quoted = at < line.size() && (after.empty() || after.starts_with(delimiter));
      if (quoted && !after.empty()) end = at + 1;
      open = open || at >= line.size();
    }
    if (!quoted) {
      end = line.find(delimiter, begin);
      field = line.substr(begin, end - begin);
    }
    if (end == std::string_view::npos) break;
    begin = end + delimiter.size();
  }
  out.resize(n + 1);
  return open;
}

/// "user_id:token" and "userID" are the same column: in lower case, without "_" and spaces, up to the colon.
inline std::string column_key(std::string_view name) {
  std::string out;
  for (const char c : name.substr(0, name.find(':')))
    if (c != '_' && c != ' ') out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

/// The texts in one, with `between` between them.
inline std::string joined(std::span<const std::string> texts, const char* between = ", ") {
  std::string out;
  for (const std::string& text : texts) out += (out.empty() ? "" : between) + text;
  return out;
}

/// Where user, item, rating, time and split are among the columns `header`; nothing where one is not. `asked` names
/// columns; well-known names are tried where it does not. Throws DataError for a missing user or item, or one asked
/// for.
inline std::array<std::optional<std::size_t>, 5> find_columns(const std::vector<std::string>& header,
                                                              const ColumnNames& asked, const std::string& place) {
  struct Role {
    const char* what;
    std::string asked;
    std::initializer_list<std::string_view> known;
  };
  const Role roles[] = {{"user", asked.user, {"userid", "user", "reviewerid", "uid"}},
                        {"item", asked.item, {"itemid", "item", "parentasin", "asin", "movieid", "productid", "iid"}},
                        {"rating", asked.rating, {"rating", "overall", "score"}},
                        {"time", asked.time, {"timestamp", "unixreviewtime", "time"}},
                        {"split", "", {"xlabel"}}};
  std::vector<std::string> keys;
  keys.reserve(header.size());
  for (const std::string& name : header) keys.push_back(column_key(name));
  std::array<std::optional<std::size_t>, 5> out;
  for (std::size_t r = 0; r < out.size(); ++r) {
    const Role& role = roles[r];
    const auto look = [&](const auto& names, std::string_view name) {
      if (const auto at = std::ranges::find(names, name); !out[r] && at != names.end())
        out[r] = static_cast<std::size_t>(at - names.begin());
    };
    if (!role.asked.empty()) {
      look(header, role.asked);
      look(keys, column_key(role.asked));
    } else {
      for (const std::string_view name : role.known) look(keys, name);
    }
    if (out[r] || (r > 1 && role.asked.empty())) continue;
    throw DataError(message(place, role.asked.empty() ? ": no column is known to hold the " : ": no column '",
                            role.asked.empty() ? role.what : role.asked, role.asked.empty() ? "" : "'",
                            "; there are: ", joined(header).substr(0, 400), "; name it with --", role.what,
                            "-column, or name all columns of a file without a header line with --columns"));
  }
  return out;
}

/// A number that is all of the text, and finite.
inline std::optional<double> finite_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

/// A number, or seconds since 1970 of a date, YYYY-MM-DD, or of a date and a time of day, YYYY-MM-DD hh:mm[:ss[.fff]],
/// with a blank or T between and Z or nothing behind: UTC.
inline std::optional<double> time_value(std::string_view text) {
  if (const auto number = finite_number(text)) return number;
  const auto take = [&](std::size_t digits, std::string_view after) -> std::optional<int> {
    int value = 0;
    const char* const end = text.data() + std::min(digits, text.size());
    const auto [rest, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc() || rest != end || value < 0 || text.size() < digits || text.front() == '-')
      return std::nullopt;
    text.remove_prefix(digits);
    if (text.empty() && after.empty()) return value;
    if (text.empty() || after.find(text.front()) == std::string_view::npos) return std::nullopt;
    text.remove_prefix(1);
    return value;
  };
  if (text.ends_with('Z')) text.remove_suffix(1);
  const bool date_alone = text.size() == 10;
  const auto year = take(4, "-"), month = take(2, "-"), day = take(2, date_alone ? "" : " T");
  if (!year || !month || !day) return std::nullopt;
  const std::chrono::year_month_day date(std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day)));
  if (!date.ok()) return std::nullopt;
  const double seconds = 86400.0 * static_cast<double>(std::chrono::sys_days(date).time_since_epoch().count());
  if (date_alone) return seconds;
  const auto hour = take(2, ":");
  const bool to_minutes = text.size() == 2;
  const auto minute = take(2, to_minutes ? "" : ":");
  if (!hour || !minute || *hour > 23 || *minute > 59) return std::nullopt;
  double second = 0;
  if (!to_minutes) {
    const auto value = finite_number(text);
    if (!value || text.size() < 2 || text.front() < '0' || text.front() > '9' || !(*value < 61)) return std::nullopt;
    second = *value;
  }
  return seconds + 3600.0 * *hour + 60.0 * *minute + second;
}

/// Throws IoError for a Git LFS pointer, DataError for what is no text.
inline void require_text(std::string_view first_line, const std::filesystem::path& path) {
  require_no_pointer(first_line, path);
  if (first_line.find('\0') != std::string_view::npos)
    throw DataError(path.string() +
                    ": line 1 holds a zero byte, so this is no text; give a file of reviews or ratings");
}

/// Drops a byte-order mark. Throws DataError for UTF-16.
inline void skip_byte_order_mark(std::istream& in, const std::filesystem::path& path) {
  if (const int first = in.peek(); first == 0xFE || first == 0xFF)
    throw DataError(path.string() + ": is UTF-16, not UTF-8; save it as UTF-8");
  if (in.peek() != 0xEF) return;
  char mark[3] = {};
  in.read(mark, sizeof mark);
  if (std::string_view(mark, 3) != "\xEF\xBB\xBF")
    throw DataError(path.string() + ": line 1 begins with a letter beyond ASCII; the first line must name columns");
}

}  // namespace detail

struct DelimitedOptions {
  ColumnNames columns;
  std::string delimiter;            ///< empty: found in the first line: tab, ::, comma, semicolon or |
  std::vector<std::string> header;  ///< names of the columns of a file that has no header line
};

/// Reads delimited text; `path` is for messages. The header line names columns for user, item and, if there are,
/// rating, time and x_label (0 train, 1 valid, 2 test), in any order; RecBole's suffixes (`:token`) are ignored. Fields
/// in quotes may hold delimiters and, unless those are tabs, line breaks. Throws DataError naming file and line,
/// IoError for a Git LFS pointer or a failing stream.
inline InteractionLog read_delimited(std::istream& in, const std::filesystem::path& path,
                                     const DelimitedOptions& options = {}) {
  detail::skip_byte_order_mark(in, path);
  InteractionLog log;
  std::string line, more, delimiter = options.delimiter;
  std::vector<std::string> header = options.header, fields;
  std::array<std::optional<std::size_t>, 5> column;
  const std::array<const char*, 3> numbers = {"rating", "time", "x_label"};
  for (Index number = 1, lines = 1; std::getline(in, line); number += lines, lines = 1) {
    const auto place = [&] { return detail::message(path.string(), ": line ", number); };
    if (number == 1) detail::require_text(line, path);
    if (line.empty() || line == "\r") continue;
    if (delimiter.empty()) {
      for (const char* known : {"\t", "::", ",", ";", "|"})
        if (delimiter.empty() && line.find(known) != std::string::npos) delimiter = known;
      if (delimiter.empty())
        throw DataError(place() +
                        " has one column; columns are separated by tabs, ::, commas, semicolons or |, or by " +
                        "what --delimiter says");
    }
    while (detail::split_fields(line, delimiter, fields) && delimiter != "\t") {
      if (line.size() > (1U << 17) || !std::getline(in, more))
        throw DataError(place() + ": a quote is opened and not closed");
      line += '\n' + more;
      ++lines;
    }
    if (!column[0]) {
      const bool named = header.empty();
      if (named) header = fields;
      column = detail::find_columns(header, options.columns, named ? place() : path.string() + ": --columns");
      if (named) continue;
    }
    if (fields.size() != header.size())
      throw DataError(detail::message(place(), " has ", fields.size(), " columns but ", header.size(),
                                      options.header.empty() ? " are named in the first line" : " are named"));
    std::array<std::optional<double>, 3> values;
    for (std::size_t v = 0; v < values.size(); ++v) {
      if (!column[v + 2]) continue;
      values[v] = v == 1 ? detail::time_value(fields[*column[v + 2]]) : detail::finite_number(fields[*column[v + 2]]);
      if (!values[v])
        throw DataError(
            detail::message(place(), ": the ", numbers[v], " is '", fields[*column[v + 2]], "' but must be a number",
                            v == 1 ? " such as Unix time, or a date such as 2024-01-31 or 2024-01-31 13:05" : ""));
    }
    detail::add_record(log, {fields[*column[0]], fields[*column[1]], values[0], values[1], values[2]}, place);
  }
  if (in.bad()) detail::throw_io(path, "reading failed", errno);
  if (log.size() == 0) throw DataError(path.string() + ": holds no interactions");
  return log;
}

}  // namespace rearm::REARM_ABI
