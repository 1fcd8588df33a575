#pragma once
/// @file tensorboard.hpp
/// Event files, as TensorBoard reads them.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace rearm::cli {

/// CRC-32C (Castagnoli) of a text.
std::uint32_t crc32c(std::string_view bytes);

/// A number at a step.
struct Scalar {
  std::string tag;
  std::int64_t step = 0;
  double seconds = 0;  ///< since 1970
  double value = 0;
};

/// Writes the scalars as one event file, whole or not at all: records of length, masked CRC-32C of it, an Event
/// message, masked CRC-32C of that. Throws IoError.
void write_events(const std::filesystem::path& path, const std::vector<Scalar>& scalars);

}  // namespace rearm::cli
