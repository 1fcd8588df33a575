#pragma once
/// @file significance.hpp
/// How sure a mean over users, or a difference of two, is: bootstrap, Wilcoxon's signed-rank test, Holm's correction.

#include <rearm/core/error.hpp>
#include <rearm/core/matrix_view.hpp>
#include <rearm/core/random.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <numeric>
#include <span>
#include <vector>

namespace rearm::REARM_ABI {

/// Mean and deviation of a few values, for instance of runs with different seeds.
struct Spread {
  Index n = 0;
  double mean = 0;
  double deviation = 0;  ///< of the sample, with n - 1; 0 of one value
};
inline Spread spread(std::span<const double> values) {
  Spread out;
  out.n = static_cast<Index>(values.size());
  if (values.empty()) return out;
  out.mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  double squares = 0;
  for (const double x : values) squares += (x - out.mean) * (x - out.mean);
  if (values.size() > 1) out.deviation = std::sqrt(squares / static_cast<double>(values.size() - 1));
  return out;
}

/// What drawing rows anew, with replacement, says of a column's mean.
struct BootstrapMean {
  double mean = 0;
  double low = 0, high = 0;  ///< percentile interval of the confidence level
  /// Of the hypothesis that the mean is 0, two-sided: the share of draws, the sample itself counted as one, whose mean
  /// lies at least as far from the sample's as the sample's from 0.
  double p = 1;
};

struct BootstrapOptions {
  double confidence = 0.95;
  int draws = 2000;
  std::uint64_t seed = 1;
};

/// The stream of the bootstrap's random numbers (core/random.hpp).
inline constexpr std::uint32_t bootstrap_stream = 0x42530001;

/// For every column of `values` (rows x columns) the bootstrap of its mean. All columns see the same draws, so those of
/// paired differences and of their terms agree. The same seed gives the same numbers. Cost: draws x rows x columns, and
/// memory for draws x columns means. Throws DataError without rows, ConfigError unless 0 < confidence < 1 and
/// draws >= 1, NumericError for a value that is not finite, OutOfMemoryError.
inline std::vector<BootstrapMean> bootstrap_means(ConstView<double> values, const BootstrapOptions& options = {}) try {
  if (values.rows < 1) throw DataError("bootstrap: there are no values");
  if (values.rows > std::numeric_limits<std::int32_t>::max()) throw DataError("bootstrap: more than 2^31 rows");
  if (!(options.confidence > 0 && options.confidence < 1))
    throw ConfigError(detail::message("confidence = ", options.confidence, ": must be above 0 and below 1"));
  if (options.draws < 1) throw ConfigError(detail::message("draws = ", options.draws, ": must be at least 1"));
  const auto columns = static_cast<std::size_t>(values.cols);
  const auto draws = static_cast<std::size_t>(options.draws);
  const double n = static_cast<double>(values.rows);
  std::vector<BootstrapMean> out(columns);
  for (Index i = 0; i < values.rows; ++i)
    for (std::size_t c = 0; c < columns; ++c) {
      const double x = values(i, static_cast<Index>(c));
      if (!std::isfinite(x)) throw NumericError(detail::message("bootstrap: row ", i, " has the value ", x));
      out[c].mean += x;
    }
  for (BootstrapMean& b : out) b.mean /= n;
  std::vector<double> means(columns * draws), sums(columns);
  for (std::size_t draw = 0; draw < draws; ++draw) {
    const RandomKey key{options.seed, bootstrap_stream, static_cast<std::uint32_t>(draw)};
    std::fill(sums.begin(), sums.end(), 0.0);
    RandomBits bits{};
    for (Index i = 0; i < values.rows; ++i) {
      if (i % 4 == 0) bits = key.bits(static_cast<std::uint64_t>(i / 4));
      const auto row =
          static_cast<Index>((std::uint64_t{bits.word[i % 4]} * static_cast<std::uint64_t>(values.rows)) >> 32);
      const double* const x = values.row(row);
      for (std::size_t c = 0; c < columns; ++c) sums[c] += x[c];
    }
    for (std::size_t c = 0; c < columns; ++c) means[c * draws + draw] = sums[c] / n;
  }
  for (std::size_t c = 0; c < columns; ++c) {
    BootstrapMean& b = out[c];
    const std::span<double> drawn(means.data() + c * draws, draws);
    // The sample's own mean, added up in another order, may differ by rounding.
    const double slack = 1e-12 * std::max(1.0, std::abs(b.mean));
    std::size_t as_far = 1;
    for (const double mean : drawn) as_far += std::abs(mean - b.mean) >= std::abs(b.mean) - slack ? 1 : 0;
    b.p = static_cast<double>(as_far) / static_cast<double>(draws + 1);
    std::ranges::sort(drawn);
    const auto quantile = [&](double q) {  // linear between the two nearest, as numpy's default
      const double place = q * static_cast<double>(draws - 1);
      const auto below = static_cast<std::size_t>(place);
      const std::size_t above = std::min(below + 1, draws - 1);
      return drawn[below] + (place - static_cast<double>(below)) * (drawn[above] - drawn[below]);
    };
    b.low = quantile((1 - options.confidence) / 2);
    b.high = quantile((1 + options.confidence) / 2);
  }
  return out;
} catch (const std::bad_alloc&) {
  detail::throw_out_of_memory("the bootstrap's draws");
}

/// Wilcoxon's signed-rank test of paired differences.
struct SignedRank {
  Index n = 0;              ///< differences that are not 0
  double positive_sum = 0;  ///< of the ranks of positive differences
  double negative_sum = 0;
  bool exact = false;
  double p = 1;  ///< two-sided; 1 where all differences are 0
};

namespace detail {

/// P(rank sum of n untied differences <= w) under the hypothesis that each has either sign with probability one half.
inline double signed_rank_below(Index n, double w) {
  const auto largest = static_cast<std::size_t>(n * (n + 1) / 2);
  std::vector<double> share(largest + 1, 0.0);
  share[0] = 1;
  for (std::size_t rank = 1; rank <= static_cast<std::size_t>(n); ++rank)
    for (std::size_t s = largest + 1; s-- > 0;) share[s] = 0.5 * (share[s] + (s >= rank ? share[s - rank] : 0.0));
  double sum = 0;
  for (std::size_t s = 0; s <= largest && static_cast<double>(s) <= w; ++s) sum += share[s];
  return sum;
}

}  // namespace detail

/// Differences of 0 are left out, equal sizes share their mean rank. Up to 50 differences, none of them 0 and no two of
/// equal size, are compared with the exact distribution, others with the normal one, its variance corrected for ties
/// (as scipy's `wilcoxon` does). Throws NumericError for a difference that is not finite.
inline SignedRank signed_rank_test(std::span<const double> differences) {
  std::vector<double> left;
  for (const double d : differences) {
    if (!std::isfinite(d)) throw NumericError(detail::message("signed-rank test: a difference is ", d));
    if (d != 0) left.push_back(d);
  }
  SignedRank out;
  out.n = static_cast<Index>(left.size());
  if (left.empty()) return out;
  std::ranges::sort(left, [](double a, double b) { return std::abs(a) < std::abs(b); });
  double ties = 0;
  for (std::size_t begin = 0, end = 0; begin < left.size(); begin = end) {
    while (end < left.size() && std::abs(left[end]) == std::abs(left[begin])) ++end;
    const double rank = 0.5 * static_cast<double>(begin + 1 + end), t = static_cast<double>(end - begin);
    ties += t * t * t - t;
    for (std::size_t i = begin; i < end; ++i) (left[i] > 0 ? out.positive_sum : out.negative_sum) += rank;
  }
  const double smaller = std::min(out.positive_sum, out.negative_sum), n = static_cast<double>(out.n);
  out.exact = ties == 0 && out.n <= 50 && left.size() == differences.size();
  if (out.exact) {
    out.p = std::min(1.0, 2 * detail::signed_rank_below(out.n, smaller));
  } else {
    const double variance = n * (n + 1) * (2 * n + 1) / 24 - ties / 48;
    out.p = variance > 0 ? std::erfc(std::abs(smaller - n * (n + 1) / 4) / std::sqrt(2 * variance)) : 1;
  }
  return out;
}

/// Holm's step-down correction of m p-values, in their order: the i-th smallest times m - i + 1, at least the one
/// before it, at most 1.
inline std::vector<double> holm(std::span<const double> p) {
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return p[a] < p[b]; });
  std::vector<double> out(p.size());
  double before = 0;
  for (std::size_t i = 0; i < order.size(); ++i)
    before = out[order[i]] = std::clamp(static_cast<double>(p.size() - i) * p[order[i]], before, 1.0);
  return out;
}

