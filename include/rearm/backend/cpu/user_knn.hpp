#pragma once
/// @file user_knn.hpp
/// Users' features (the mean of their items') and their nearest neighbors, directly or through the items' cosines.

#include <rearm/backend/cpu/knn.hpp>
#include <rearm/backend/cpu/simd.hpp>
#include <rearm/data/interactions.hpp>
#include <rearm/graph/item_neighbors.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <span>
#include <vector>

namespace rearm::REARM_ABI {

/// A user's feature row is the mean of its items' rows, formed on demand; zero for a user without items.
template <class Features>
struct UserMeanRows {
  const Adjacency& items_by_user;
  const Features& features;
  Index rows() const noexcept { return items_by_user.rows(); }
  Index cols() const noexcept { return features.cols(); }
  /// out = rows [begin, begin + out.rows), summed in double in order of item id.
  template <class T>
  void copy_rows(Index begin, MatrixView<T> out) const {
    Matrix<T> item(1, out.cols);
    std::vector<double> sum(static_cast<std::size_t>(out.cols));
    for (Index i = 0; i < out.rows; ++i) {
      const auto items = items_by_user.row(begin + i);
      std::ranges::fill(sum, 0.0);
      for (const Id id : items) {
        features.copy_rows(Index{id}, item.view());
        for (Index j = 0; j < out.cols; ++j) sum[static_cast<std::size_t>(j)] += static_cast<double>(item(0, j));
      }
      const double n = static_cast<double>(std::max<std::size_t>(items.size(), 1));
      for (Index j = 0; j < out.cols; ++j) out(i, j) = static_cast<T>(sum[static_cast<std::size_t>(j)] / n);
    }
  }
};

/// X_u = mean over i in items(u) of X_i, n_users x dim; a zero row for a user without items.
template <HostBackend B, FeatureRows<typename B::Scalar> Features>
Matrix<typename B::Scalar> user_mean_features(Context<B>& ctx, const Adjacency& items_by_user,
                                              const Features& features) {
  Matrix<typename B::Scalar> out(items_by_user.rows(), features.cols());
  const UserMeanRows<Features> mean{items_by_user, features};
  B::for_each(ctx, out.rows(), [&](Index u, SoleLane) { mean.copy_rows(u, out.view().row_block(u, 1)); });
  return out;
}

/// Cosine kNN of the users' mean features, by products of their rows. Cost and errors of `cosine_knn`.
template <HostBackend B, FeatureRows<typename B::Scalar> Features>
NeighborTable user_knn_direct(Context<B>& ctx, const Adjacency& items_by_user, const Features& features, Index k) {
  return cosine_knn(ctx, UserMeanRows<Features>{items_by_user, features}, k);
}

/// The cosines of all pairs of feature rows, n x n: only if that fits (see `user_knn`).
template <HostBackend B, FeatureRows<typename B::Scalar> Features>
Matrix<typename B::Scalar> cosine_matrix(Context<B>& ctx, const Features& features) {
  using T = typename B::Scalar;
  Matrix<T> gram(features.rows(), features.rows());
  detail::for_each_block_pair(ctx, features, [&](Index i, ConstView<T> a, Index j, ConstView<T> b) {
    const MatrixView<T> tile = gram.view().row_block(i, a.rows).col_block(j, b.rows);
    B::gemm(ctx, Op::none, Op::transpose, T{1}, a, b, tile, Write::overwrite);
    if (i == j) return;
    detail::for_each_column(
        ctx, tile, [&](Index c, std::span<const T> column) { std::ranges::copy(column, gram.row(j + c) + i); });
  });
  return gram;
}

namespace detail {

/// Users' cosines through the items': X_u . X_u' is proportional to
/// sum over i in items(u), j in items(u') of w_i G_ij w_j, with G the items' cosines and w their norms.
template <HostBackend B>
class UserCosines {
 public:
  using T = typename B::Scalar;
  /// Users per block: their cosines with one user stay in registers, their sums over the items in a nearby cache.
  static constexpr Index width = 32;

