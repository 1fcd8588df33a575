#pragma once
/// @file top_k.hpp
/// The k best of a row of scores, in bounded memory: higher score first, equal scores by lower id.

#include <rearm/core/error.hpp>
#include <rearm/core/matrix_view.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <span>
#include <vector>

REARM_LOOPS_BEGIN

namespace rearm::REARM_ABI {

/// An id with its score.
template <class T>
struct Scored {
  Id id = -1;
  T score = -std::numeric_limits<T>::infinity();
  friend bool operator==(const Scored&, const Scored&) = default;
};

/// The order of a ranked list: higher score first, ties by lower id.
template <class T>
constexpr bool ranks_before(const Scored<T>& a, const Scored<T>& b) {
  return a.score > b.score || (a.score == b.score && a.id < b.id);
}

/// Keeps the k best of the scores offered so far. A score of -infinity is never a candidate (a masked item).
/// Candidates are collected and cut down to the best k when there are about twice as many: amortized O(1) per offer.
template <class T>
class TopKSelector {
 public:
  /// Throws ConfigError unless k >= 1.
  explicit TopKSelector(Index k) : k_(static_cast<std::size_t>(k)) {
    if (k < 1) throw ConfigError(detail::message("top-k: k = ", k, ": must be at least 1"));
  }

  /// Offers scores[j] for id first + j. Ids must ascend from call to call. Throws NumericError on NaN.
  void offer(std::span<const T> scores, Id first) {
    constexpr std::size_t block = 32;
    if (kept_.empty() && k_ <= n_groups && scores.size() >= 4 * n_groups) raise(scores);
    std::size_t begin = 0;
    for (; begin + block <= scores.size(); begin += block) {
      const T* const part = scores.data() + begin;
      const T worst = worst_;
      int n = 0;
      REARM_SUM_LOOP(n)
      for (std::size_t j = 0; j < block; ++j) n += part[j] <= worst ? 0 : 1;
      if (n == 0) continue;
      // Finds their places without branches, which would be mispredicted.
      unsigned char place[block + 1];
      n = 0;
      for (std::size_t j = 0; j < block; ++j) {
        place[n] = static_cast<unsigned char>(j);
        n += part[j] <= worst ? 0 : 1;
      }
      for (int c = 0; c < n; ++c) offer(part[place[c]], first + static_cast<Id>(begin + place[c]));
    }
    for (; begin < scores.size(); ++begin) offer(scores[begin], first + static_cast<Id>(begin));
  }
  /// Offers one score.
  void offer(T score, Id id) {
    // A tie with the worst kept never enters, for its id is higher. Written so that NaN does not slip past.
    if (score <= worst_) return;
    if (score != score)
      throw NumericError(detail::message("top-k: the score of id ", id, " is NaN; the model has diverged"));
    kept_.push_back({id, score});
    if (kept_.size() == k_ + std::max<std::size_t>(k_, 16)) cut();
  }
  /// What a score must exceed to enter; it may still be displaced later.
  T worst() const noexcept { return worst_; }
  /// The best so far, best first, at most k. Ends the selection: call clear() before the next offer.
  std::span<const Scored<T>> sorted() {
    if (kept_.size() > k_) cut();
    std::sort(kept_.begin(), kept_.end(), ranks_before<T>);
    return kept_;
  }
  /// Discards everything offered, keeps the memory.
  void clear() noexcept {
    kept_.clear();
    worst_ = -std::numeric_limits<T>::infinity();
  }

 private:
  static constexpr std::size_t n_groups = 64;

  /// Raises the threshold before the first offer: at least k scores reach the k-th largest of the groups' maxima, so
  /// nothing below it can stay.
  void raise(std::span<const T> scores) {
    T top[n_groups];
    std::copy_n(scores.begin(), n_groups, top);
    for (std::size_t begin = n_groups; begin + n_groups <= scores.size(); begin += n_groups) {
      REARM_SIMD_LOOP
      for (std::size_t g = 0; g < n_groups; ++g) top[g] = scores[begin + g] > top[g] ? scores[begin + g] : top[g];
    }
    std::nth_element(top, top + k_ - 1, top + n_groups, std::greater<>());
    worst_ = std::nextafter(top[k_ - 1], -std::numeric_limits<T>::infinity());
  }
  void cut() {
    const auto last = kept_.begin() + static_cast<std::ptrdiff_t>(k_) - 1;
    std::nth_element(kept_.begin(), last, kept_.end(), ranks_before<T>);
    worst_ = last->score;
    kept_.resize(k_);
  }
  std::size_t k_;
  std::vector<Scored<T>> kept_;
  T worst_ = -std::numeric_limits<T>::infinity();
};

/// The k best of one row of scores, ids 0 .. scores.size() - 1; fewer if fewer are above -infinity.
/// Throws ConfigError unless k >= 1, NumericError on NaN.
template <class T>
std::vector<Scored<T>> top_k(std::span<const T> scores, Index k) {
  TopKSelector<T> selector(k);
  selector.offer(scores, 0);
  const auto best = selector.sorted();
  return {best.begin(), best.end()};
}

}  // namespace rearm::REARM_ABI

REARM_LOOPS_END
