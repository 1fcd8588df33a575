#pragma once
/// @file interaction_log.hpp
/// Interactions as files of reviews or ratings give them: ids are texts.

#include <rearm/core/error.hpp>
#include <rearm/core/matrix_view.hpp>
#include <rearm/data/interactions.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace rearm::REARM_ABI {

/// Distinct names, numbered from 0 in the order in which they were added. Held as one text and a hash table of numbers:
/// a million names are read and found in a tenth of a second.
class IdNames {
 public:
  Index size() const noexcept { return static_cast<Index>(ends_.size()); }
  bool empty() const noexcept { return ends_.empty(); }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    out.reserve(static_cast<std::size_t>(size()));
    for (Id number = 0; number < size(); ++number) out.push_back((*this)[number]);
    return out;
  }
  std::string operator[](Id number) const { return std::string(view(number)); }
  /// Until the next name is added.
  std::string_view view(Id number) const {
    const auto at = static_cast<std::size_t>(number);
    const std::size_t begin = at == 0 ? 0 : ends_[at - 1] + 1;
    return std::string_view(text_).substr(begin, ends_[at] - begin);
  }
  /// Every name followed by a line break, in the order of the numbers.
  const std::string& text() const noexcept { return text_; }
  std::optional<Id> find(std::string_view name) const {
    if (slots_.empty()) return std::nullopt;
    const Id number = slots_[slot_of(name)];
    return number < 0 ? std::nullopt : std::optional<Id>(number);
  }
  /// The name's number; a new name is added. Throws DataError for more names than numbers.
  Id add(std::string_view name) {
    if (2 * ends_.size() >= slots_.size()) grow();
    Id& slot = slots_[slot_of(name)];
    if (slot >= 0) return slot;
    if (size() >= std::numeric_limits<Id>::max() - 1) throw DataError("there are too many ids: at most 2^31 - 2");
    text_.append(name).push_back('\n');
    ends_.push_back(text_.size() - 1);
    return slot = static_cast<Id>(size() - 1);
  }

 private:
  /// Where the name is, or would be: open addressing in a table that is at most half full.
  std::size_t slot_of(std::string_view name) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = std::hash<std::string_view>()(name) & mask;
    while (slots_[at] >= 0 && view(slots_[at]) != name) at = (at + 1) & mask;
    return at;
  }
  void grow() {
    slots_.assign(std::max<std::size_t>(16, 2 * slots_.size()), Id{-1});
    for (Id number = 0; number < size(); ++number) slots_[slot_of(view(number))] = number;
  }
  std::string text_;
  std::vector<std::size_t> ends_;  ///< of each name in the text, where its line break is
  std::vector<Id> slots_;          ///< a number or -1; a power of two of them
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
