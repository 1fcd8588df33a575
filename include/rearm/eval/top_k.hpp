#pragma once
/// @file top_k.hpp
/// The k best of a row of scores, in bounded memory: higher score first, equal scores by lower id.

#include <rearm/core/error.hpp>
#include <rearm/core/matrix_view.hpp>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

REARM_LOOPS_BEGIN

namespace rearm {

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
/// One offer costs O(1), or O(log k) when it enters the list.
template <class T>
class TopKSelector {
 public:
  /// Throws ConfigError unless k >= 1.
  explicit TopKSelector(Index k) : k_(static_cast<std::size_t>(k)) {
    if (k < 1) throw ConfigError(detail::message("top-k: k = ", k, ": must be at least 1"));
  }

  /// Offers scores[j] for id first + j. Ids must ascend from call to call. Throws NumericError on NaN.
  void offer(std::span<const T> scores, Id first) {
    constexpr std::size_t block = 64;
    for (std::size_t begin = 0; begin < scores.size(); begin += block) {
      const std::size_t n = std::min(block, scores.size() - begin);
      const T* const part = scores.data() + begin;
      int candidates = 0;
      REARM_SUM_LOOP(candidates)
      for (std::size_t j = 0; j < n; ++j) candidates += part[j] <= worst_ ? 0 : 1;
      if (candidates == 0) continue;
      for (std::size_t j = 0; j < n; ++j) offer(part[j], first + static_cast<Id>(begin + j));
    }
  }
  /// Offers one score.
  void offer(T score, Id id) {
    // A tie with the worst kept never enters, for its id is higher. Written so that NaN does not slip through.
    if (score <= worst_) return;
    if (score != score)
      throw NumericError(detail::message("top-k: the score of id ", id, " is NaN; the model has diverged"));
    insert({id, score});
  }
  /// What a score must exceed to enter.
  T worst() const noexcept { return worst_; }
  /// The best, best first, at most k of them. Ends the selection: call clear() before the next offer.
  std::span<const Scored<T>> sorted() {
    std::sort_heap(heap_.begin(), heap_.end(), ranks_before<T>);
    return heap_;
  }
  /// Forgets everything offered, keeps the memory.
  void clear() noexcept {
    heap_.clear();
    worst_ = -std::numeric_limits<T>::infinity();
  }

 private:
  /// A heap with its worst entry in front.
  void insert(Scored<T> entry) {
    if (heap_.size() == k_) {
      std::pop_heap(heap_.begin(), heap_.end(), ranks_before<T>);
      heap_.back() = entry;
    } else {
      heap_.push_back(entry);
    }
    std::push_heap(heap_.begin(), heap_.end(), ranks_before<T>);
    if (heap_.size() == k_) worst_ = heap_.front().score;
  }
  std::size_t k_;
  std::vector<Scored<T>> heap_;
  T worst_ = -std::numeric_limits<T>::infinity();
};

/// The k best of one row of scores, ids 0 .. scores.size() - 1; fewer when fewer are above -infinity.
/// Throws ConfigError unless k >= 1, NumericError on NaN.
template <class T>
std::vector<Scored<T>> top_k(std::span<const T> scores, Index k) {
  TopKSelector<T> selector(k);
  selector.offer(scores, 0);
  const auto best = selector.sorted();
  return {best.begin(), best.end()};
}

}  // namespace rearm

REARM_LOOPS_END
