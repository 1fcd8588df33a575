#pragma once
/// @file search.hpp
/// Which settings a search tries: grids, random draws, and the rounds of successive halving.

#include <rearm/core/error.hpp>
#include <rearm/core/matrix_view.hpp>
#include <rearm/core/random.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace rearm::REARM_ABI {

/// A setting that is varied: over a list, or over a range of numbers.
struct SearchDimension {
  std::string path;                    ///< "train.learning_rate"
  std::vector<nlohmann::json> values;  ///< the list; empty: the range
  double low = 0, high = 0;            ///< both belong to it
  bool log = false;                    ///< equally likely is an equal ratio, not an equal difference
  bool whole = false;                  ///< whole numbers alone
  int steps = 0;                       ///< points of the range that a grid takes; 0: it has no grid
};
/// A value for each dimension, in their order.
using SearchPoint = std::vector<nlohmann::json>;

/// The stream of a search's random numbers (core/random.hpp).
inline constexpr std::uint32_t search_stream = 0x53450001;
/// No more points than that are made.
inline constexpr std::size_t max_search_points = 100'000;

namespace detail {

/// Six digits are enough for a setting, and are printed and read without change.
inline double six_digits(double x) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, x, std::chars_format::scientific, 5).ptr;
  std::from_chars(text, end, x);
  return x;
}

/// Where `at` in [0, 1] of the range lies.
inline nlohmann::json range_value(const SearchDimension& d, double at, bool drawn) {
  // A whole number is drawn from [low, high + 1), so that both ends are as likely as the others.
  const double high = d.whole && drawn ? d.high + 1 : d.high;
  double x = d.log ? std::exp(std::log(d.low) + at * (std::log(high) - std::log(d.low))) : d.low + at * (high - d.low);
  if (!d.whole) return std::clamp(six_digits(x), d.low, d.high);
  // exp(log(8)) may be a little less than 8
  x = drawn ? std::floor(x * (1 + 4 * std::numeric_limits<double>::epsilon())) : std::round(x);
  return static_cast<std::int64_t>(std::clamp(x, d.low, d.high));
}

}  // namespace detail

/// Throws ConfigError naming the dimension whose range is empty, not finite, of logarithms of what is not above 0, or,
/// if whole, has ends that are not.
inline void check_search(std::span<const SearchDimension> dimensions) {
  for (const SearchDimension& d : dimensions) {
    if (!d.values.empty()) continue;
    const auto refuse = [&](const char* what) {
      throw ConfigError(detail::message(d.path, ": the range from ", d.low, " to ", d.high, " ", what));
    };
    if (!std::isfinite(d.low) || !std::isfinite(d.high)) refuse("must have finite ends");
    if (!(d.low < d.high)) refuse("is empty: low must be below high");
    if (d.log && !(d.low > 0)) refuse("has no logarithms: low must be above 0");
    if (d.whole && (d.low != std::floor(d.low) || d.high != std::floor(d.high) || std::abs(d.low) > 1e15 ||
                    std::abs(d.high) > 1e15))
      refuse("must have whole ends, for the setting is a whole number");
    if (d.steps == 1 || d.steps < 0) refuse("needs at least 2 steps");
  }
}

/// Every combination, the last dimension changing fastest; one empty point without dimensions. A range gives `steps`
/// points from low to high, equally far apart (with log: of equal ratio), each once. Throws ConfigError for a range
/// without steps, for more points than `max_search_points`, and what check_search throws.
inline std::vector<SearchPoint> grid_points(std::span<const SearchDimension> dimensions) {
  check_search(dimensions);
  std::vector<SearchPoint> out = {{}};
  for (const SearchDimension& d : dimensions) {
    std::vector<nlohmann::json> values = d.values;
    if (values.empty() && d.steps == 0)
      throw ConfigError(
          detail::message(d.path, ": a grid needs a list, or steps = N for the range from ", d.low, " to ", d.high));
    if (d.values.empty())
      for (int i = 0; i < d.steps; ++i) {
        nlohmann::json value = detail::range_value(d, i / (d.steps - 1.0), false);
        if (values.empty() || values.back() != value) values.push_back(std::move(value));
      }
    if (out.size() * values.size() > max_search_points)
      throw ConfigError(detail::message("the grid has more than ", max_search_points, " settings at ", d.path,
                                        "; use fewer values, or random draws"));
    std::vector<SearchPoint> longer;
    longer.reserve(out.size() * values.size());
    for (const SearchPoint& point : out)
      for (const nlohmann::json& value : values) {
        longer.push_back(point);
        longer.back().push_back(value);
      }
    out = std::move(longer);
  }
  return out;
}

/// `n` different points, fewer where there are no more. Each is a pure function of (seed, its number): asking for more
/// gives the same ones first. Throws ConfigError unless n is 1 to max_search_points, and what check_search throws.
inline std::vector<SearchPoint> random_points(std::span<const SearchDimension> dimensions, std::uint64_t seed,
                                              std::size_t n) {
  check_search(dimensions);
  if (n < 1 || n > max_search_points)
    throw ConfigError(detail::message("trials = ", n, ": must be 1 to ", max_search_points));
  std::vector<SearchPoint> out;
  std::set<std::string> known;
  // That many draws in vain mean, but for one search in e^40, that every point is known.
  const std::size_t patience = 1000 + 40 * n;
  std::size_t in_vain = 0;
  for (std::uint32_t number = 0; out.size() < n && in_vain < patience; ++number) {
    const RandomKey key{seed, search_stream, number};
    SearchPoint point;
    std::string text;
    for (std::size_t i = 0; i < dimensions.size(); ++i) {
      const SearchDimension& d = dimensions[i];
      if (d.values.empty())
        point.push_back(detail::range_value(d, key.uniform(i), true));
      else
        point.push_back(d.values[key.below(i, static_cast<std::uint32_t>(d.values.size()))]);
      text += point.back().dump() + (point.back().is_number_integer() ? ".0\n" : "\n");  // 1 and 1.0 are one value
    }
    if (known.insert(std::move(text)).second) {
      out.push_back(std::move(point));
      in_vain = 0;
    } else {
      ++in_vain;
    }
  }
  return out;
}

/// A round of successive halving: the n best so far are trained up to that many epochs, counted from their first.
struct HalvingRound {
  Index n = 0;
  int epochs = 0;
  friend bool operator==(const HalvingRound&, const HalvingRound&) = default;
};

/// Successive halving (Jamieson & Talwalkar, AISTATS '16): all n up to `min_epochs`; the best n / factor, rounded down
/// but at least one, up to factor times as many epochs; and so on up to `epochs`. Throws ConfigError unless n >= 1,
/// 1 <= min_epochs <= epochs and factor >= 2.
inline std::vector<HalvingRound> halving_rounds(Index n, int min_epochs, int epochs, int factor) {
  if (n < 1) throw ConfigError("halving: there is nothing to try");
  if (min_epochs < 1 || min_epochs > epochs)
    throw ConfigError(detail::message("min_epochs = ", min_epochs, ": must be 1 to epochs = ", epochs));
  if (factor < 2) throw ConfigError(detail::message("factor = ", factor, ": must be at least 2"));
  std::vector<HalvingRound> out = {{n, min_epochs}};
  while (out.back().epochs < epochs) {
    const auto more = static_cast<std::int64_t>(out.back().epochs) * factor;
    out.push_back({std::max<Index>(1, out.back().n / factor), static_cast<int>(std::min<std::int64_t>(more, epochs))});
  }
  return out;
}

}  // namespace rearm::REARM_ABI
