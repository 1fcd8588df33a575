#pragma once
/// @file id_list.hpp
/// Lists of ids in text files.

#include <rearm/core/error.hpp>
#include <rearm/core/matrix_view.hpp>
#include <rearm/io/atomic_file.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace rearm::cli {

/// User ids separated by blanks, commas or lines. Throws IoError where there is no such file, DataError for other text.
inline std::vector<Id> read_users(const std::filesystem::path& path) {
  std::string text = rearm::detail::read_text(path);
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  constexpr std::string_view between = " ,\t\r\n";
  std::vector<Id> users;
  for (std::size_t begin = text.find_first_not_of(between); begin != std::string::npos;) {
    const std::size_t end = std::min(text.find_first_of(between, begin), text.size());
    Id user = 0;
    const auto [last, error] = std::from_chars(text.data() + begin, text.data() + end, user);
    if (error != std::errc() || last != text.data() + end)
      throw DataError(path.string() + ": '" + text.substr(begin, end - begin) + "' is not a user id");
    users.push_back(user);
    begin = text.find_first_not_of(between, end);
  }
  return users;
}

}  // namespace rearm::cli
