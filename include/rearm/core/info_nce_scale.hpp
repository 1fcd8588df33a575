#pragma once
/// @file info_nce_scale.hpp
/// What the rows of an InfoNCE loss are divided by and weighted with.

#include <rearm/core/error.hpp>
#include <rearm/core/matrix_view.hpp>

namespace rearm::REARM_ABI {

/// Each row's loss is weighted with `weight`, or with weight / n where the loss is a mean. n is the number of rows, or
/// what `count` points to in the backend's memory: rows from there on are padding and take no part.
template <class T>
struct InfoNceScale {
  T inverse_temperature;
  T weight;
  bool mean = false;
  const Index* count = nullptr;
  const Id* own = nullptr;  ///< what is row r's own among the others, where it is not row r

  REARM_HD Index n(Index rows) const { return count != nullptr ? *count : rows; }
  REARM_HD Index own_of(Index row) const { return own != nullptr ? own[row] : row; }
  REARM_HD T row_weight(Index rows) const { return mean ? weight / static_cast<T>(n(rows)) : weight; }
};

/// Throws ConfigError unless temperature > 0.
template <class T>
InfoNceScale<T> info_nce_scale(T temperature, T weight, bool mean = false, const Index* count = nullptr) {
  if (!(temperature > T{0}))
    throw ConfigError(detail::message("info_nce: temperature = ", temperature, " must be above 0"));
  return {T{1} / temperature, weight, mean, count};
}

}  // namespace rearm::REARM_ABI