  template <class Features>
  UserCosines(Context<B>& ctx, const Adjacency& items_by_user, const Features& features)
      : items_(items_by_user),
        gram_(cosine_matrix(ctx, features)),
        weight_(features.rows()),
        inverse_norm_(items_by_user.rows()) {
    Buffer<double> norms(features.rows());
    B::for_each(ctx, features.rows(), [&](Index i, SoleLane) {
      Matrix<T> row(1, features.cols());
      features.copy_rows(i, row.view());
      norms[i] = finite_norm(row.data(), row.cols(), i);
    });
    const double top = norms.empty() ? 0.0 : *std::max_element(norms.begin(), norms.end());
    for (Index i = 0; i < norms.size(); ++i) weight_[i] = top > 0 ? static_cast<T>(norms[i] / top) : T{0};
    B::for_each(ctx, items_.rows(), [&](Index u, SoleLane) { inverse_norm_[u] = invert_norm(u); });
  }

  ConstView<T> of_items() const { return gram_.view(); }

  /// Offers each of users [begin, begin + count), count <= width, its cosines with all users.
  void rank(Index begin, Index count, TopKSelector<T>* best) const {
    const Matrix<T> sums = sum_items(begin, count);
    constexpr int parts = width / cpu::simd_width;
    cpu::Vector16<T> inverse[parts] = {};
    cpu::Vector16<T> worst[parts];  // above every cosine in a column without a user
    for (Index c = 0; c < width; ++c) {
      inverse[c / cpu::simd_width][c % cpu::simd_width] = c < count ? inverse_norm_[begin + c] : T{0};
      worst[c / cpu::simd_width][c % cpu::simd_width] = c < count ? best[c].worst() : T{2};
    }
    for (Index u = 0; u < items_.rows(); ++u) {
      cpu::Vector16<T> cosine[parts] = {};
      for (const Id item : items_.row(u)) {
        const T* sum = sums.row(item);
        const T weight = weight_[item];
        for (int part = 0; part < parts; ++part) {
          cpu::Vector16<T> addend;
          cpu::load_entries(sum + part * cpu::simd_width, addend);
          cosine[part] += addend * weight;
        }
      }
      cpu::Mask16<T> enters[parts];
      cpu::Mask16<T> any = {};
      for (int part = 0; part < parts; ++part) {
        cosine[part] *= inverse[part] * inverse_norm_[u];
        enters[part] = ~(cosine[part] <= worst[part]);  // NaN does not slip through
        any |= enters[part];
      }
      if (!cpu::any_entry<T>(any)) continue;
      for (Index c = 0; c < width; ++c) {
        const Index part = c / cpu::simd_width;
        const Index entry = c % cpu::simd_width;
        if (enters[part][entry] == 0) continue;
        best[c].offer(cosine[part][entry], static_cast<Id>(u));
        worst[part][entry] = best[c].worst();
      }
    }
  }

 private:
  T invert_norm(Index u) const {
    double square = 0;
    double length = 0;
    for (const Id i : items_.row(u)) {
      length += static_cast<double>(weight_[i]);
      for (const Id j : items_.row(u)) square += static_cast<double>(weight_[i] * weight_[j] * gram_(i, j));
    }
    // Items that cancel out leave only rounding of the cosines, which must not be blown up into a direction.
    const double rounding = 16 * static_cast<double>(std::numeric_limits<T>::epsilon()) * length * length;
    return square > rounding ? static_cast<T>(1.0 / std::sqrt(square)) : T{0};
  }
  /// Row i, column c: sum over j in items(begin + c) of w_j G_ij. Columns from `count` on are zero.
  Matrix<T> sum_items(Index begin, Index count) const {
    const Index n_items = gram_.rows();
    Matrix<T> sums(n_items, width);
    Matrix<T> strip(strip_width, n_items);
    for (Index first = 0; first < count; first += strip_width) {
      const Index n = std::min(strip_width, count - first);
      for (Index c = 0; c < n; ++c) {
        T* REARM_RESTRICT out = strip.row(c);
        std::fill_n(out, n_items, T{0});
        for (const Id item : items_.row(begin + first + c)) {
          const T* REARM_RESTRICT cosines = gram_.row(item);
          const T weight = weight_[item];
          for (Index i = 0; i < n_items; ++i) out[i] += weight * cosines[i];
        }
      }
      for (Index i = 0; i < n_items; ++i)
        for (Index c = 0; c < n; ++c) sums(i, first + c) = strip(c, i);
    }
    return sums;
  }

