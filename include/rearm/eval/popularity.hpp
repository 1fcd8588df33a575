#pragma once
/// @file popularity.hpp
/// The baseline that recommends the most popular items to everyone.

#include <rearm/core/matrix.hpp>
#include <rearm/data/interactions.hpp>

namespace rearm::REARM_ABI {

/// Representations of width 1, for `recommend` and `evaluate`: 1 for every user, the number of its train users for an
/// item.
template <class T>
struct Popularity {
  Matrix<T> user_rows;  ///< n_users x 1
  Matrix<T> item_rows;  ///< n_items x 1
};

/// Counts the items of `train` (each user's distinct items). Throws DataError for an item outside [0, n_items).
template <class T>
Popularity<T> popularity(const Adjacency& train, Index n_items) {
  for (const Id item : train.ids)
    if (item < 0 || item >= n_items)
      throw DataError(detail::message("popularity: item ", item, " is outside [0, ", n_items, ")"));
  Popularity<T> out{Matrix<T>(train.rows(), 1), Matrix<T>(n_items, 1)};
  for (Index u = 0; u < train.rows(); ++u) out.user_rows(u, 0) = T{1};
  for (const Id item : train.ids) out.item_rows(item, 0) += T{1};
  return out;
}

}  // namespace rearm::REARM_ABI
