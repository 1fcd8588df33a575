#pragma once
/// @file inter.hpp
/// MMRec's format: one `<name>.inter`.

#include <rearm/data/formats/delimited.hpp>
#include <rearm/data/splits.hpp>
#include <rearm/io/atomic_file.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <vector>

namespace rearm::REARM_ABI::detail {

/// Tab-separated with a header line that names userID, itemID and x_label (0 train, 1 valid, 2 test) in any order.
inline std::array<SourcedPairs, 3> read_inter(const std::filesystem::path& path) {
  std::ifstream in(path);
  if (!in) throw_io(path, "cannot be opened for reading", errno);
  std::string line;
  std::getline(in, line);
  require_no_pointer(line, path);
  if (line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);
  std::array<std::size_t, 3> column{};
  const std::array<const char*, 3> keys = {"userid", "itemid", "xlabel"};
  const std::array<const char*, 3> titles = {"userID", "itemID", "x_label"};
  std::vector<std::string> header;
  std::vector<std::string> fields;
  split_fields(line, "\t", fields);
  header.reserve(fields.size());
  for (const std::string& name : fields) header.push_back(column_key(name));
  for (std::size_t c = 0; c < 3; ++c) {
    const auto at = std::ranges::find(header, keys[c]);
    if (at == header.end())
      throw DataError(message(path.string(), ": line 1 names no column ", titles[c],
                              "; the header must be tab-separated and name userID, itemID and x_label"));
    column[c] = static_cast<std::size_t>(at - header.begin());
  }
  std::array<SourcedPairs, 3> out;
  for (auto& split : out) split.path = path;
  for (Index number = 2; std::getline(in, line); ++number) {
    if (line.empty() || line == "\r") continue;
    split_fields(line, "\t", fields);
    const std::string place = message(path.string(), ": line ", number);
    std::array<Index, 3> value{};
    for (std::size_t c = 0; c < 3; ++c) {
      if (column[c] >= fields.size())
        throw DataError(
            message(place, " has ", fields.size(), " columns but ", titles[c], " is column ", column[c] + 1));
      const std::string& field = fields[column[c]];
      const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value[c]);
      if (error != std::errc() || end != field.data() + field.size())
        throw DataError(message(place, ": ", titles[c], " is '", field, "' but must be a whole number"));
    }
    if (value[2] < 0 || value[2] > 2)
      throw DataError(message(place, ": x_label is ", value[2], " but must be 0 (train), 1 (valid) or 2 (test)"));
    SourcedPairs& split = out[static_cast<std::size_t>(value[2])];
    split.pairs.users.push_back(checked_id(value[0], "user", place));
    split.pairs.items.push_back(checked_id(value[1], "item", place));
    split.lines.push_back(number);
  }
  if (in.bad()) throw_io(path, "reading failed", errno);
  return out;
}

namespace inter {

inline bool found(const std::filesystem::path& dir) { return !stems(dir, ".inter").empty(); }

inline std::array<SourcedPairs, 3> read(const std::filesystem::path& dir) {
  const std::vector<std::string> names = stems(dir, ".inter");
  if (names.size() != 1)
    throw IoError(message(dir.string(), ": has ", names.size(), " .inter files (", names[0], ".inter, ", names[1],
                          ".inter, ...); keep only the one to be read"));
  return read_inter(dir / (names[0] + ".inter"));
}

}  // namespace inter
}  // namespace rearm::REARM_ABI::detail
