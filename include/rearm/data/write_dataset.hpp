#pragma once
/// @file write_dataset.hpp
/// Writes the files of a data set's folder, and says which folders may be replaced.

#include <rearm/data/dataset.hpp>
#include <rearm/data/formats/formats.hpp>
#include <rearm/data/npy.hpp>
#include <rearm/data/prepare.hpp>
#include <rearm/io/atomic_file.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rearm::REARM_ABI {
namespace detail {

/// Whether a folder with a data set may hold a file of that name, so that it goes when the data set does.
inline bool is_dataset_file(std::string_view name) {
  constexpr std::string_view names[] = {"train.npy", "valid.npy",    "test.npy",         "users.tsv",
                                        "items.tsv", "dataset.json", "u_id_mapping.csv", "i_id_mapping.csv"};
  constexpr std::string_view endings[] = {"_feat.npy", "_idx.npy", "_cos.npy", ".inter"};
  return std::ranges::find(names, name) != std::end(names) ||
         std::ranges::any_of(endings, [&](std::string_view ending) { return name.ends_with(ending); });
}

/// The shortest text that reads as the same number; whole numbers without an exponent.
inline std::string number_text(double value) {
  char text[40];
  const bool whole = std::trunc(value) == value && std::abs(value) < 0x1p53;
  const auto end = whole ? std::to_chars(std::begin(text), std::end(text), static_cast<std::int64_t>(value)).ptr
                         : std::to_chars(std::begin(text), std::end(text), value).ptr;
  return {text, end};
}

}  // namespace detail

/// Throws ConfigError if `dir` holds files that may not be replaced: any without `overwrite`, with it those that are
/// not a data set's; IoError if it is no folder.
inline void require_replaceable(const std::filesystem::path& dir, bool overwrite) {
  if (!std::filesystem::exists(dir)) return;
  if (!std::filesystem::is_directory(dir))
    throw IoError(dir.string() + ": is a file, not a folder; choose another --out");
  std::vector<std::string> names = detail::names_in(dir);
  std::ranges::sort(names);
  if (!names.empty() && !overwrite)
    throw ConfigError(dir.string() + ": holds files already; choose another --out, or replace them with --overwrite");
  for (const std::string& name : names)
    if (!detail::is_dataset_file(name) || std::filesystem::is_directory(dir / name))
      throw ConfigError(dir.string() + ": holds " + name +
                        ", which is not part of a data set and would be lost; move it, or choose another --out");
}

/// Writes the pairs twice: as train.npy, valid.npy and test.npy, int64 (2, N), and as `<name>.inter` with userID,
/// itemID, rating and timestamp, if there are, and x_label. Throws IoError.
inline void write_interactions(const std::filesystem::path& dir, const std::string& name,
                               const PreparedInteractions& prepared) {
  for (std::uint8_t s = 0; s < 3; ++s) {
    const Interactions pairs = prepared.split(s);
    std::vector<std::int64_t> both(pairs.users.begin(), pairs.users.end());
    both.insert(both.end(), pairs.items.begin(), pairs.items.end());
    write_npy(dir / (std::string(detail::split_names[s]) + ".npy"), both, {2, pairs.size()});
  }
  const bool rated = !prepared.ratings.empty(), timed = !prepared.times.empty();
  write_file_atomically(dir / (name + ".inter"), [&](std::ostream& out) {
    out << "userID\titemID" << (rated ? "\trating" : "") << (timed ? "\ttimestamp" : "") << "\tx_label\n";
    for (std::size_t e = 0; e < prepared.splits.size(); ++e) {
      out << prepared.pairs.users[e] << '\t' << prepared.pairs.items[e] << '\t';
      if (rated) out << detail::number_text(prepared.ratings[e]) << '\t';
      if (timed) out << detail::number_text(prepared.times[e]) << '\t';
      out << static_cast<int>(prepared.splits[e]) << '\n';
    }
  });
}

/// Neighbors of the rows `kept`, ascending, by their new numbers; nothing if one of them is not kept.
inline std::optional<KnnTable> keep_neighbors(const KnnTable& table, const std::vector<Id>& kept) {
  const Index k = table.indices.cols();
  KnnTable out{Matrix<Id>(static_cast<Index>(kept.size()), k), Matrix<float>(static_cast<Index>(kept.size()), k)};
  for (Index i = 0; i < out.indices.rows(); ++i)
    for (Index j = 0; j < k; ++j) {
      const Index old = kept[static_cast<std::size_t>(i)];
      const auto at = std::ranges::lower_bound(kept, table.indices(old, j));
      if (at == kept.end() || *at != table.indices(old, j)) return std::nullopt;
      out.indices(i, j) = static_cast<Id>(at - kept.begin());
      out.cosines(i, j) = table.cosines(old, j);
    }
  return out;
}

/// Writes `<modality>_knn<k>_idx.npy` and _cos.npy. Throws IoError.
inline void write_neighbors(const std::filesystem::path& dir, const std::string& modality, const KnnTable& table) {
  const Index n = table.indices.rows(), k = table.indices.cols();
  const std::string base = (dir / detail::message(modality, "_knn", k)).string();
  write_npy(base + "_idx.npy", std::span<const Id>(table.indices.data(), static_cast<std::size_t>(n * k)), {n, k});
  write_npy(base + "_cos.npy", std::span<const float>(table.cosines.data(), static_cast<std::size_t>(n * k)), {n, k});
}

}  // namespace rearm::REARM_ABI
