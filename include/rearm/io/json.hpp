#pragma once
/// @file json.hpp
/// JSON from files.

#include <rearm/core/error.hpp>

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace rearm::REARM_ABI {

/// How deeply arrays and objects in a file may be nested. Copying, comparing and printing JSON recurse that deep.
inline constexpr int max_json_depth = 64;

/// Parses a text that must be a JSON object. Throws DataError, whose message begins with `what`, for any other text and
/// for one nested deeper than `max_json_depth`.
inline nlohmann::json parse_json_object(std::string_view text, const std::string& what) {
  using Event = nlohmann::json::parse_event_t;
  const auto shallow = [&](int around, Event event, const nlohmann::json&) {
    const bool opens = event == Event::object_start || event == Event::array_start;
    if (around + (opens ? 1 : 0) > max_json_depth)
      throw DataError(detail::message(what, " nests more than ", max_json_depth, " arrays and objects"));
    return true;
  };
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(text, shallow);
  } catch (const nlohmann::json::exception& e) {
    throw DataError(detail::message(what, " is not a JSON object: ", e.what()));
  }
  if (!json.is_object()) throw DataError(what + " is not a JSON object");
  return json;
}

}  // namespace rearm::REARM_ABI
