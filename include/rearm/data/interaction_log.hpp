#pragma once
/// @file interaction_log.hpp
/// Interactions as files of reviews or ratings give them: ids are texts.

#include <rearm/core/error.hpp>
#include <rearm/core/matrix_view.hpp>
#include <rearm/data/interactions.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <vector>

namespace rearm::REARM_ABI {

/// Distinct names, numbered from 0 in the order in which they were added.
class IdNames {
 public:
  Index size() const noexcept { return static_cast<Index>(names_.size()); }
  const std::vector<std::string>& names() const noexcept { return names_; }
  const std::string& operator[](Id number) const { return names_[static_cast<std::size_t>(number)]; }
  std::optional<Id> find(std::string_view name) const {
    const auto at = numbers_.find(name);
    return at == numbers_.end() ? std::nullopt : std::optional<Id>(at->second);
  }
  /// The name's number; a new name is added. Throws DataError for more names than numbers.
  Id add(std::string_view name) {
    if (const auto known = find(name)) return *known;
    if (size() >= std::numeric_limits<Id>::max() - 1) throw DataError("there are too many ids: at most 2^31 - 2");
    numbers_.emplace(name, static_cast<Id>(size()));
    names_.emplace_back(name);
    return static_cast<Id>(size() - 1);
  }

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  std::unordered_map<std::string, Id, Hash, std::equal_to<>> numbers_;
  std::vector<std::string> names_;
};

/// A list of interactions in the order of a file.
struct InteractionLog {
  IdNames user_names, item_names;
  Interactions pairs;                ///< numbers of these names
  std::vector<double> ratings;       ///< of each pair; empty: there are none
  std::vector<double> times;         ///< of each pair, in any unit; empty: there are none
  std::vector<std::uint8_t> splits;  ///< of each pair: 0 train, 1 valid, 2 test; empty: it is not split
  Index size() const noexcept { return pairs.size(); }
};

/// Which columns of a file hold what; without a name, well-known ones are looked for.
struct ColumnNames {
  std::string user, item, rating, time;
};

namespace detail {

/// One interaction as it was read.
struct LogRecord {
  std::string_view user, item;
  std::optional<double> rating, time, split;
};

/// Ids are written into lines of text.
template <class Place>
void require_id_name(std::string_view name, const char* what, const Place& place) {
  if (name.empty()) throw DataError(message(place(), ": the ", what, " id is empty"));
  if (name.find_first_of(std::string_view("\t\r\n\0", 4)) != std::string_view::npos)
    throw DataError(message(place(), ": the ", what, " id holds a tab, a line break or a zero, which id files cannot"));
}

/// Appends a record; place() says where it was read. Throws DataError for ids that are no names, a split that is not 0,
/// 1 or 2, and a value that the records before it have and this one has not, or the reverse.
template <class Place>
void add_record(InteractionLog& log, const LogRecord& record, const Place& place) {
  require_id_name(record.user, "user", place);
  require_id_name(record.item, "item", place);
  const auto append = [&](auto& values, const std::optional<double>& value, const char* what) {
    using Value = typename std::remove_reference_t<decltype(values)>::value_type;
    if (value.has_value() == values.empty() && log.size() > 0)
      throw DataError(message(place(), value ? ": has a " : ": has no ", what, ", unlike the lines before it"));
    if (value) values.push_back(static_cast<Value>(*value));
  };
  append(log.ratings, record.rating, "rating");
  append(log.times, record.time, "time");
  if (record.split && *record.split != 0 && *record.split != 1 && *record.split != 2)
    throw DataError(message(place(), ": x_label is ", *record.split, " but must be 0 (train), 1 (valid) or 2 (test)"));
  append(log.splits, record.split, "x_label");
  log.pairs.users.push_back(log.user_names.add(record.user));
  log.pairs.items.push_back(log.item_names.add(record.item));
}

}  // namespace detail
}  // namespace rearm::REARM_ABI
