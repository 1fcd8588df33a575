#pragma once
/// @file edge_sampling.hpp
/// Random subsets of the user-item pairs, for models that train on another part of the graph every epoch.

#include <rearm/core/fields.hpp>
#include <rearm/core/random.hpp>
#include <rearm/data/interactions.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// Stream of the draws; the key's step is the epoch.
inline constexpr std::uint32_t edge_sampling_stream = 0x45530001;

/// How likely a pair is to be drawn: all alike, or by degree.
enum class EdgeSampling { uniform, degree };
template <>
struct EnumNames<EdgeSampling> {
  static constexpr std::pair<EdgeSampling, std::string_view> values[] = {{EdgeSampling::uniform, "uniform"},
                                                                         {EdgeSampling::degree, "degree"}};
};

/// Draws pairs without replacement, one after the other, each with probability proportional to its weight among those
/// that are left: 1 for `uniform`, and for `degree`
///     w_e = 1 / (sqrt(deg_u + epsilon) sqrt(deg_i + epsilon)),  e = (u, i),
/// so that pairs of popular items and busy users are left out more often (Zhou & Shen, "A tale of two graphs: Freezing
/// and denoising graph structures for multimodal recommendation", MM'23, degree-sensitive edge pruning).
class EdgeSampler {
 public:
  /// Throws ShapeError unless each argument is the other's transpose in size.
  EdgeSampler(const Adjacency& items_by_user, const Adjacency& users_by_item, double epsilon,
              EdgeSampling sampling = EdgeSampling::degree) {
    if (items_by_user.ids.size() != users_by_item.ids.size())
      throw ShapeError(detail::message("EdgeSampler: ", items_by_user.ids.size(), " pairs by user but ",
                                       users_by_item.ids.size(), " by item; group the same pairs both ways"));
    const auto scale = [&](const Adjacency& rows, Index i) {
      return 1.0 / std::sqrt(static_cast<double>(rows.degree(i)) + epsilon);
    };
    for (Index u = 0; u < items_by_user.rows(); ++u)
      for (const Id item : items_by_user.row(u)) {
        pairs_.users.push_back(static_cast<Id>(u));
        pairs_.items.push_back(item);
        weights_.push_back(sampling == EdgeSampling::uniform ? 1.0
                                                             : scale(items_by_user, u) * scale(users_by_item, item));
      }
  }

  /// All pairs: users ascend, and the items of each.
  const Interactions& pairs() const noexcept { return pairs_; }
  /// One a pair.
  std::span<const double> weights() const noexcept { return weights_; }

  /// `n` of the pairs in their order, a function of the key alone. The n least of t_e / w_e, t_e standard exponential,
  /// come in the order of such draws (Efraimidis & Spirakis, "Weighted random sampling with a reservoir", 2006).
  /// Throws ConfigError unless 0 <= n <= pairs. O(pairs).
  Interactions draw(Index n, RandomKey key) const {
    if (n < 0 || n > pairs_.size())
      throw ConfigError(detail::message("EdgeSampler: n = ", n, ": must be 0 to the number of pairs (", pairs_.size(),
                                        "); ask for fewer"));
    std::vector<std::pair<double, std::size_t>> arrivals(weights_.size());
    for (std::size_t e = 0; e < arrivals.size(); ++e) arrivals[e] = {-std::log1p(-key.uniform(e)) / weights_[e], e};
    const auto end = arrivals.begin() + n;
    std::nth_element(arrivals.begin(), end, arrivals.end());
    std::sort(arrivals.begin(), end, [](const auto& a, const auto& b) { return a.second < b.second; });
    Interactions drawn;
    for (auto a = arrivals.begin(); a != end; ++a) {
      drawn.users.push_back(pairs_.users[a->second]);
      drawn.items.push_back(pairs_.items[a->second]);
    }
    return drawn;
  }

 private:
  Interactions pairs_;
  std::vector<double> weights_;
};

}  // namespace rearm::REARM_ABI
