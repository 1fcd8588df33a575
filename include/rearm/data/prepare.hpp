#pragma once
/// @file prepare.hpp
/// From interactions as they were collected to those that a model is trained on: chosen, numbered and split.

#include <rearm/core/random.hpp>
#include <rearm/data/interaction_log.hpp>
#include <rearm/data/splits.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

enum class SplitRule {
  keep,           ///< as the log says
  random,         ///< of each user 8:1:1, drawn at random
  leave_one_out,  ///< of each user the last is test, the one before valid
  time            ///< the first 80 % of all are train, the last 10 % test
};

struct PrepareSettings {
  Index k_core = 5;                       ///< users and items have at least so many interactions
  std::optional<double> min_rating = {};  ///< interactions rated lower are left out
  SplitRule split = SplitRule::random;
  std::uint64_t seed = 0;
};

/// What became of a log. Interactions are in the order of their times, and where these are equal or there are none, of
/// the log.
struct PreparedInteractions {
  std::vector<Id> users, items;      ///< of each number from 0, its number in the log, ascending
  Interactions pairs;                ///< new numbers
  std::vector<std::uint8_t> splits;  ///< of each pair: 0 train, 1 valid, 2 test
  std::vector<double> ratings, times;
  Index below_rating = 0, repeated = 0, outside_core = 0;  ///< interactions left out

  /// The pairs of one split, in order.
  Interactions split(std::uint8_t which) const {
    Interactions out;
    for (std::size_t e = 0; e < splits.size(); ++e)
      if (splits[e] == which) {
        out.users.push_back(pairs.users[e]);
        out.items.push_back(pairs.items[e]);
      }
    return out;
  }
};

namespace detail {

inline constexpr std::uint32_t random_split_stream = 0x53500001;

/// How many of a user's n interactions are valid and test: MMRec's counts, those of the published splits. A user of
/// fewer than three keeps one for training and gives the other, if there is one, to test.
inline std::pair<Index, Index> held_out(Index n) {
  if (n < 3) return {0, n / 2};
  if (n < 10) return {1, 1};
  return {n / 5 / 2, n / 5 - n / 5 / 2};
}

/// Leaves users and items that have fewer than k pairs out, again and again until none has; marks the pairs that stay.
inline std::vector<bool> core_pairs(const Interactions& pairs, Index n_users, Index n_items, Index k) {
  std::vector<bool> kept(pairs.users.size(), true);
  for (bool changed = true; changed;) {
    changed = false;
    std::vector<Index> of_user(static_cast<std::size_t>(n_users), 0), of_item(static_cast<std::size_t>(n_items), 0);
    for (std::size_t e = 0; e < kept.size(); ++e)
      if (kept[e]) {
        ++of_user[static_cast<std::size_t>(pairs.users[e])];
        ++of_item[static_cast<std::size_t>(pairs.items[e])];
      }
    for (std::size_t e = 0; e < kept.size(); ++e)
      if (kept[e] && (of_user[static_cast<std::size_t>(pairs.users[e])] < k ||
                      of_item[static_cast<std::size_t>(pairs.items[e])] < k)) {
        kept[e] = false;
        changed = true;
      }
  }
  return kept;
}

/// Replaces numbers by their places among those that occur, which are returned, ascending.
inline std::vector<Id> renumber(std::vector<Id>& ids) {
  std::vector<Id> used = ids;
  std::ranges::sort(used);
  used.erase(std::unique(used.begin(), used.end()), used.end());
  for (Id& id : ids) id = static_cast<Id>(std::ranges::lower_bound(used, id) - used.begin());
  return used;
}

/// The splits of pairs that are in the order of time.
inline std::vector<std::uint8_t> split_pairs(const Interactions& pairs, const std::vector<double>& times, Index n_users,
                                             const PrepareSettings& settings) {
  const std::size_t n = pairs.users.size();
  std::vector<std::uint8_t> out(n, 0);
  if (settings.split == SplitRule::time) {
    // All of one moment are on one side.
    const auto first_of = [&](std::size_t at) {
      return at < n ? static_cast<std::size_t>(std::ranges::lower_bound(times, times[at]) - times.begin()) : n;
    };
    std::fill(out.begin() + static_cast<std::ptrdiff_t>(first_of(n * 8 / 10)), out.end(), std::uint8_t{1});
    std::fill(out.begin() + static_cast<std::ptrdiff_t>(first_of(n * 9 / 10)), out.end(), std::uint8_t{2});
    return out;
  }
  std::vector<std::vector<std::size_t>> of_user(static_cast<std::size_t>(n_users));
  for (std::size_t e = 0; e < n; ++e) of_user[static_cast<std::size_t>(pairs.users[e])].push_back(e);
  const RandomKey key{settings.seed, random_split_stream};
  std::uint64_t drawn = 0;
  for (std::vector<std::size_t>& own : of_user) {
    auto [valid, test] = held_out(static_cast<Index>(own.size()));
    if (settings.split == SplitRule::leave_one_out) {
      valid = std::min<Index>(valid, 1);
      test = std::min<Index>(test, 1);
    } else {
      for (std::size_t left = own.size(); left > 1; --left)
        std::swap(own[left - 1], own[key.below(drawn++, static_cast<std::uint32_t>(left))]);
    }
    for (auto at = own.rbegin(); valid + test > 0; ++at) {
      out[*at] = test > 0 ? 2 : 1;
      --(test > 0 ? test : valid);
    }
  }
  return out;
}

}  // namespace detail

