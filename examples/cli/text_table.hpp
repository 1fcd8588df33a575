#pragma once
/// @file text_table.hpp
/// A table as aligned text, CSV and Markdown.

#include <rearm/io/atomic_file.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace rearm::cli {

/// By printf's format for a double, such as "%.4f".
inline std::string formatted(const char* format, double x) {
  char text[64];
  std::snprintf(text, sizeof text, format, x);
  return text;
}

/// Cells are text of one line; every row has a cell for each column.
struct TextTable {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;

  std::string text() const {
    std::vector<std::size_t> widths;
    for (std::size_t c = 0; c < columns.size(); ++c) {
      widths.push_back(length(columns[c]));
      for (const auto& row : rows) widths[c] = std::max(widths[c], length(row[c]));
    }
    std::string out;
    const auto line = [&](const std::vector<std::string>& cells) {
      for (std::size_t c = 0; c < cells.size(); ++c) {
        out += cells[c];
        if (c + 1 < cells.size()) out.append(widths[c] - length(cells[c]) + 2, ' ');
      }
      while (out.ends_with(' ')) out.pop_back();
      out += '\n';
    };
    line(columns);
    for (const auto& row : rows) line(row);
    return out;
  }
  /// RFC 4180, with line feeds alone.
  std::string csv() const {
    std::string out;
    const auto line = [&](const std::vector<std::string>& cells) {
      for (std::size_t c = 0; c < cells.size(); ++c) {
        if (c > 0) out += ',';
        if (cells[c].find_first_of(",\"\r\n") == std::string::npos) {
          out += cells[c];
          continue;
        }
        out += '"';
        for (const char x : cells[c]) out += x == '"' ? "\"\"" : std::string(1, x);
        out += '"';
      }
      out += '\n';
    };
    line(columns);
    for (const auto& row : rows) line(row);
    return out;
  }
  std::string markdown() const {
    std::string out;
    const auto line = [&](const std::vector<std::string>& cells) {
      out += '|';
      for (const std::string& cell : cells) {
        out += ' ';
        for (const char x : cell) out += x == '|' ? "\\|" : std::string(1, x);
        out += " |";
      }
      out += '\n';
    };
    line(columns);
    line(std::vector<std::string>(columns.size(), "---"));
    for (const auto& row : rows) line(row);
    return out;
  }

 private:
  /// Characters of UTF-8.
  static std::size_t length(std::string_view text) {
    return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
  }
};

inline void write_text(const std::filesystem::path& path, std::string_view text) {
  write_file_atomically(path, [&](std::ostream& out) { out << text; });
}

}  // namespace rearm::cli
