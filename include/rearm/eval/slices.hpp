#pragma once
/// @file slices.hpp
/// Parts of the users and items by how often they are in train, and what lists recommend beside what users want:
/// coverage, Gini index, novelty.

#include <rearm/core/error.hpp>
#include <rearm/core/matrix_view.hpp>
#include <rearm/data/interactions.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// How many users each item has in `train` (distinct pairs). Throws DataError for an item outside [0, n_items).
inline std::vector<Index> train_counts(const Adjacency& train, Index n_items) {
  std::vector<Index> out(static_cast<std::size_t>(n_items), 0);
  for (const Id item : train.ids) {
    if (item < 0 || item >= n_items)
      throw DataError(detail::message("train counts: item ", item, " is outside [0, ", n_items, ")"));
    ++out[static_cast<std::size_t>(item)];
  }
  return out;
}

/// Users or items that belong together.
struct Slice {
  std::string name;
  std::vector<Id> ids;  ///< ascending
};

namespace detail {

/// Those with a count above 0, fewest first, equal ones by id.
inline std::vector<Id> by_count(std::span<const Index> counts) {
  std::vector<Id> out;
  for (std::size_t i = 0; i < counts.size(); ++i)
    if (counts[i] > 0) out.push_back(static_cast<Id>(i));
  std::ranges::stable_sort(
      out, [&](Id a, Id b) { return counts[static_cast<std::size_t>(a)] < counts[static_cast<std::size_t>(b)]; });
  return out;
}
inline Slice slice_of(std::string name, std::span<const Id> ids) {
  Slice out{std::move(name), {ids.begin(), ids.end()}};
  std::ranges::sort(out.ids);
  return out;
}
inline Slice cold_slice(std::span<const Index> counts) {
  Slice out{"cold", {}};
  for (std::size_t i = 0; i < counts.size(); ++i)
    if (counts[i] == 0) out.ids.push_back(static_cast<Id>(i));
  return out;
}

}  // namespace detail

/// Items by popularity, `counts` as by train_counts: `cold`, without train pairs; of the others `tail`, the less
/// popular four fifths, and `head`, the rest; and `popularity-1` to `popularity-5`, least popular first, each with
/// about a fifth of the train pairs. Equal counts are split by id. A slice may be empty.
inline std::vector<Slice> item_slices(std::span<const Index> counts) {
  const std::vector<Id> order = detail::by_count(counts);
  const std::span<const Id> warm(order);
  const std::size_t n_tail = order.size() * 4 / 5;
  std::vector<Slice> out = {detail::cold_slice(counts), detail::slice_of("tail", warm.first(n_tail)),
                            detail::slice_of("head", warm.subspan(n_tail))};
  const Index all = std::accumulate(counts.begin(), counts.end(), Index{0});
  Index sum = 0;
  std::size_t begin = 0;
  for (Index part = 1; part <= 5; ++part) {
    std::size_t end = begin;
    while (end < order.size() && 5 * sum < part * all) sum += counts[static_cast<std::size_t>(order[end++])];
    out.push_back(detail::slice_of(detail::message("popularity-", part), warm.subspan(begin, end - begin)));
    begin = end;
  }
  return out;
}

/// Users by train pairs: `cold`, without any; and of the others `activity-1` to `activity-4`, quarters of the users,
/// those with the fewest pairs first. Equal counts are split by id. A slice may be empty.
inline std::vector<Slice> user_slices(const Adjacency& train) {
  std::vector<Index> counts;
  for (Index u = 0; u < train.rows(); ++u) counts.push_back(train.degree(u));
  const std::vector<Id> order = detail::by_count(counts);
  std::vector<Slice> out = {detail::cold_slice(counts)};
  for (std::size_t part = 0; part < 4; ++part) {
    const std::size_t begin = order.size() * part / 4, end = order.size() * (part + 1) / 4;
    out.push_back(detail::slice_of(detail::message("activity-", part + 1),
                                   std::span<const Id>(order).subspan(begin, end - begin)));
  }
  return out;
}

/// Each user's items that are in `items` (ascending).
inline Adjacency keep_items(const Adjacency& lists, std::span<const Id> items) {
  Adjacency out;
  for (Index u = 0; u < lists.rows(); ++u) {
    std::ranges::set_intersection(lists.row(u), items, std::back_inserter(out.ids));
    out.offsets.push_back(static_cast<Index>(out.ids.size()));
  }
  return out;
}
/// The lists of `users` (ascending); the others' are empty.
inline Adjacency keep_users(const Adjacency& lists, std::span<const Id> users) {
  Adjacency out;
  for (Index u = 0; u < lists.rows(); ++u) {
    if (std::ranges::binary_search(users, static_cast<Id>(u)))
      out.ids.insert(out.ids.end(), lists.row(u).begin(), lists.row(u).end());
    out.offsets.push_back(static_cast<Index>(out.ids.size()));
  }
  return out;
}

/// What lists are like, whatever users want.
struct ListStatistics {
  double coverage = 0;    ///< share of all items that are in a list
  double gini = 0;        ///< of how often each item is in a list: 0, all equally; near 1, a few items alone
  double novelty = 0;     ///< mean over entries of log2(n_users / train users of the item), at least one; in bits
  double popularity = 0;  ///< mean over entries of the item's train users
};

/// Of the first k ranks of each list (-1 past its end). `counts` are train_counts, of n_users users. Gini index:
///   sum over items in order of times t_1 <= ... <= t_n of (2 i - n - 1) t_i / (n sum t).
/// Throws ConfigError unless k >= 1, DataError for an item that has no count or lists without an item.
inline ListStatistics list_statistics(ConstView<Id> ranked, Index k, std::span<const Index> counts, Index n_users) {
  if (k < 1) throw ConfigError(detail::message("list statistics: K = ", k, ": must be at least 1"));
  std::vector<Index> times(counts.size(), 0);
  ListStatistics out;
  Index n = 0;
  for (Index i = 0; i < ranked.rows; ++i)
    for (Index r = 0; r < std::min(k, ranked.cols) && ranked(i, r) >= 0; ++r) {
      const auto item = static_cast<std::size_t>(ranked(i, r));
      if (item >= counts.size())
        throw DataError(detail::message("list statistics: item ", item, " but there are ", counts.size()));
      ++n;
      ++times[item];
      out.novelty += std::log2(static_cast<double>(n_users) / static_cast<double>(std::max<Index>(1, counts[item])));
      out.popularity += static_cast<double>(counts[item]);
    }
  if (n == 0) throw DataError("list statistics: the lists are empty");
  out.novelty /= static_cast<double>(n);
  out.popularity /= static_cast<double>(n);
  const double n_items = static_cast<double>(times.size());
  out.coverage = static_cast<double>(std::ranges::count_if(times, [](Index t) { return t > 0; })) / n_items;
  std::ranges::sort(times);
  for (std::size_t i = 0; i < times.size(); ++i)
    out.gini += (2 * static_cast<double>(i + 1) - n_items - 1) * static_cast<double>(times[i]);
  out.gini /= n_items * static_cast<double>(n);
  return out;
}

}  // namespace rearm::REARM_ABI
