#pragma once
/// @file explain.hpp
/// What a score is made of, whatever the model: parts of the representations, and the items that the user has.

#include <rearm/core/cholesky.hpp>
#include <rearm/core/matrix.hpp>

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// A score u . q_i in parts.
struct ScoreParts {
  double score = 0;
  std::vector<double> columns;  ///< sums over blocks of columns of u_c q_ic; together the score
  std::vector<double> items;    ///< of each of the user's items, in their order
  double rest = 0;              ///< what these do not explain; with them the score
};

/// Splits a user's scores. The user's row is written as a combination of the rows of the user's items,
///     u = sum_{j in S} w_j q_j + e,   w = argmin |u - sum_j w_j q_j|^2 + lambda |w|^2
///       = Q_S (Q_S^T Q_S + lambda I)^-1 u,   lambda = ridge trace(Q_S^T Q_S) / D,
/// so that u . q_i = sum_j w_j (q_j . q_i) + e . q_i: item j contributes w_j (q_j . q_i), and e . q_i is the rest. This
/// says how the score can be made of those items, not how the model was trained.
template <class T>
class ScoreExplainer {
 public:
  /// `user` is 1 x D, `items` n_items x D, both on the host and alive as long as this; `seen` the user's items. The
  /// columns are split into `n_blocks` of the same width. Throws ShapeError for widths that do not fit, DataError for
  /// an item out of range, NumericError for rows that are not finite. Cost: |S| D^2 + D^3 / 6 multiply-adds.
  ScoreExplainer(ConstView<T> user, ConstView<T> items, std::span<const Id> seen, Index n_blocks = 1,
                 double ridge = 1e-2)
      : user_(user), items_(items), seen_(seen.begin(), seen.end()), n_blocks_(n_blocks) {
    const Index d = items.cols;
    if (user.rows != 1 || user.cols != d || n_blocks < 1 || d % n_blocks != 0)
      throw ShapeError(detail::message("explain: a user of ", shape_string(user), " and items of ", shape_string(items),
                                       " in ", n_blocks, " blocks"));
    Matrix<double> a(d, d);
    for (const Id item : seen_) {
      require_item(item);
      for (Index i = 0; i < d; ++i)
        for (Index j = 0; j <= i; ++j) a(i, j) += at(item, i) * at(item, j);
    }
    double trace = 0;
    for (Index c = 0; c < d; ++c) trace += a(c, c);
    for (Index c = 0; c < d; ++c) a(c, c) += ridge * trace / static_cast<double>(d) + 1e-30;
    std::vector<double> x(static_cast<std::size_t>(d));
    for (Index c = 0; c < d; ++c) x[static_cast<std::size_t>(c)] = static_cast<double>(user(0, c));
    if (trace > 0) Cholesky(std::move(a)).solve(x.data());
    for (const Id item : seen_) {
      double sum = 0;
      for (Index c = 0; c < d; ++c) sum += at(item, c) * x[static_cast<std::size_t>(c)];
      weights_.push_back(sum);
    }
  }
  /// w_j of the user's items.
  const std::vector<double>& weights() const noexcept { return weights_; }
  /// Throws DataError for an item out of range.
  ScoreParts explain(Id item) const {
    require_item(item);
    ScoreParts out;
    out.columns.assign(static_cast<std::size_t>(n_blocks_), 0.0);
    const Index width = items_.cols / n_blocks_;
    for (Index c = 0; c < items_.cols; ++c)
      out.columns[static_cast<std::size_t>(c / width)] += static_cast<double>(user_(0, c)) * at(item, c);
    for (const double part : out.columns) out.score += part;
    out.rest = out.score;
    for (std::size_t j = 0; j < seen_.size(); ++j) {
      double product = 0;
      for (Index c = 0; c < items_.cols; ++c) product += at(seen_[j], c) * at(item, c);
      out.items.push_back(weights_[j] * product);
      out.rest -= out.items.back();
    }
    return out;
  }

 private:
  double at(Id item, Index c) const { return static_cast<double>(items_(item, c)); }
  void require_item(Id item) const {
    if (item < 0 || item >= items_.rows)
      throw DataError(detail::message("explain: item ", item, " is outside [0, ", items_.rows, ")"));
  }
  ConstView<T> user_, items_;
  std::vector<Id> seen_;
  Index n_blocks_;
  std::vector<double> weights_;
};

}  // namespace rearm::REARM_ABI
