#pragma once
/// @file item_features.hpp
/// Features of items from files that know items by name, and what stands in for those that are missing.

#include <rearm/data/features.hpp>
#include <rearm/data/interaction_log.hpp>
#include <rearm/data/npy.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// Rows of features, found by the items' names.
struct NamedFeatures {
  std::string from;  ///< for messages
  Index width = 0;
  /// Copies the row of that item of `items` (below) to out[0, width); false if it has none.
  std::function<bool(Id item, float* out)> copy;
};

namespace detail {

/// For each of `items`, its row in a list of names; -1: none. Throws DataError for a name that is there twice.
inline std::vector<Index> rows_of_names(const std::filesystem::path& path, const IdNames& items, Index n_rows) {
  std::ifstream in(path);
  if (!in) throw_io(path, "cannot be opened for reading", errno);
  std::vector<Index> rows(static_cast<std::size_t>(items.size()), -1);
  Index n = 0;
  for (std::string line; std::getline(in, line); ++n) {
    if (n == 0) {
      require_no_pointer(line, path);
      if (line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);
    }
    if (line.ends_with('\r')) line.pop_back();
    const auto item = items.find(line);
    if (!item) continue;
    Index& row = rows[static_cast<std::size_t>(*item)];
    if (row >= 0) throw DataError(message(path.string(), ": line ", n + 1, ": '", line, "' is also line ", row + 1));
    row = n;
  }
  if (in.bad()) throw_io(path, "reading failed", errno);
  if (n != n_rows)
    throw DataError(message(path.string(), ": has ", n, " lines for ", n_rows,
                            " rows of features; write one item id a line, in the order of the rows, and no header"));
  return rows;
}

}  // namespace detail

/// An array (rows, width) and a text file with the item id of each row, one a line. Throws what FeatureMatrix::open and
/// check_finite throw, DataError for lists of another length or with an id twice.
inline NamedFeatures open_listed_features(const std::filesystem::path& array, const std::filesystem::path& ids,
                                          const IdNames& items) {
  const auto matrix = std::make_shared<FeatureMatrix>(FeatureMatrix::open(array));
  return {array.string(), matrix->cols(),
          [matrix, rows = detail::rows_of_names(ids, items, matrix->rows())](Id item, float* out) {
            const Index row = rows[static_cast<std::size_t>(item)];
            if (row >= 0) matrix->copy_rows(row, MatrixView<float>(out, 1, matrix->cols()));
            return row >= 0;
          }};
}

/// A folder with an array `<item id>.npy` of each item, all of one size. Throws DataError if it has none. `items` must
/// outlive the result.
inline NamedFeatures open_feature_folder(const std::filesystem::path& dir, const IdNames& items) {
  const auto file = [dir](const std::string& item) { return dir / (item + ".npy"); };
  const auto exists = [file](const std::string& item) {
    return item.find('/') == std::string::npos && std::filesystem::is_regular_file(file(item));
  };
  Id first = 0;
  while (first < items.size() && !exists(items[first])) ++first;
  if (first == items.size())
    throw DataError(detail::message(dir.string(), ": has no <item id>.npy of any item, for instance ",
                                    items.size() > 0 ? items[0] : "", ".npy"));
  const auto width = static_cast<Index>(read_npy<float>(file(items[first])).values.size());
  return {dir.string(), width, [=, &items](Id item, float* out) {
            if (!exists(items[item])) return false;
            const NpyArray<float> row = read_npy<float>(file(items[item]));
            if (static_cast<Index>(row.values.size()) != width)
              throw DataError(detail::message(file(items[item]).string(), ": has ", row.values.size(), " values but ",
                                              file(items[first]).string(), " has ", width));
            std::ranges::copy(row.values, out);
            return true;
          }};
}

/// Amazon's image features: for each product ten bytes, its id, and 4,096 float32. Throws IoError for a file that is no
/// whole number of these. One read a product, and the rows only when they are copied.
inline NamedFeatures open_amazon_images(const std::filesystem::path& path, const IdNames& items) {
  constexpr Index id_bytes = 10, width = 4096, record = id_bytes + width * static_cast<Index>(sizeof(float));
  const Index bytes = detail::npy_file_bytes(path);
  const auto file = std::make_shared<detail::SteadyFile>(path);
  std::array<char, id_bytes> id{};
  if (bytes >= id_bytes) {
    file->read(0, id.data(), id_bytes);
    if (std::string_view(id.data(), id_bytes) == "version ht") {
      std::ifstream in(path);
      std::string line;
      std::getline(in, line);
      detail::require_no_pointer(line, path);
    }
  }
  if (bytes == 0 || bytes % record != 0)
    throw IoError(detail::message(path.string(), ": ", bytes, " bytes are no whole number of records of ", record,
                                  " bytes (an id of 10 and 4096 float32); it is truncated, or another format"));
  std::vector<Index> offsets(static_cast<std::size_t>(items.size()), -1);
  for (Index at = 0; at < bytes; at += record) {
    file->read(at, id.data(), id_bytes);
    if (const auto item = items.find(std::string_view(id.data(), id_bytes)))
      offsets[static_cast<std::size_t>(*item)] = at + id_bytes;
  }
  return {path.string(), width, [file, offsets = std::move(offsets)](Id item, float* out) {
            const Index offset = offsets[static_cast<std::size_t>(item)];
            if (offset >= 0)
              file->read(offset, reinterpret_cast<char*>(out), width * static_cast<Index>(sizeof(float)));
            return offset >= 0;
          }};
}

/// What items without features get.
enum class Fill { mean, zero };

struct FilledFeatures {
  Matrix<float> values;  ///< a row for each item asked for
  Index filled = 0;      ///< how many of them had none
};

/// The rows of `items` in that order; those that are missing get the mean of those that are there, or zeros. Throws
/// DataError if all are missing, or for a NaN or an infinity, naming item and column.
inline FilledFeatures gather_features(const NamedFeatures& features, const std::vector<Id>& items, const IdNames& names,
                                      Fill fill = Fill::mean) {
  FilledFeatures out{Matrix<float>(static_cast<Index>(items.size()), features.width), 0};
  std::vector<double> mean(static_cast<std::size_t>(features.width), 0.0);
  std::vector<Index> missing;
  for (Index i = 0; i < out.values.rows(); ++i) {
    float* const row = out.values.row(i);
    const Id item = items[static_cast<std::size_t>(i)];
    if (!features.copy(item, row)) {
      missing.push_back(i);
      continue;
    }
    for (Index j = 0; j < features.width; ++j) {
      if (!std::isfinite(row[j]))
        throw DataError(detail::message(features.from, ": the features of item '", names[item], "' hold ", row[j],
                                        " in column ", j, "; replace it, for instance with numpy.nan_to_num"));
      mean[static_cast<std::size_t>(j)] += static_cast<double>(row[j]);
    }
  }
  out.filled = static_cast<Index>(missing.size());
  if (out.filled == out.values.rows())
    throw DataError(detail::message(features.from, ": has features of none of the ", items.size(),
                                    " items, for instance of '", names[items.front()],
                                    "'; are its ids of another kind?"));
  const auto present = static_cast<double>(out.values.rows() - out.filled);
  for (const Index i : missing)
    for (Index j = 0; j < features.width; ++j)
      out.values(i, j) = fill == Fill::zero ? 0.0F : static_cast<float>(mean[static_cast<std::size_t>(j)] / present);
  return out;
}

}  // namespace rearm::REARM_ABI
