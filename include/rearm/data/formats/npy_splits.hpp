#pragma once
/// @file npy_splits.hpp
/// The authors' format: train.npy, valid.npy and test.npy.

#include <rearm/data/npy.hpp>
#include <rearm/data/splits.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>

namespace rearm::REARM_ABI::detail {

/// Integers (2, N), row 0 users, row 1 items; (N, 2) if N is not 2.
inline SourcedPairs read_pairs_npy(const std::filesystem::path& path) {
  const NpyArray<std::int64_t> array = read_npy<std::int64_t>(path);
  SourcedPairs out{{}, path, {}};
  if (array.values.empty()) return out;
  const bool flat = array.shape.size() != 2;
  if (flat || (array.shape[0] != 2 && array.shape[1] != 2))
    throw DataError(message(path.string(), ": shape is ", shape_string(array.shape),
                            " but must be (2, N): row 0 users, row 1 items"));
  const bool by_rows = array.shape[0] == 2;
  const Index n = by_rows ? array.shape[1] : array.shape[0];
  out.pairs.users.reserve(static_cast<std::size_t>(n));
  out.pairs.items.reserve(static_cast<std::size_t>(n));
  for (Index e = 0; e < n; ++e) {
    const auto user = static_cast<std::size_t>(by_rows ? e : 2 * e);
    const auto item = static_cast<std::size_t>(by_rows ? n + e : 2 * e + 1);
    if (array.values[user] < 0 || array.values[item] < 0 || array.values[user] >= std::numeric_limits<Id>::max() ||
        array.values[item] >= std::numeric_limits<Id>::max()) {
      checked_id(array.values[user], "user", out.place(e));
      checked_id(array.values[item], "item", out.place(e));
    }
    out.pairs.users.push_back(static_cast<Id>(array.values[user]));
    out.pairs.items.push_back(static_cast<Id>(array.values[item]));
  }
  return out;
}

namespace npy_splits {

inline bool found(const std::filesystem::path& dir) { return std::filesystem::exists(dir / "train.npy"); }

inline std::array<SourcedPairs, 3> read(const std::filesystem::path& dir) {
  std::array<SourcedPairs, 3> out;
  for (std::size_t s = 0; s < 3; ++s) out[s] = read_pairs_npy(dir / (std::string(split_names[s]) + ".npy"));
  return out;
}

}  // namespace npy_splits
}  // namespace rearm::REARM_ABI::detail