/// Leaves out interactions rated too low; of those of one user and item all but the first by time (where splits are
/// kept: by split, then time); and users and items outside of the k-core. Numbers what is left from 0 and splits it.
/// The same settings give the same splits everywhere. Throws ConfigError for settings that the log has no ratings,
/// times or splits for, DataError if nothing, or a split without pairs, is left. O(n log n) and a pass for each step of
/// the k-core.
inline PreparedInteractions prepare_interactions(const InteractionLog& log, const PrepareSettings& settings = {}) {
  if (settings.k_core < 1)
    throw ConfigError(detail::message("k_core = ", settings.k_core, ": must be at least 1, which keeps all"));
  if (settings.min_rating && !std::isfinite(*settings.min_rating))
    throw ConfigError("min_rating must be a finite number");
  if (settings.min_rating && log.ratings.empty())
    throw ConfigError("min_rating: the interactions have no ratings; leave it out, or name their column");
  if (settings.split == SplitRule::time && log.times.empty())
    throw ConfigError("split by time: the interactions have no times; name their column, or choose another split");
  const bool keep = settings.split == SplitRule::keep;
  if (keep && log.splits.empty()) throw ConfigError("the interactions are not split; choose a split");

  PreparedInteractions out;
  std::vector<std::size_t> order;
  for (std::size_t e = 0; e < log.pairs.users.size(); ++e)
    if (!settings.min_rating || log.ratings[e] >= *settings.min_rating) order.push_back(e);
  out.below_rating = log.size() - static_cast<Index>(order.size());
  if (!log.times.empty()) std::ranges::stable_sort(order, {}, [&](std::size_t e) { return log.times[e]; });

  const auto pairs_of = [&] {
    Interactions pairs;
    for (const std::size_t e : order) {
      pairs.users.push_back(log.pairs.users[e]);
      pairs.items.push_back(log.pairs.items[e]);
    }
    return pairs;
  };
  const auto keep_only = [&](const std::vector<bool>& kept) {
    std::size_t n = 0;
    for (std::size_t at = 0; at < kept.size(); ++at)
      if (kept[at]) order[n++] = order[at];
    order.resize(n);
    return static_cast<Index>(kept.size() - n);
  };

  std::vector<std::tuple<std::uint64_t, std::uint8_t, std::size_t>> sorted;
  const std::vector<std::uint64_t> keys = detail::pair_keys(pairs_of());
  for (std::size_t at = 0; at < keys.size(); ++at)
    sorted.emplace_back(keys[at], keep ? log.splits[order[at]] : std::uint8_t{0}, at);
  std::ranges::sort(sorted);
  std::vector<bool> first(keys.size(), true);
  for (std::size_t s = 1; s < sorted.size(); ++s)
    if (std::get<0>(sorted[s]) == std::get<0>(sorted[s - 1])) first[std::get<2>(sorted[s])] = false;
  out.repeated = keep_only(first);
  out.outside_core =
      keep_only(detail::core_pairs(pairs_of(), log.user_names.size(), log.item_names.size(), settings.k_core));
  if (order.empty())
    throw DataError(detail::message(
        "nothing is left of ", log.size(), " interactions of ", log.user_names.size(), " users and ",
        log.item_names.size(), " items: ", out.below_rating, " are rated too low, ", out.repeated, " are repeated, ",
        out.outside_core, " are outside of the ", settings.k_core, "-core; choose a smaller k_core or min_rating"));

  out.pairs = pairs_of();
  out.users = detail::renumber(out.pairs.users);
  out.items = detail::renumber(out.pairs.items);
  for (const std::size_t e : order) {
    if (!log.ratings.empty()) out.ratings.push_back(log.ratings[e]);
    if (!log.times.empty()) out.times.push_back(log.times[e]);
    if (keep) out.splits.push_back(log.splits[e]);
  }
  if (!keep) out.splits = detail::split_pairs(out.pairs, out.times, static_cast<Index>(out.users.size()), settings);
  for (std::uint8_t s = 0; s < 3; ++s)
    if (std::ranges::find(out.splits, s) == out.splits.end())
      throw DataError(detail::message("the ", detail::split_names[s], " split of ", order.size(),
                                      " interactions is empty; choose another split, or more interactions"));
  return out;
}

}  // namespace rearm::REARM_ABI
