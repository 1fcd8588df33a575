#pragma once
/// @file splits.hpp
/// Train, validation and test pairs from files: the authors' three .npy, or MMRec's one .inter.

#include <rearm/data/interactions.hpp>
#include <rearm/data/npy.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace rearm::detail {

inline constexpr std::array<const char*, 3> split_names = {"train", "valid", "test"};

/// The pairs of one split and, for messages, where they were read.
struct SourcedPairs {
  Interactions pairs;
  std::filesystem::path path;
  std::vector<Index> lines;  ///< a pair's line in a text file; empty for an array, where the position says it

  std::string place(Index pair) const {
    if (lines.empty()) return message(path.string(), ": pair ", pair);
    return message(path.string(), ": line ", lines[static_cast<std::size_t>(pair)]);
  }
};

/// An id below 2^31 - 1, so that id + 1 is one too.
inline Id checked_id(Index value, const char* what, const std::string& place) {
  if (value < 0 || value >= std::numeric_limits<Id>::max())
    throw DataError(message(place, ": ", what, " id ", value, " is outside [0, ", std::numeric_limits<Id>::max(),
                            "); number ", what, "s from 0"));
  return static_cast<Id>(value);
}

/// Integers (2, N), row 0 users, row 1 items; (N, 2) where N is not 2.
inline SourcedPairs read_pairs_npy(const std::filesystem::path& path) {
  const NpyArray<std::int64_t> array = read_npy<std::int64_t>(path);
  SourcedPairs out{{}, path, {}};
  if (array.values.empty()) return out;
  const bool flat = array.shape.size() != 2;
  if (flat || (array.shape[0] != 2 && array.shape[1] != 2))
    throw DataError(message(path.string(), ": shape is ", shape_string(array.shape),
                            " but must be (2, N): row 0 users, row 1 items"));
  const bool by_rows = array.shape[0] == 2;
  const Index n = by_rows ? array.shape[1] : array.shape[0];
  out.pairs.users.reserve(static_cast<std::size_t>(n));
  out.pairs.items.reserve(static_cast<std::size_t>(n));
  for (Index e = 0; e < n; ++e) {
    const auto user = static_cast<std::size_t>(by_rows ? e : 2 * e);
    const auto item = static_cast<std::size_t>(by_rows ? n + e : 2 * e + 1);
    if (array.values[user] < 0 || array.values[item] < 0 || array.values[user] >= std::numeric_limits<Id>::max() ||
        array.values[item] >= std::numeric_limits<Id>::max()) {
      checked_id(array.values[user], "user", out.place(e));
      checked_id(array.values[item], "item", out.place(e));
    }
    out.pairs.users.push_back(static_cast<Id>(array.values[user]));
    out.pairs.items.push_back(static_cast<Id>(array.values[item]));
  }
  return out;
}

inline std::vector<std::string_view> split_tabs(std::string_view line) {
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  std::vector<std::string_view> out;
  for (std::size_t begin = 0;;) {
    const std::size_t end = line.find('\t', begin);
    out.push_back(line.substr(begin, end - begin));
    if (end == std::string_view::npos) return out;
    begin = end + 1;
  }
}

/// "user_id:token" and "userID" are the same column: letters only, lower case, up to the colon.
inline std::string column_key(std::string_view name) {
  std::string out;
  for (const char c : name.substr(0, name.find(':')))
    if (c != '_' && c != ' ') out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

/// Tab-separated with a header line that names userID, itemID and x_label (0 train, 1 valid, 2 test) in any order.
inline std::array<SourcedPairs, 3> read_inter(const std::filesystem::path& path) {
  std::ifstream in(path);
  if (!in) throw_io(path, "cannot be opened for reading", errno);
  std::string line;
  std::getline(in, line);
  if (line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);
  std::array<std::size_t, 3> column{};
  const std::array<const char*, 3> keys = {"userid", "itemid", "xlabel"};
  const std::array<const char*, 3> titles = {"userID", "itemID", "x_label"};
  std::vector<std::string> header;
  for (const std::string_view name : split_tabs(line)) header.push_back(column_key(name));
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
    const std::vector<std::string_view> fields = split_tabs(line);
    const std::string place = message(path.string(), ": line ", number);
    std::array<Index, 3> value{};
    for (std::size_t c = 0; c < 3; ++c) {
      if (column[c] >= fields.size())
        throw DataError(
            message(place, " has ", fields.size(), " columns but ", titles[c], " is column ", column[c] + 1));
      const std::string_view field = fields[column[c]];
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

/// (user, item) as one number that sorts like the pair.
inline std::vector<std::uint64_t> pair_keys(const Interactions& pairs) {
  std::vector<std::uint64_t> out(pairs.users.size());
  for (std::size_t e = 0; e < out.size(); ++e)
    out[e] = (static_cast<std::uint64_t>(pairs.users[e]) << 32) | static_cast<std::uint32_t>(pairs.items[e]);
  return out;
}

/// Keeps the first of equal pairs, in the order of the file; returns how many were dropped.
inline Index drop_duplicates(Interactions& pairs) {
  std::vector<std::pair<std::uint64_t, std::size_t>> sorted;
  const std::vector<std::uint64_t> keys = pair_keys(pairs);
  sorted.reserve(keys.size());
  for (std::size_t e = 0; e < keys.size(); ++e) sorted.emplace_back(keys[e], e);
  std::ranges::sort(sorted);
  std::vector<bool> repeated(keys.size(), false);
  for (std::size_t s = 1; s < sorted.size(); ++s)
    if (sorted[s].first == sorted[s - 1].first) repeated[sorted[s].second] = true;
  std::size_t kept = 0;
  for (std::size_t e = 0; e < keys.size(); ++e) {
    if (repeated[e]) continue;
    pairs.users[kept] = pairs.users[e];
    pairs.items[kept++] = pairs.items[e];
  }
  pairs.users.resize(kept);
  pairs.items.resize(kept);
  return static_cast<Index>(keys.size() - kept);
}

inline Index count_common(const Interactions& a, const Interactions& b) {
  std::vector<std::uint64_t> ka = pair_keys(a), kb = pair_keys(b), common;
  std::ranges::sort(ka);
  std::ranges::sort(kb);
  std::ranges::set_intersection(ka, kb, std::back_inserter(common));
  return static_cast<Index>(common.size());
}

/// O(pairs), whatever the ids.
inline Index count_distinct(std::vector<Id> ids) {
  std::ranges::sort(ids);
  return static_cast<Index>(std::unique(ids.begin(), ids.end()) - ids.begin());
}

}  // namespace rearm::detail
