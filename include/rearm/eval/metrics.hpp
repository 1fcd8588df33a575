#pragma once
/// @file metrics.hpp
/// Ranking metrics at K of one user's list, and their mean over users.

#include <rearm/core/error.hpp>
#include <rearm/core/matrix.hpp>
#include <rearm/core/matrix_view.hpp>
#include <rearm/data/interactions.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rearm::REARM_ABI {

/// A metric of one user's list at a cutoff K; `metric_rules` defines each.
enum class Metric { recall, ndcg, precision, map, hit_rate, mrr };

/// The hits of a user's list within its first K ranks, counted from 1.
struct Hits {
  double n_hits = 0;
  double gain = 0;        ///< sum over hits of 1 / log2(rank + 1)
  double precisions = 0;  ///< sum over hits of the precision at their rank
  double first = 0;       ///< 1 / rank of the first hit, 0 if none
  Index n_relevant = 0;
  Index k = 0;

  /// Most hits possible: min(n_relevant, K).
  Index reachable() const { return std::min(n_relevant, k); }
  /// The gain of that many hits at the top.
  double ideal_gain() const {
    double ideal = 0;
    for (Index r = 1; r <= reachable(); ++r) ideal += 1 / std::log2(static_cast<double>(r) + 1);
    return ideal;
  }
};

/// A metric is an enumerator and a row here. `map` follows the authors' program.
struct MetricRule {
  Metric metric;
  std::string_view name;
  double (*value)(const Hits&);
};
inline constexpr MetricRule metric_rules[] = {
    {Metric::recall, "recall", [](const Hits& h) { return h.n_hits / static_cast<double>(h.n_relevant); }},
    {Metric::ndcg, "ndcg", [](const Hits& h) { return h.gain / h.ideal_gain(); }},
    {Metric::precision, "precision", [](const Hits& h) { return h.n_hits / static_cast<double>(h.k); }},
    {Metric::map, "map", [](const Hits& h) { return h.precisions / static_cast<double>(h.reachable()); }},
    {Metric::hit_rate, "hit_rate", [](const Hits& h) { return h.n_hits > 0 ? 1.0 : 0.0; }},
    {Metric::mrr, "mrr", [](const Hits& h) { return h.first; }},
};

/// All of them, in that order.
inline constexpr auto all_metrics = [] {
  std::array<Metric, std::size(metric_rules)> out{};
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = metric_rules[i].metric;
  return out;
}();

constexpr std::string_view to_string(Metric m) {
  for (const MetricRule& rule : metric_rules)
    if (rule.metric == m) return rule.name;
  return "unknown";
}
/// Throws ConfigError naming the allowed metrics.
inline void parse(std::string_view text, Metric& out) {
  std::string allowed;
  for (const MetricRule& rule : metric_rules) {
    if (text == rule.name) {
      out = rule.metric;
      return;
    }
    allowed += (allowed.empty() ? "" : ", ") + std::string(rule.name);
  }
  throw ConfigError(detail::message("metric = '", text, "': must be one of ", allowed));
}
/// "recall@20".
inline std::string metric_name(Metric m, Index k) { return detail::message(to_string(m), '@', k); }

/// Values by name ("recall@20").
using MetricValues = std::map<std::string, double>;

namespace detail {

/// `hits`: whether the item at each rank is relevant; ranks beyond the list are misses.
inline Hits count_hits(std::span<const unsigned char> hits, Index n_relevant, Index k) {
  Hits out;
  out.n_relevant = n_relevant;
  out.k = k;
  const std::size_t n = std::min(hits.size(), static_cast<std::size_t>(k));
  for (std::size_t r = 0; r < n; ++r) {
    if (hits[r] == 0) continue;
    const double rank = static_cast<double>(r + 1);
    out.n_hits += 1;
    out.gain += 1 / std::log2(rank + 1);
    out.precisions += out.n_hits / rank;
    if (out.first == 0) out.first = 1 / rank;
  }
  return out;
}
inline double metric_of_hits(Metric metric, std::span<const unsigned char> hits, Index n_relevant, Index k) {
  for (const MetricRule& rule : metric_rules)
    if (rule.metric == metric) return rule.value(count_hits(hits, n_relevant, k));
  return 0;
}

inline void mark_hits(std::span<const Id> ranked, std::span<const Id> relevant, std::vector<unsigned char>& hits) {
  hits.resize(ranked.size());
  for (std::size_t r = 0; r < ranked.size(); ++r) hits[r] = std::ranges::binary_search(relevant, ranked[r]) ? 1 : 0;
}

inline void require_cutoff(Index k) {
  if (k < 1) throw ConfigError(message("metric cutoff K = ", k, ": must be at least 1"));
}

}  // namespace detail

