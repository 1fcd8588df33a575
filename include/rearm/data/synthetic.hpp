#pragma once
/// @file synthetic.hpp
/// A synthetic data set in which every part of the model has something to find: taste groups, factors shared by all
/// modalities and factors of each modality alone, long-tail popularity, and few pairs per user.

#include <rearm/core/matrix.hpp>
#include <rearm/core/random.hpp>
#include <rearm/data/dataset.hpp>
#include <rearm/data/tidy_splits.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

struct SyntheticSettings {
  Index n_users = 2000;
  Index n_items = 1200;
  double pairs_per_user = 10;  ///< mean over users, all splits together
  Index latent = 16;           ///< width of the shared factor and of each modality's own
  std::vector<Index> widths = {64, 32};
  std::vector<std::string> modality_names = {"image", "text"};
  double noise = 0.3;       ///< standard deviation of the features' noise; their signal has 1
  double taste = 5;         ///< standard deviation of taste in the log-odds of a choice
  double popularity = 0.6;  ///< exponent of Zipf's law for items
  std::uint64_t seed = 2025;
};

namespace detail {

/// Streams of the generator's random numbers.
enum SyntheticStream : std::uint32_t {
  group_stream = 0x5E4D0001,
  user_stream,
  category_stream,
  item_stream,
  map_stream,
  noise_stream,
  rank_stream,
  count_stream,
  choice_stream,
  candidate_stream,
  split_stream,
  member_stream,
};

inline void validate(const SyntheticSettings& s) {
  constexpr Index most = std::numeric_limits<Id>::max();
  const auto require = [](bool ok, const char* field, const auto& value, const char* rule) {
    if (!ok) throw ConfigError(message("synthetic: ", field, " = ", value, ": must be ", rule));
  };
  require(s.n_users >= 1 && s.n_users < most, "n_users", s.n_users, "1 to 2^31 - 2");
  require(s.n_items >= 10 && s.n_items < most, "n_items", s.n_items, "10 to 2^31 - 2");
  require(s.pairs_per_user >= 3 && s.pairs_per_user <= static_cast<double>(s.n_items) / 2, "pairs_per_user",
          s.pairs_per_user, "3 to n_items / 2");
  require(s.latent >= 1 && s.latent <= 1024, "latent", s.latent, "1 to 1024");
  require(s.noise >= 0 && std::isfinite(s.noise), "noise", s.noise, "0 or more");
  require(s.taste >= 0 && std::isfinite(s.taste), "taste", s.taste, "0 or more");
  require(s.popularity >= 0 && s.popularity <= 2, "popularity", s.popularity, "0 to 2");
  require(s.widths.size() == s.modality_names.size(), "widths", s.widths.size(), "as many as modality_names");
  for (const Index width : s.widths) require(width >= 1 && width <= 65536, "widths", width, "1 to 65536");
}

/// Draws users' choices one user at a time: memory is the items' factors and the pairs.
class SyntheticWorld {
 public:
  explicit SyntheticWorld(const SyntheticSettings& s)
      : s_(s),
        dim_(s.latent * (1 + static_cast<Index>(s.widths.size()))),
        n_groups_(std::clamp<Index>(s.n_users / 25, 2, 256)),
        n_categories_(std::clamp<Index>(s.n_items / 15, 4, 1024)),
        groups_(normals(group_stream, n_groups_, dim_)),
        items_(clustered_items()),
        all_items_(s.n_users * s.n_items <= (Index{1} << 22)) {
    draw_popularity();
  }

  /// Signal (a random linear map of the shared factor and the modality's own) plus noise.
  Matrix<float> features(Index modality) const {
    const Index width = s_.widths[static_cast<std::size_t>(modality)];
    const auto place = static_cast<std::uint32_t>(modality);
    const RandomKey map{s_.seed, map_stream, place}, noise{s_.seed, noise_stream, place};
    const Index own = s_.latent * (1 + modality);
    std::vector<double> weights(static_cast<std::size_t>(2 * s_.latent * width));
    for (std::size_t e = 0; e < weights.size(); ++e)
      weights[e] = map.normal(e) / std::sqrt(2.0 * static_cast<double>(s_.latent));
    Matrix<float> out(s_.n_items, width);
    for (Index i = 0; i < s_.n_items; ++i)
      for (Index j = 0; j < width; ++j) {
        double sum = s_.noise * noise.normal(static_cast<std::uint64_t>(i * width + j));
        for (Index a = 0; a < s_.latent; ++a)
          sum +=
              weights[static_cast<std::size_t>(a * width + j)] * static_cast<double>(items_(i, a)) +
              weights[static_cast<std::size_t>((s_.latent + a) * width + j)] * static_cast<double>(items_(i, own + a));
        out(i, j) = static_cast<float>(sum);
      }
    return out;
  }