  const Adjacency& items_;
  Matrix<T> gram_;
  Buffer<T> weight_;        ///< norms of the items' rows, scaled so that the greatest is 1
  Buffer<T> inverse_norm_;  ///< of the users' sums; 0 for a zero sum
};

}  // namespace detail

/// The same neighbors without forming a user's features: the cosine of two means depends on the items' cosines and
/// norms alone. M^2 dim / 2 + pairs (M + N) multiply-adds and M^2 values, for M items, N users. A user without items,
/// or whose items cancel out, has cosine 0 with all. Throws what `cosine_knn` throws. Fills `of_items` if wanted.
template <HostBackend B, FeatureRows<typename B::Scalar> Features>
NeighborTable user_knn_through_items(Context<B>& ctx, const Adjacency& items_by_user, const Features& features, Index k,
                                     ItemNeighbors* of_items = nullptr) {
  using T = typename B::Scalar;
  const Index n = items_by_user.rows();
  detail::require_knn_k(k, n, "k", "users");
  const detail::UserCosines<B> cosines(ctx, items_by_user, features);
  if (of_items != nullptr && of_items->k > 0) {
    const ConstView<T> gram = cosines.of_items();
    std::vector<TopKSelector<T>> best(static_cast<std::size_t>(gram.rows),
                                      TopKSelector<T>(of_items->k + detail::tie_margin));
    B::for_each(ctx, gram.rows, [&](Index i, SoleLane) {
      best[static_cast<std::size_t>(i)].offer({gram.row(i), static_cast<std::size_t>(gram.cols)}, 0);
    });
    of_items->table = detail::collect(ctx, features, best, of_items->k);
  }
  std::vector<TopKSelector<T>> best(static_cast<std::size_t>(n), TopKSelector<T>(k + detail::tie_margin));
  cpu::parallel_ranges(ctx.resources(), n, detail::UserCosines<B>::width,
                       [&](Index begin, Index end) { cosines.rank(begin, end - begin, best.data() + begin); });
  return detail::collect(ctx, UserMeanRows<Features>{items_by_user, features}, best, k);
}

/// Whether `user_knn` goes through the items: their cosine matrix fits and the work is less. A multiply-add outside a
/// dense product counts as four.
template <class T>
bool cheaper_through_items(Index n_users, Index n_items, Index pairs, Index dim, std::size_t gram_bytes) {
  const auto x = [](Index i) { return static_cast<double>(i); };
  if (x(n_items) * x(n_items) * sizeof(T) > static_cast<double>(gram_bytes)) return false;
  const double direct = x(n_users) * x(n_users) / 2 * x(dim);
  return x(n_items) * x(n_items) / 2 * x(dim) + 4 * x(pairs) * (x(n_items) + x(n_users)) < direct;
}

/// Cosine kNN of the users' mean features in the cheaper way, with at most `gram_bytes` for the items' cosines. Only
/// the way through the items fills `of_items`.
template <HostBackend B, FeatureRows<typename B::Scalar> Features>
NeighborTable user_knn(Context<B>& ctx, const Adjacency& items_by_user, const Features& features, Index k,
                       std::size_t gram_bytes, ItemNeighbors* of_items = nullptr) {
  const bool through_items = cheaper_through_items<typename B::Scalar>(
      items_by_user.rows(), features.rows(), static_cast<Index>(items_by_user.ids.size()), features.cols(), gram_bytes);
  return through_items ? user_knn_through_items(ctx, items_by_user, features, k, of_items)
                       : user_knn_direct(ctx, items_by_user, features, k);
}

}  // namespace rearm::REARM_ABI