/// One user's metric: `ranked` best first (-1 past its end), `relevant` ascending.
/// Throws ConfigError unless k >= 1, DataError if nothing is relevant.
inline double metric_at_k(Metric metric, std::span<const Id> ranked, std::span<const Id> relevant, Index k) {
  detail::require_cutoff(k);
  if (relevant.empty())
    throw DataError("the metric of a user without relevant items is undefined; leave such users out");
  std::vector<unsigned char> hits;
  detail::mark_hits(ranked, relevant, hits);
  return detail::metric_of_hits(metric, hits, static_cast<Index>(relevant.size()), k);
}

namespace detail {

/// f(i, values) for every users[i] with a relevant item: its metrics, each at every cutoff. Throws as mean_metrics.
template <class F>
void for_each_user(ConstView<Id> ranked, std::span<const Id> users, const Adjacency& relevant,
                   std::span<const Index> ks, std::span<const Metric> metrics, const F& f) {
  if (ranked.rows != static_cast<Index>(users.size()))
    throw ShapeError(message("metrics: ", ranked.rows, " ranked lists for ", users.size(), " users"));
  for (const Index k : ks) {
    require_cutoff(k);
    if (k > ranked.cols)
      throw ConfigError(message("metric cutoff K = ", k, " is beyond the ranked lists of length ", ranked.cols));
  }
  std::vector<double> values(ks.size() * metrics.size());
  std::vector<unsigned char> hits;
  bool any = false;
  for (std::size_t i = 0; i < users.size(); ++i) {
    if (users[i] < 0 || users[i] >= relevant.rows())
      throw DataError(message("metrics: user ", users[i], " is outside [0, ", relevant.rows(), ")"));
    const auto truth = relevant.row(users[i]);
    if (truth.empty()) continue;
    any = true;
    mark_hits({ranked.row(static_cast<Index>(i)), static_cast<std::size_t>(ranked.cols)}, truth, hits);
    std::size_t slot = 0;
    for (const Metric metric : metrics)
      for (const Index k : ks) values[slot++] = metric_of_hits(metric, hits, static_cast<Index>(truth.size()), k);
    f(i, std::span<const double>(values));
  }
  if (!any) throw DataError("metrics: no user has a relevant item; the split to be evaluated is empty");
}

}  // namespace detail

/// Mean metrics of ranked lists: row i of `ranked` is the list of users[i], scored against relevant.row(users[i]).
/// Users without a relevant item are left out. Throws DataError if that leaves nobody or a user is out of range,
/// ShapeError unless `ranked` has one row per user, ConfigError if a cutoff is below 1 or beyond the lists.
inline MetricValues mean_metrics(ConstView<Id> ranked, std::span<const Id> users, const Adjacency& relevant,
                                 std::span<const Index> ks, std::span<const Metric> metrics) {
  std::vector<double> sums(ks.size() * metrics.size(), 0.0);
  Index n_users = 0;
  detail::for_each_user(ranked, users, relevant, ks, metrics, [&](std::size_t, std::span<const double> values) {
    for (std::size_t slot = 0; slot < sums.size(); ++slot) sums[slot] += values[slot];
    ++n_users;
  });
  MetricValues out;
  std::size_t slot = 0;
  for (const Metric metric : metrics)
    for (const Index k : ks) out[metric_name(metric, k)] = sums[slot++] / static_cast<double>(n_users);
  return out;
}

/// The metrics of each user: what means are made of, and what two models are compared by.
struct UserMetrics {
  std::vector<std::string> names;  ///< "recall@20", a column each
  std::vector<Id> users;           ///< a row each, those with a relevant item
  Matrix<double> values;

  /// What mean_metrics gives, to the last bit.
  MetricValues mean() const {
    MetricValues out;
    for (std::size_t c = 0; c < names.size(); ++c) {
      double sum = 0;
      for (Index i = 0; i < values.rows(); ++i) sum += values(i, static_cast<Index>(c));
      out[names[c]] = sum / static_cast<double>(values.rows());
    }
    return out;
  }
};

/// Of ranked lists, as for mean_metrics, and throwing what that throws.
inline UserMetrics user_metrics(ConstView<Id> ranked, std::span<const Id> users, const Adjacency& relevant,
                                std::span<const Index> ks, std::span<const Metric> metrics) {
  UserMetrics out;
  for (const Metric metric : metrics)
    for (const Index k : ks) out.names.push_back(metric_name(metric, k));
  std::vector<double> all;
  detail::for_each_user(ranked, users, relevant, ks, metrics, [&](std::size_t i, std::span<const double> values) {
    out.users.push_back(users[i]);
    all.insert(all.end(), values.begin(), values.end());
  });
  out.values = Matrix<double>(static_cast<Index>(out.users.size()), static_cast<Index>(out.names.size()));
  std::ranges::copy(all, out.values.data());
  return out;
}

}  // namespace rearm::REARM_ABI