  /// The user's items: the n largest of taste + log popularity + Gumbel noise, a draw without replacement from their
  /// softmax. With many user-item cells, candidates are drawn by popularity first, and taste alone decides among them.
  const std::vector<Id>& choose(Index user) {
    draw_taste(user);
    const Index n = draw_count(user);
    candidates(user, n);
    scored_.clear();
    const RandomKey key{s_.seed, choice_stream, 0};
    for (std::size_t c = 0; c < candidates_.size(); ++c) {
      const Id item = candidates_[c];
      double score = all_items_ ? log_popularity_[static_cast<std::size_t>(item)] : 0.0;
      float match = 0;
      for (Index a = 0; a < dim_; ++a) match += taste_[static_cast<std::size_t>(a)] * items_(item, a);
      const double u = key.uniform(static_cast<std::uint64_t>(user) * static_cast<std::uint64_t>(s_.n_items) + c);
      score += s_.taste * static_cast<double>(match) / std::sqrt(static_cast<double>(dim_)) -
               std::log(-std::log(u + 0x1.0p-54));
      scored_.emplace_back(-score, item);
    }
    const auto last = scored_.begin() + std::min<Index>(n, static_cast<Index>(scored_.size()));
    std::partial_sort(scored_.begin(), last, scored_.end());
    chosen_.clear();
    for (auto it = scored_.begin(); it != last; ++it) chosen_.push_back(it->second);
    // Train, valid and test get a random share of the user's items, not the best liked ones first.
    const RandomKey split{s_.seed, split_stream, static_cast<std::uint32_t>(user)};
    for (std::size_t i = chosen_.size(); i-- > 1;)
      std::swap(chosen_[i], chosen_[split.below(i, static_cast<std::uint32_t>(i) + 1)]);
    return chosen_;
  }

