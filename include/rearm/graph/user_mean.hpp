#pragma once
/// @file user_mean.hpp
/// The averaging and the sum of a user's items as sparse matrices.

#include <rearm/core/csr.hpp>
#include <rearm/data/interactions.hpp>

#include <algorithm>
#include <utility>

namespace rearm::REARM_ABI {

/// n_users x n_items, 1/|items of u| for each train item of u: times item features it gives the users' mean features
/// (paper 4.1). A user without items has an empty row, hence the zero feature.
template <class T>
SparseOperator<T> user_mean_operator(const Adjacency& items_of_user, Index n_items) {
  Csr<T> mean{items_of_user.rows(), n_items, Buffer<Index>(items_of_user.offsets), Buffer<Id>(items_of_user.ids),
              Buffer<T>(static_cast<Index>(items_of_user.ids.size()))};
  for (Index u = 0; u < mean.rows; ++u)
    for (Index e = mean.offsets[u]; e < mean.offsets[u + 1]; ++e)
      mean.values[e] = T{1} / static_cast<T>(items_of_user.degree(u));
  return SparseOperator<T>::general(std::move(mean));
}

/// The 0/1 matrix of the pairs, n_users x n_items: times item features it gives the sums over users' items.
template <class T>
SparseOperator<T> user_sum_operator(const Adjacency& items_of_user, Index n_items) {
  Csr<T> sum{items_of_user.rows(), n_items, Buffer<Index>(items_of_user.offsets), Buffer<Id>(items_of_user.ids),
             Buffer<T>(static_cast<Index>(items_of_user.ids.size()))};
  std::fill_n(sum.values.data(), sum.nonzeros(), T{1});
  return SparseOperator<T>::general(std::move(sum));
}

}  // namespace rearm::REARM_ABI
