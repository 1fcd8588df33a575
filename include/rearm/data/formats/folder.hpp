#pragma once
/// @file folder.hpp
/// Interactions of a folder that holds a data set: ours, MMRec's, or RecBole's atomic files.

#include <rearm/data/formats/delimited.hpp>
#include <rearm/data/formats/id_files.hpp>
#include <rearm/data/load_dataset.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// A folder's interactions. If its ids are numbers, `data` is what load_dataset read, and `users` and `items` are the
/// numbers that the log's names had there, ascending.
struct FolderLog {
  InteractionLog log;
  std::optional<Dataset> data;
  std::vector<Id> users, items;
};

namespace detail {

/// The numbers that names are; 0 for other names.
inline std::vector<Id> numbers_of(const IdNames& names) {
  std::vector<Id> out;
  for (const std::string& text : names.names()) {
    Id id = 0;
    std::from_chars(text.data(), text.data() + text.size(), id);
    out.push_back(id);
  }
  return out;
}

/// Whether the log, whose names are numbers, has the pairs of the data set's splits and no others.
inline bool has_pairs_of(const InteractionLog& log, const Dataset& data) {
  if (log.splits.empty()) return false;
  const std::vector<Id> users = numbers_of(log.user_names), items = numbers_of(log.item_names);
  const std::array<const Interactions*, 3> splits = {&data.train, &data.valid, &data.test};
  for (std::size_t s = 0; s < 3; ++s) {
    Interactions ours;
    for (std::size_t e = 0; e < log.splits.size(); ++e)
      if (log.splits[e] == s) {
        ours.users.push_back(users[static_cast<std::size_t>(log.pairs.users[e])]);
        ours.items.push_back(items[static_cast<std::size_t>(log.pairs.items[e])]);
      }
    drop_duplicates(ours);
    if (ours.size() != splits[s]->size() || count_common(ours, *splits[s]) != ours.size()) return false;
  }
  return true;
}

/// Replaces the log's names, which are numbers, by those of the folder, in the order of the numbers; returns these.
/// Without a file of names numbers stay names.
inline std::vector<Id> name_numbers(const std::filesystem::path& dir, bool users, IdNames& names,
                                    std::vector<Id>& ids) {
  const std::vector<Id> old = numbers_of(names);
  for (Id& id : ids) id = old[static_cast<std::size_t>(id)];
  std::vector<Id> numbers = old;
  std::ranges::sort(numbers);
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());  // 7 may be 07 elsewhere
  const auto known = names_of_folder(dir, users);
  names = {};
  for (const Id number : numbers) {
    if (known && !known->contains(number))
      throw DataError(message(dir.string(), ": its file of ", users ? "user" : "item", " names has no name for ",
                              number, "; complete it, or remove it"));
    names.add(known ? known->at(number) : std::to_string(number));
  }
  for (Id& id : ids) id = static_cast<Id>(std::ranges::lower_bound(numbers, id) - numbers.begin());
  return numbers;
}

inline InteractionLog read_delimited_file(const std::filesystem::path& path, const DelimitedOptions& options) {
  std::ifstream in(path);
  if (!in) throw_io(path, "cannot be opened for reading", errno);
  return read_delimited(in, path, options);
}

}  // namespace detail

/// Reads a folder with train.npy, valid.npy and test.npy (ratings and times come from a `<name>.inter` beside them, if
/// it has the same pairs), or one `<name>.inter` with x_label (MMRec): ids are numbers, as features are by rows, and
/// are named by users.tsv and items.tsv or MMRec's maps; or a `<name>.inter` without x_label, or `<name>.train.inter`,
/// `<name>.valid.inter` and `<name>.test.inter` (RecBole): ids are names. Throws what load_dataset and read_delimited
/// throw; DataError for a number that a file of names leaves out.
inline FolderLog read_folder(const std::filesystem::path& dir, const ColumnNames& columns = {}) {
  return detail::with_io_errors([&] {
    FolderLog out;
    InteractionLog& log = out.log;
    const DelimitedOptions tabs{columns, "\t", {}};
    const std::vector<std::string> inter = detail::stems(dir, ".inter");
    const bool arrays = std::filesystem::exists(dir / "train.npy");
    if (!arrays && inter.size() == 3 && inter[0].ends_with(".test") && inter[1].ends_with(".train") &&
        inter[2].ends_with(".valid")) {
      for (const std::size_t part : {1U, 2U, 0U}) {
        const std::filesystem::path path = dir / (inter[part] + ".inter");
        const InteractionLog more = detail::read_delimited_file(path, tabs);
        const auto value = [](const std::vector<double>& values, std::size_t e) {
          return values.empty() ? std::nullopt : std::optional<double>(values[e]);
        };
        for (std::size_t e = 0; e < more.pairs.users.size(); ++e)
          detail::add_record(log,
                             {more.user_names[more.pairs.users[e]], more.item_names[more.pairs.items[e]],
                              value(more.ratings, e), value(more.times, e),
                              part == 0   ? 2.0
                              : part == 1 ? 0.0
                                          : 1.0},
                             [&] { return path.string(); });
      }
      return out;
    }
    if (!arrays && inter.size() == 1) {
      log = detail::read_delimited_file(dir / (inter[0] + ".inter"), tabs);
      if (log.splits.empty()) return out;
    }
    out.data = load_dataset(dir);
    if (arrays && inter.size() == 1) {  // ours has both, and ratings and times in the text
      try {
        log = detail::read_delimited_file(dir / (inter[0] + ".inter"), tabs);
      } catch (const Error&) {  // the arrays are what counts
        log = {};
      }
      if (!detail::has_pairs_of(log, *out.data)) log = {};
    }
    if (log.size() == 0) {
      const std::array<const Interactions*, 3> splits = {&out.data->train, &out.data->valid, &out.data->test};
      for (std::size_t s = 0; s < 3; ++s)
        for (std::size_t e = 0; e < splits[s]->users.size(); ++e)
          detail::add_record(log,
                             {std::to_string(splits[s]->users[e]), std::to_string(splits[s]->items[e]), std::nullopt,
                              std::nullopt, static_cast<double>(s)},
                             [&] { return dir.string(); });
    }
    out.users = detail::name_numbers(dir, true, log.user_names, log.pairs.users);
    out.items = detail::name_numbers(dir, false, log.item_names, log.pairs.items);
    return out;
  });
}

}  // namespace rearm::REARM_ABI