 private:
  Matrix<float> normals(std::uint32_t stream, Index rows, Index cols) const {
    Matrix<float> out(rows, cols);
    const RandomKey key{s_.seed, stream, 0};
    for (Index e = 0; e < out.size(); ++e)
      out.data()[e] = static_cast<float>(key.normal(static_cast<std::uint64_t>(e)));
    return out;
  }
  /// Unit-variance factors, half of the variance shared by the items of a category.
  Matrix<float> clustered_items() const {
    const Matrix<float> centers = normals(category_stream, n_categories_, dim_);
    Matrix<float> out = normals(item_stream, s_.n_items, dim_);
    const RandomKey member{s_.seed, member_stream, 1};
    for (Index i = 0; i < s_.n_items; ++i) {
      const Index c = member.below(static_cast<std::uint64_t>(i), static_cast<std::uint32_t>(n_categories_));
      for (Index a = 0; a < dim_; ++a) out(i, a) = std::sqrt(0.5F) * (centers(c, a) + out(i, a));
    }
    return out;
  }
  /// Unit-variance taste, most of the variance shared by the user's group.
  void draw_taste(Index user) {
    const auto u = static_cast<std::uint64_t>(user);
    const Index g = RandomKey{s_.seed, member_stream, 0}.below(u, static_cast<std::uint32_t>(n_groups_));
    const RandomKey key{s_.seed, user_stream, 0};
    taste_.resize(static_cast<std::size_t>(dim_));
    for (Index a = 0; a < dim_; ++a)
      taste_[static_cast<std::size_t>(a)] =
          std::sqrt(0.7F) * groups_(g, a) +
          std::sqrt(0.3F) *
              static_cast<float>(key.normal(u * static_cast<std::uint64_t>(dim_) + static_cast<std::uint64_t>(a)));
  }
  /// A minimum plus an exponential: most users have few pairs.
  Index draw_count(Index user) const {
    const double least = std::min(5.0, std::floor(s_.pairs_per_user));
    const double u = RandomKey{s_.seed, count_stream, 0}.uniform(static_cast<std::uint64_t>(user));
    const double extra = std::max(0.0, s_.pairs_per_user - least) * -std::log(1.0 - u);
    return std::min(static_cast<Index>(std::lround(least + extra)), s_.n_items / 2);
  }
  void draw_popularity() {
    const auto n = static_cast<std::size_t>(s_.n_items);
    std::vector<Id> by_rank(n);
    std::iota(by_rank.begin(), by_rank.end(), Id{0});
    const RandomKey key{s_.seed, rank_stream, 0};
    for (std::size_t i = n; i-- > 1;) std::swap(by_rank[i], by_rank[key.below(i, static_cast<std::uint32_t>(i) + 1)]);
    log_popularity_.resize(n);
    for (std::size_t r = 0; r < n; ++r)
      log_popularity_[static_cast<std::size_t>(by_rank[r])] = -s_.popularity * std::log(static_cast<double>(r) + 1);
    cumulative_.resize(n);
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) cumulative_[i] = sum += std::exp(log_popularity_[i]);
  }
  /// Every item, or distinct ones drawn by popularity.
  void candidates(Index user, Index n) {
    if (all_items_) {
      if (!candidates_.empty()) return;
      candidates_.resize(static_cast<std::size_t>(s_.n_items));
      std::iota(candidates_.begin(), candidates_.end(), Id{0});
      return;
    }
    const Index draws = std::max<Index>(256, 8 * n);
    const RandomKey key{s_.seed, candidate_stream, static_cast<std::uint32_t>(user)};
    candidates_.clear();
    for (Index c = 0; c < draws; ++c) {
      const double target = key.uniform(static_cast<std::uint64_t>(c)) * cumulative_.back();
      const auto at = std::ranges::upper_bound(cumulative_, target) - cumulative_.begin();
      candidates_.push_back(static_cast<Id>(std::min<Index>(at, s_.n_items - 1)));
    }
    std::ranges::sort(candidates_);
    candidates_.erase(std::unique(candidates_.begin(), candidates_.end()), candidates_.end());
  }

  const SyntheticSettings& s_;
  Index dim_;
  Index n_groups_;
  Index n_categories_;
  Matrix<float> groups_;
  Matrix<float> items_;
  bool all_items_;
  std::vector<double> log_popularity_;
  std::vector<double> cumulative_;
  std::vector<float> taste_;
  std::vector<Id> candidates_;
  std::vector<std::pair<double, Id>> scored_;
  std::vector<Id> chosen_;
};

}  // namespace detail

/// Draws the data set; the same settings give the same data set. A user's items are split 80/10/10, at least one each
/// for validation and test. Cost: users x items x latent up to 4 million cells, beyond that about 256 candidates per
/// user; memory: the pairs, the features and the items' factors. Throws ConfigError naming the setting out of range.
inline Dataset make_synthetic(const SyntheticSettings& settings = {}) try {
  detail::validate(settings);
  detail::SyntheticWorld world(settings);
  Dataset data;
  data.name = "synthetic";
  data.n_users = settings.n_users;
  data.n_items = settings.n_items;
  for (Index user = 0; user < settings.n_users; ++user) {
    const std::vector<Id>& items = world.choose(user);
    const std::size_t held = std::max<std::size_t>(1, (items.size() + 5) / 10);
    for (std::size_t i = 0; i < items.size(); ++i) {
      Interactions& split = i < held ? data.test : i < 2 * held ? data.valid : data.train;
      split.users.push_back(static_cast<Id>(user));
      split.items.push_back(items[i]);
    }
  }
  for (std::size_t m = 0; m < settings.widths.size(); ++m)
    data.modalities.push_back({settings.modality_names[m], "synthetic",
                               FeatureMatrix::from(world.features(static_cast<Index>(m))), std::nullopt});
  data.features_are = detail::joint_features_are(data.modalities);
  detail::tidy_splits(data);
  return data;
} catch (const std::bad_alloc&) {
  detail::throw_out_of_memory("generating a data set");
}

}  // namespace rearm::REARM_ABI
