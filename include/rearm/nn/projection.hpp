#pragma once
/// @file projection.hpp
/// Raw features of one modality to embeddings of items and of users (paper eq. 3), for all three kinds of features.

#include <rearm/data/dataset.hpp>
#include <rearm/graph/user_mean.hpp>
#include <rearm/model/config.hpp>
#include <rearm/nn/linear.hpp>

#include <string>

namespace rearm {

/// Items: X W_i^T + b_i. Users: the mean of their items' raw features, W_u, b_u. With `trainable` features both X and
/// the users' means are parameters of their own; with fixed ones the users' projection is R_mean (X W_u^T) + b_u, the
/// same numbers without ever forming an n_users x width array. `residual` adds a free embedding, zero at the start.
template <Backend B>
class Projection {
 public:
  using T = typename B::Scalar;

  /// `user_mean` is the row-normalised user x item matrix and must outlive this object.
  Projection(Context<B>& ctx, ParameterStore<B>& store, const Modality& modality, const Dataset& data,
             const Config& config, const SparseOperator<T, typename B::Memory>* user_mean)
      : user_mean_(user_mean) {
    const Index width = modality.features.cols();
    const Index d = config.embedding_dim;
    const bool trainable = config.features == Features::trainable;
    items_ = &store.add("item_features." + modality.name, data.n_items, width, true);
    items_->trainable = items_->persistent = trainable;
    write_from_host(items_->value, [&](Index begin, MatrixView<T> rows) { modality.features.copy_rows(begin, rows); });
    modality.features.drop_pages();
    if (trainable) {
      users_ = &store.add("user_features." + modality.name, data.n_users, width, true);
      spmm(ctx, user_mean->view(), items_->value.view(), users_->value.view());
    }
    item_projection_ = Linear<B>(store, "item_projection." + modality.name, width, d, config.seed);
    user_projection_ = Linear<B>(store, "user_projection." + modality.name, width, d, config.seed);
    init_xavier_normal(item_projection_.weight(), config.seed);
    init_xavier_normal(user_projection_.weight(), config.seed);
    if (config.features == Features::residual) {
      item_residual_ = &store.add("item_residual." + modality.name, data.n_items, d);
      user_residual_ = &store.add("user_residual." + modality.name, data.n_users, d);
      item_residual_->learning_rate_scale = config.residual_learning_rate_scale;
      user_residual_->learning_rate_scale = config.residual_learning_rate_scale;
    }
  }

  Var<B> items(Tape<B>& tape) const {
    Var<B> projected = item_projection_(tape.parameter(*items_));
    return item_residual_ == nullptr ? projected : add(projected, tape.parameter(*item_residual_));
  }
  Var<B> users(Tape<B>& tape) const {
    if (users_ != nullptr) return user_projection_(tape.parameter(*users_));
    Var<B> of_items = linear(tape.parameter(*items_), tape.parameter(user_projection_.weight()));
    Var<B> projected = add(spmm(*user_mean_, of_items), tape.parameter(user_projection_.bias()));
    return user_residual_ == nullptr ? projected : add(projected, tape.parameter(*user_residual_));
  }

 private:
  const SparseOperator<T, typename B::Memory>* user_mean_;
  Parameter<B>* items_ = nullptr;
  Parameter<B>* users_ = nullptr;
  Parameter<B>* item_residual_ = nullptr;
  Parameter<B>* user_residual_ = nullptr;
  Linear<B> item_projection_;
  Linear<B> user_projection_;
};

}  // namespace rearm
