#pragma once
/// @file same_ranks.hpp
/// Whether ranks have begun the same run.

#include <rearm/core/communicator.hpp>
#include <rearm/run/settings.hpp>
#include <rearm/version.hpp>

#include <nlohmann/json.hpp>

#include <bit>
#include <cstddef>
#include <string>
#include <vector>

namespace rearm::REARM_ABI {

/// Throws ConfigError on every rank if one has another version of rearm, byte order, settings or data (SettingsRecord)
/// than rank 0, naming the rank and the first thing that differs. Every rank must call it.
inline void require_same_ranks(Communicator& ranks, const SettingsRecord& record, bool resume) {
  auto own = nlohmann::json::object();
  own["version"] = REARM_VERSION_STRING;
  own["byte order"] = std::endian::native == std::endian::little ? "little" : "big";
  own["model"] = record.model;
  own["settings"] = record.settings;
  own["data"] = record.data;
  own["resume"] = resume;
  const std::vector<std::string> all = ranks.all_texts(own.dump());
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] == all[0]) continue;
    const auto first = nlohmann::json::parse(all[0]).flatten(), other = nlohmann::json::parse(all[rank]).flatten();
    std::string what = "something", here = "another", there = "one";
    for (const auto& [key, value] : first.items())
      if (!other.contains(key) || other.at(key) != value) {
        what = key.substr(1);
        there = value.dump();
        here = other.contains(key) ? other.at(key).dump() : "nothing";
        break;
      }
    throw ConfigError(detail::message("rank ", rank, " has ", what, " = ", here, " but rank 0 has ", there,
                                      "; start all with the same program, settings and data"));
  }
}

}  // namespace rearm::REARM_ABI
