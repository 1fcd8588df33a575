#pragma once
/// @file projection.hpp
/// Raw features of one modality to embeddings of items and of users (REARM eq. 3), for all three kinds of features.

#include <rearm/autodiff/project.hpp>
#include <rearm/data/dataset.hpp>
#include <rearm/graph/share.hpp>
#include <rearm/nn/feature_config.hpp>
#include <rearm/nn/linear.hpp>
#include <rearm/nn/raw_features.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>

namespace rearm::REARM_ABI {

/// Items: X W_i^T + b_i. Users: the mean of their items' raw features, W_u, b_u. With `trainable` features both X and
/// the users' means are parameters of their own; with fixed ones the users' projection is R_mean (X W_u^T) + b_u, the
/// same numbers without ever forming an n_users x width array. `residual` adds a free embedding, zero at the start.
/// With `normalize` each item's raw features have length 1, so that those of another scale do not outweigh the ids.
/// With `bfloat16_tables` the raw features, X and the users' means, are kept in bfloat16.
template <Backend B>
class Projection {
 public:
  using T = Real<B>;

  /// `user_mean` is the row-normalized user x item matrix and must outlive this object. With `blocks` ranks share the
  /// rows of all tables and embeddings, and of that matrix.
  Projection(Context<B>& ctx, ParameterStore<B>& store, const Modality& modality, const Dataset& data,
             const FeatureConfig& config, Index d, const SparseOperator<T, typename B::Memory>* user_mean,
             const NodeBlocks& blocks = {})
      : user_mean_(user_mean) {
    const Index width = modality.features.cols();
    const std::uint64_t seed = ctx.seed();
    const bool trainable = config.kind == Features::trainable;
    const bool rounded = config.bfloat16_tables;
    const auto table = [&](const char* owner, Index rows, const std::shared_ptr<const RowBlocks>& of) {
      return &store.add_table(owner + modality.name, rows, width, rounded, of);
    };
    items_ = table("item_features.", data.n_items, blocks.items);
    items_->trainable = items_->persistent = trainable;
    fill_features(*items_, modality, config.normalize);
    if (trainable) {
      users_ = table("user_features.", data.n_users, blocks.users);
      fill_users(ctx);
    }
    item_projection_ = Linear<B>(store, "item_projection." + modality.name, width, d, seed);
    user_projection_ = Linear<B>(store, "user_projection." + modality.name, width, d, seed);
    init_xavier_normal(item_projection_.weight(), seed);
    init_xavier_normal(user_projection_.weight(), seed);
    if (config.kind == Features::residual) {
      item_residual_ = &store.add("item_residual." + modality.name, data.n_items, d, blocks.items);
      user_residual_ = &store.add("user_residual." + modality.name, data.n_users, d, blocks.users);
      item_residual_->learning_rate_scale = config.residual_learning_rate_scale;
      user_residual_->learning_rate_scale = config.residual_learning_rate_scale;
    }
  }

  Var<B> items(Tape<B>& tape) const {
    Var<B> projected = project(tape, *items_, item_projection_.weight(), &item_projection_.bias());
    return item_residual_ == nullptr ? projected : add(projected, tape.parameter(*item_residual_));
  }
  Var<B> users(Tape<B>& tape) const {
    Parameter<B>& weight = user_projection_.weight();
    Parameter<B>& bias = user_projection_.bias();
    if (users_ != nullptr) return project(tape, *users_, weight, &bias);
    Var<B> of_items = project(tape, *items_, weight);
    Var<B> projected = add(spmm(*user_mean_, of_items), tape.parameter(bias));
    return user_residual_ == nullptr ? projected : add(projected, tape.parameter(*user_residual_));
  }

 private:
  /// The mean of each user's items.
  void fill_users(Context<B>& ctx) {
    items_->with_values([&]<class X>(MatrixView<X> items) {
      users_->with_values([&]<class Y>(MatrixView<Y> users) {
        if constexpr (std::is_same_v<X, Y>) mean_of_items(ctx, items, users);
      });
    });
  }
  void mean_of_items(Context<B>& ctx, In<B> items, Out<B> users) {
    if (user_mean_->halo() == nullptr) return spmm(ctx, user_mean_->view(), items, users);
    for (Index first = 0; first < items.cols; first += most_columns) {
      const Index n = std::min(most_columns, items.cols - first);
      spmm<B>(ctx, user_mean_->view(), user_mean_->halo(), items.col_block(first, n), users.col_block(first, n));
    }
  }
  /// By columns, so that next to nothing is needed beside the tables.
  void mean_of_items(Context<B>& ctx, ConstView<BFloat16> items, MatrixView<BFloat16> users) {
    Matrix<T, typename B::Memory> wide_items(items.rows, most_columns), wide_users(users.rows, most_columns);
    for (Index first = 0; first < items.cols; first += most_columns) {
      const Index n = std::min(most_columns, items.cols - first);
      const MatrixView<T> from = wide_items.view().col_block(0, n);
      const MatrixView<T> to = wide_users.view().col_block(0, n);
      B::for_each(ctx, from.rows, functors::ConvertRow<BFloat16, T>{items.col_block(first, n), from});
      spmm<B>(ctx, user_mean_->view(), user_mean_->halo(), from, to);
      B::for_each(ctx, to.rows, functors::ConvertRow<T, BFloat16>{to, users.col_block(first, n)});
    }
  }

  static constexpr Index most_columns = 128;
  const SparseOperator<T, typename B::Memory>* user_mean_;
  FeatureTable<B>* items_ = nullptr;
  FeatureTable<B>* users_ = nullptr;
  Parameter<B>* item_residual_ = nullptr;
  Parameter<B>* user_residual_ = nullptr;
  Linear<B> item_projection_;
  Linear<B> user_projection_;
};

}  // namespace rearm::REARM_ABI
