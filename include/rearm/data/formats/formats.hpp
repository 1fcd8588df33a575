#pragma once
/// @file formats.hpp
/// The formats that a data set's pairs may have. A new one takes a file here and a row.

#include <rearm/data/formats/inter.hpp>
#include <rearm/data/formats/npy_splits.hpp>

#include <array>
#include <cstddef>
#include <filesystem>
#include <string>

namespace rearm::REARM_ABI::detail {

struct SplitFormat {
  const char* files;  ///< the files it consists of, for messages
  bool (*found)(const std::filesystem::path& dir);
  std::array<SourcedPairs, 3> (*read)(const std::filesystem::path& dir);
};

/// The first one found in a folder is read.
inline constexpr SplitFormat split_formats[] = {
    {"train.npy, valid.npy and test.npy", npy_splits::found, npy_splits::read},
    {"<name>.inter", inter::found, inter::read}};

/// Throws IoError if none is found, DataError for an empty split, and what the format's reader throws.
inline std::array<SourcedPairs, 3> read_splits(const std::filesystem::path& dir) {
  std::string expected;
  for (const SplitFormat& format : split_formats) {
    expected += (expected.empty() ? "" : ", or ") + std::string(format.files);
    if (!format.found(dir)) continue;
    std::array<SourcedPairs, 3> out = format.read(dir);
    for (std::size_t s = 0; s < 3; ++s)
      if (out[s].pairs.size() == 0)
        throw DataError(message(out[s].path.string(), ": the ", split_names[s],
                                " split is empty; train, valid and test each need at least one pair"));
    return out;
  }
  throw IoError(message(dir.string(), ": has no user-item pairs; expected ", expected));
}

}  // namespace rearm::REARM_ABI::detail
