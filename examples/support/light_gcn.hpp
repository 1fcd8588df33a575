#pragma once
/// @file light_gcn.hpp
/// LightGCN (He et al., SIGIR'20) as equations on the tape: what a model of one's own looks like.

#include <rearm/rearm.hpp>

#include <span>
#include <vector>

namespace rearm::support {

/// Satisfies Trainable<B>. E = mean of A^l E0 over layers l = 0..L; BPR plus the L2 norm of the batch's rows of E0.
template <Backend B>
class LightGcn {
 public:
  using T = typename B::Scalar;
  struct Losses {
    Var<B> total, bpr, l2;
    LossValues values() const {
      return {.total = total.value()(0, 0), .bpr = bpr.value()(0, 0), .l2 = l2.value()(0, 0)};
    }
  };

  LightGcn(const Dataset& data, const Config& config)
      : n_users_(data.n_users),
        n_layers_(config.n_ui_layers),
        l2_weight_(config.l2_weight),
        graph_(SparseOperator<T>::symmetric(cast<T>(
            interaction_graph(items_by_user(data.train, data.n_users), users_by_item(data.train, data.n_items), 0.0)))),
        nodes_(&parameters_.add("nodes", data.n_users + data.n_items, config.embedding_dim)) {
    init_normal(*nodes_, 0.1, config.seed);
  }

  ParameterStore<B>& parameters() { return parameters_; }
  Var<B> representation(Tape<B>& tape) { return propagate_mean(graph_, tape.parameter(*nodes_), n_layers_); }

  Losses loss(Tape<B>& tape, const Batch& batch, std::uint32_t) {
    const auto rows = [&](const std::vector<Id>& ids, Index first) {
      std::vector<Id> shifted;
      for (const Id id : ids) shifted.push_back(id + static_cast<Id>(first));
      return make_index_list(tape.context(), std::span<const Id>(shifted), graph_.rows());
    };
    const IndexList users = rows(batch.users, 0);
    const IndexList positives = rows(batch.positives, n_users_);
    const IndexList negatives = rows(batch.negatives, n_users_);
    const Var<B> e0 = tape.parameter(*nodes_);
    const Var<B> e = propagate_mean(graph_, e0, n_layers_);
    const T share = T{1} / static_cast<T>(batch.size());
    Losses out;
    out.bpr = bpr(gather(e, users), gather(e, positives), gather(e, negatives), share);
    const Var<B> own = concat_rows<B>({gather(e0, users), gather(e0, positives), gather(e0, negatives)});
    out.l2 = sum_of_squares(own, static_cast<T>(l2_weight_) * share / 2);
    out.total = add(out.bpr, out.l2);
    return out;
  }

 private:
  Index n_users_;
  int n_layers_;
  double l2_weight_;
  SparseOperator<T> graph_;
  ParameterStore<B> parameters_;
  Parameter<B>* nodes_;
};

/// Settings of LightGCN for `custom_model`: Adam without decay, L2 in the loss, negatives outside train.
inline Config light_gcn_config() {
  Config c;
  c.variant = Variant::paper;
  c.features = Features::frozen;
  c.n_ui_layers = 3;
  c.learning_rate = 1e-3;
  c.epochs = 1000;
  c.l2_weight = 1e-4;
  c.negatives = Negatives::exclude_train;
  return c;
}

}  // namespace rearm::support
