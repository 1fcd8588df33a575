#pragma once
/// @file statistics.hpp
/// What a data set's table in a paper says, and how its pairs are spread over users and items.

#include <rearm/data/dataset.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace rearm::REARM_ABI {

/// How many train pairs users, or items, have.
struct Degrees {
  Index min = 0, max = 0;   ///< of those that have any
  double median = 0;        ///< of those that have any
  Index without_train = 0;  ///< ids without train pairs
  Index unused = 0;         ///< of these, ids without valid and test pairs, too
};

struct DatasetStatistics {
  Index interactions = 0;  ///< of all splits
  double sparsity = 0;     ///< 1 - interactions / (users x items)
  Degrees users, items;
};

namespace detail {

inline Degrees degrees(const Dataset& data, std::vector<Id> Interactions::*ids, Index n) {
  const auto sorted = [](std::vector<Id> all) {
    std::ranges::sort(all);
    return all;
  };
  const auto counts = [](const std::vector<Id>& all) {
    std::vector<Index> out;
    for (std::size_t at = 0; at < all.size(); ++at) {
      if (at == 0 || all[at] != all[at - 1]) out.push_back(0);
      ++out.back();
    }
    return out;
  };
  std::vector<Id> all = data.train.*ids;
  std::vector<Index> of_train = counts(sorted(all));
  for (const Interactions* more : {&data.valid, &data.test})
    all.insert(all.end(), (more->*ids).begin(), (more->*ids).end());
  Degrees out;
  out.without_train = n - static_cast<Index>(of_train.size());
  out.unused = n - static_cast<Index>(counts(sorted(std::move(all))).size());
  if (of_train.empty()) return out;
  std::ranges::sort(of_train);
  const std::size_t half = of_train.size() / 2;
  out.min = of_train.front();
  out.max = of_train.back();
  out.median = static_cast<double>(of_train[half] + of_train[of_train.size() % 2 == 0 ? half - 1 : half]) / 2;
  return out;
}

}  // namespace detail

/// O(pairs log pairs), however many ids there are.
inline DatasetStatistics dataset_statistics(const Dataset& data) {
  DatasetStatistics out;
  out.interactions = data.train.size() + data.valid.size() + data.test.size();
  out.sparsity = 1 - static_cast<double>(out.interactions) /
                         (static_cast<double>(data.n_users) * static_cast<double>(data.n_items));
  out.users = detail::degrees(data, &Interactions::users, data.n_users);
  out.items = detail::degrees(data, &Interactions::items, data.n_items);
  return out;
}

}  // namespace rearm::REARM_ABI
