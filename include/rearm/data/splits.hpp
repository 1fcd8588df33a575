#pragma once
/// @file splits.hpp
/// Train, validation and test pairs as they were read, and checks for oddities; formats/ reads them.

#include <rearm/data/interactions.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI::detail {

inline constexpr std::array<const char*, 3> split_names = {"train", "valid", "test"};

/// The pairs of one split and, for messages, where they were read.
struct SourcedPairs {
  Interactions pairs;
  std::filesystem::path path;
  std::vector<Index> lines;  ///< a pair's line in a text file; empty for an array, where the position is enough

  std::string place(Index pair) const {
    if (lines.empty()) return message(path.string(), ": pair ", pair);
    return message(path.string(), ": line ", lines[static_cast<std::size_t>(pair)]);
  }
};

/// Checks that an id is below 2^31 - 1, so that id + 1 is an id too.
inline Id checked_id(Index value, const char* what, const std::string& place) {
  if (value < 0 || value >= std::numeric_limits<Id>::max())
    throw DataError(message(place, ": ", what, " id ", value, " is outside [0, ", std::numeric_limits<Id>::max(),
                            "); number ", what, "s from 0"));
  return static_cast<Id>(value);
}

/// Names of the files in `dir` that end in `suffix`, without it, sorted. Skips hidden files, macOS's `._*` among them.
inline std::vector<std::string> stems(const std::filesystem::path& dir, std::string_view suffix) {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    const std::string name = entry.path().filename().string();
    if (name.size() > suffix.size() && name.ends_with(suffix) && !name.starts_with('.'))
      out.push_back(name.substr(0, name.size() - suffix.size()));
  }
  std::ranges::sort(out);
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

/// O(ids log ids), however large the ids.
inline Index count_distinct(std::vector<Id> ids) {
  std::ranges::sort(ids);
  return static_cast<Index>(std::unique(ids.begin(), ids.end()) - ids.begin());
}

}  // namespace rearm::REARM_ABI::detail
