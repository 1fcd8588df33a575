#pragma once
/// @file id_files.hpp
/// What users and items are called: our `users.tsv` and `items.tsv`, and MMRec's `u_id_mapping.csv` and
/// `i_id_mapping.csv`.

#include <rearm/data/formats/delimited.hpp>
#include <rearm/io/atomic_file.hpp>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <system_error>
#include <vector>

namespace rearm::REARM_ABI {

/// Writes a header line and a line `number<TAB>name` for each name, in the order of the numbers from 0. Throws IoError.
inline void write_id_names(const std::filesystem::path& path, const std::vector<std::string>& names) {
  write_file_atomically(path, [&](std::ostream& out) {
    out << "number\tname\n";
    for (std::size_t number = 0; number < names.size(); ++number) out << number << '\t' << names[number] << '\n';
  });
}

/// The names of numbers, as write_id_names writes them or, if `number_is_last`, as MMRec does: a name, a tab or comma,
/// a number. Throws IoError if the file cannot be read, DataError naming file and line for other columns, a number that
/// is none or is there twice, or a name that is empty or there twice.
inline std::map<Index, std::string> read_id_names(const std::filesystem::path& path, bool number_is_last = false) {
  std::ifstream in(path);
  if (!in) detail::throw_io(path, "cannot be opened for reading", errno);
  std::map<Index, std::string> names;
  std::set<std::string> known;
  std::string line;
  std::vector<std::string> fields;
  for (Index number = 1; std::getline(in, line); ++number) {
    if (number == 1) {
      detail::require_no_pointer(line, path);
      continue;  // the header
    }
    if (line.empty() || line == "\r") continue;
    const auto place = [&] { return detail::message(path.string(), ": line ", number); };
    if (number_is_last) {
      detail::split_fields(line, line.find('\t') != std::string::npos ? "\t" : ",", fields);
    } else {  // what follows the first tab is the name, quotes and all
      if (line.ends_with('\r')) line.pop_back();
      const std::size_t tab = std::min(line.find('\t'), line.size());
      fields = {line.substr(0, tab)};
      if (tab < line.size()) fields.push_back(line.substr(tab + 1));
    }
    if (fields.size() != 2) throw DataError(detail::message(place(), " has ", fields.size(), " columns, not 2"));
    const std::string& text = fields[number_is_last ? 1 : 0];
    const std::string& name = fields[number_is_last ? 0 : 1];
    Index id = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    if (error != std::errc() || end != text.data() + text.size() || id < 0)
      throw DataError(detail::message(place(), ": '", text, "' is not a number of an id"));
    detail::require_id_name(name, "", place);
    if (!known.insert(name).second) throw DataError(detail::message(place(), ": the name '", name, "' is there twice"));
    if (!names.emplace(id, name).second)
      throw DataError(detail::message(place(), ": the number ", id, " is there twice"));
  }
  if (in.bad()) detail::throw_io(path, "reading failed", errno);
  return names;
}

namespace detail {

/// The names that a folder gives its users or items, or nothing if it has no such file.
inline std::optional<std::map<Index, std::string>> names_of_folder(const std::filesystem::path& dir, bool users) {
  const std::filesystem::path ours = dir / (users ? "users.tsv" : "items.tsv");
  const std::filesystem::path mmrec = dir / (users ? "u_id_mapping.csv" : "i_id_mapping.csv");
  if (std::filesystem::exists(ours)) return read_id_names(ours);
  if (std::filesystem::exists(mmrec)) return read_id_names(mmrec, true);
  return std::nullopt;
}

}  // namespace detail
}  // namespace rearm::REARM_ABI
