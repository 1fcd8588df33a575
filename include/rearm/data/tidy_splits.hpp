#pragma once
/// @file tidy_splits.hpp
/// What is done to every data set, read or generated: repeated pairs are dropped, and oddities named.

#include <rearm/data/dataset.hpp>
#include <rearm/data/splits.hpp>
#include <rearm/data/statistics.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI::detail {

/// Drops repeated pairs and adds warnings about what was found. O(pairs log pairs).
inline void tidy_splits(Dataset& data) {
  const std::array<Interactions*, 3> splits = {&data.train, &data.valid, &data.test};
  for (std::size_t s = 0; s < 3; ++s)
    if (const Index dropped = drop_duplicates(*splits[s]); dropped > 0)
      data.warnings.push_back(message(split_names[s], ": ", dropped,
                                      " duplicate pairs dropped; `rearm prepare` writes the folder without them"));
  for (const auto& [a, b] : {std::pair<std::size_t, std::size_t>{0, 1}, {0, 2}, {1, 2}})
    if (const Index common = count_common(*splits[a], *splits[b]); common > 0)
      data.warnings.push_back(message(
          split_names[a], " and ", split_names[b], " share ", common, " pairs; ",
          a == 0 ? "what a user has in train is never recommended, so these count as misses: `rearm prepare` drops them"
                 : "the best epoch is chosen by what is then measured: `rearm prepare` drops them from test"));
  // An id without any pair still has a row in every table and product.
  const auto idle = [&](const Degrees& degrees, Index n, const char* what) {
    if (degrees.without_train == 0) return;
    std::string text = message(degrees.without_train, " of ", n, " ", what, " have no train pairs");
    if (const Index held_out = degrees.without_train - degrees.unused; held_out > 0)
      text += message("; ", held_out, " are in valid or test, for which a model of ids only guesses: ",
                      "`rearm prepare` with --split random or a larger --k-core leaves fewer of them");
    if (degrees.unused > 0)
      text += message("; ", degrees.unused, " ids are not used at all, which gives every table, graph and step ",
                      std::round(100 * static_cast<double>(n) / static_cast<double>(n - degrees.unused)) / 100,
                      " times the rows that they need: `rearm prepare` numbers ids without gaps");
    data.warnings.push_back(std::move(text));
  };
  idle(detail::degrees(data, &Interactions::users, data.n_users), data.n_users, "users");
  idle(detail::degrees(data, &Interactions::items, data.n_items), data.n_items, "items");
  std::vector<Id> warm = data.train.users, cold;
  std::ranges::sort(warm);
  for (const Id user : data.test.users)
    if (!std::ranges::binary_search(warm, user)) cold.push_back(user);
  if (const Index n = count_distinct(std::move(cold)); n > 0)
    data.warnings.push_back(message(n, " test users have no train pairs but count in the means of metrics; ",
                                    "count_cold_users = false leaves them out"));
}

}  // namespace rearm::REARM_ABI::detail