/// What two tests say of one column of paired differences.
struct PairedTest {
  BootstrapMean bootstrap;
  SignedRank ranks;
  double bootstrap_holm = 1, ranks_holm = 1;  ///< their p-values after Holm's correction for all columns
};

/// Both tests of every column of `differences` (pairs x columns). Throws what bootstrap_means throws.
inline std::vector<PairedTest> paired_tests(ConstView<double> differences, const BootstrapOptions& options = {}) {
  const std::vector<BootstrapMean> means = bootstrap_means(differences, options);
  std::vector<PairedTest> out(means.size());
  std::vector<double> of_bootstrap, of_ranks, column(static_cast<std::size_t>(differences.rows));
  for (std::size_t c = 0; c < out.size(); ++c) {
    for (Index i = 0; i < differences.rows; ++i)
      column[static_cast<std::size_t>(i)] = differences(i, static_cast<Index>(c));
    out[c].bootstrap = means[c];
    out[c].ranks = signed_rank_test(column);
    of_bootstrap.push_back(out[c].bootstrap.p);
    of_ranks.push_back(out[c].ranks.p);
  }
  of_bootstrap = holm(of_bootstrap);
  of_ranks = holm(of_ranks);
  for (std::size_t c = 0; c < out.size(); ++c) {
    out[c].bootstrap_holm = of_bootstrap[c];
    out[c].ranks_holm = of_ranks[c];
  }
  return out;
}

}  // namespace rearm::REARM_ABI
