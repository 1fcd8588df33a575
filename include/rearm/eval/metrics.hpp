#pragma once
/// @file metrics.hpp
/// Ranking metrics at K of one user's list, and their mean over users.

#include <rearm/core/error.hpp>
#include <rearm/core/matrix_view.hpp>
#include <rearm/data/interactions.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rearm {

/// With T the user's relevant items, hit_r whether rank r (from 1) is in T, and m = min(|T|, K):
/// - recall: sum hit_r / |T|;
/// - ndcg: sum hit_r / log2(r + 1), over the same sum of m hits in front;
/// - precision: sum hit_r / K;
/// - map: (sum over hits of the precision at their rank) / m, as the authors' program computes it;
/// - hit_rate: 1 if any hit;
/// - mrr: 1 / rank of the first hit, 0 without one.
enum class Metric { recall, ndcg, precision, map, hit_rate, mrr };

/// All of them, in the order above.
inline constexpr std::array<Metric, 6> all_metrics = {Metric::recall, Metric::ndcg,     Metric::precision,
                                                      Metric::map,    Metric::hit_rate, Metric::mrr};

constexpr std::string_view to_string(Metric m) {
  switch (m) {
    case Metric::recall:
      return "recall";
    case Metric::ndcg:
      return "ndcg";
    case Metric::precision:
      return "precision";
    case Metric::map:
      return "map";
    case Metric::hit_rate:
      return "hit_rate";
    case Metric::mrr:
      return "mrr";
  }
  return "unknown";
}
/// Throws ConfigError naming the allowed metrics.
inline void parse(std::string_view text, Metric& out) {
  for (const Metric m : all_metrics)
    if (text == to_string(m)) {
      out = m;
      return;
    }
  throw ConfigError(detail::message("metric = '", text, "': must be recall, ndcg, precision, map, hit_rate or mrr"));
}
/// "recall@20".
inline std::string metric_name(Metric m, Index k) { return detail::message(to_string(m), '@', k); }

/// Values by name ("recall@20").
using MetricValues = std::map<std::string, double>;

namespace detail {

/// `hits`: whether each rank of the list is relevant; ranks beyond the list are misses.
inline double metric_of_hits(Metric metric, std::span<const unsigned char> hits, Index n_relevant, Index k) {
  const std::size_t n = std::min(hits.size(), static_cast<std::size_t>(k));
  double n_hits = 0, gain = 0, precisions = 0, first = 0;
  for (std::size_t r = 0; r < n; ++r) {
    if (hits[r] == 0) continue;
    const double rank = static_cast<double>(r + 1);
    n_hits += 1;
    gain += 1 / std::log2(rank + 1);
    precisions += n_hits / rank;
    if (first == 0) first = 1 / rank;
  }
  const Index reachable = std::min(n_relevant, k);
  switch (metric) {
    case Metric::recall:
      return n_hits / static_cast<double>(n_relevant);
    case Metric::precision:
      return n_hits / static_cast<double>(k);
    case Metric::map:
      return precisions / static_cast<double>(reachable);
    case Metric::hit_rate:
      return n_hits > 0 ? 1 : 0;
    case Metric::mrr:
      return first;
    case Metric::ndcg:
      break;
  }
  double ideal = 0;
  for (Index r = 1; r <= reachable; ++r) ideal += 1 / std::log2(static_cast<double>(r) + 1);
  return gain / ideal;
}

inline void mark_hits(std::span<const Id> ranked, std::span<const Id> relevant, std::vector<unsigned char>& hits) {
  hits.resize(ranked.size());
  for (std::size_t r = 0; r < ranked.size(); ++r) hits[r] = std::ranges::binary_search(relevant, ranked[r]) ? 1 : 0;
}

inline void require_cutoff(Index k) {
  if (k < 1) throw ConfigError(message("metric cutoff K = ", k, ": must be at least 1"));
}

}  // namespace detail

/// One user's metric: `ranked` best first (-1 where the list has ended), `relevant` ascending.
/// Throws ConfigError unless k >= 1, DataError when nothing is relevant.
inline double metric_at_k(Metric metric, std::span<const Id> ranked, std::span<const Id> relevant, Index k) {
  detail::require_cutoff(k);
  if (relevant.empty()) throw DataError("metric of a user without relevant items is undefined; leave such users out");
  std::vector<unsigned char> hits;
  detail::mark_hits(ranked, relevant, hits);
  return detail::metric_of_hits(metric, hits, static_cast<Index>(relevant.size()), k);
}

/// Mean metrics of ranked lists: row i of `ranked` is the list of users[i], scored against relevant.row(users[i]).
/// Users without a relevant item are left out. Throws DataError when that leaves nobody or a user is out of range,
/// ShapeError when the rows of `ranked` are not the users, ConfigError when a cutoff is below 1 or beyond the lists.
inline MetricValues mean_metrics(ConstView<Id> ranked, std::span<const Id> users, const Adjacency& relevant,
                                 std::span<const Index> ks, std::span<const Metric> metrics) {
  if (ranked.rows != static_cast<Index>(users.size()))
    throw ShapeError(detail::message("mean_metrics: ", ranked.rows, " ranked lists for ", users.size(), " users"));
  for (const Index k : ks) {
    detail::require_cutoff(k);
    if (k > ranked.cols)
      throw ConfigError(
          detail::message("metric cutoff K = ", k, " is beyond the ranked lists of length ", ranked.cols));
  }
  std::vector<double> sums(ks.size() * metrics.size(), 0.0);
  std::vector<unsigned char> hits;
  Index n_users = 0;
  for (std::size_t i = 0; i < users.size(); ++i) {
    if (users[i] < 0 || users[i] >= relevant.rows())
      throw DataError(detail::message("mean_metrics: user ", users[i], " is outside [0, ", relevant.rows(), ")"));
    const auto truth = relevant.row(users[i]);
    if (truth.empty()) continue;
    ++n_users;
    detail::mark_hits({ranked.row(static_cast<Index>(i)), static_cast<std::size_t>(ranked.cols)}, truth, hits);
    std::size_t slot = 0;
    for (const Metric metric : metrics)
      for (const Index k : ks)
        sums[slot++] += detail::metric_of_hits(metric, hits, static_cast<Index>(truth.size()), k);
  }
  if (n_users == 0) throw DataError("mean_metrics: no user has a relevant item; the split to be evaluated is empty");
  MetricValues out;
  std::size_t slot = 0;
  for (const Metric metric : metrics)
    for (const Index k : ks) out[metric_name(metric, k)] = sums[slot++] / static_cast<double>(n_users);
  return out;
}

}  // namespace rearm
