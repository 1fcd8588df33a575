#pragma once
/// @file light_gcn.hpp
/// LightGCN (He et al., SIGIR'20) as equations on the tape: what a model of one's own looks like.

#include <rearm/rearm.hpp>

#include <cstdint>

namespace rearm::support {

/// Satisfies Trainable<B>. E = mean of A^l E0 over layers l = 0..L; BPR plus the L2 norm of the batch's rows of E0.
template <Backend B>
class LightGcn {
 public:
  using T = typename B::Scalar;
  struct Losses {
    Var<B> total, bpr, l2;
    LossParts<B> parts() const { return {total, bpr, {}, {}, l2}; }
  };

  LightGcn(const Dataset& data, const Config& config)
      : n_users_(data.n_users),
        n_items_(data.n_items),
        n_layers_(config.n_ui_layers),
        l2_weight_(config.l2_weight),
        graph_(Graph::from_host(SparseOperator<T>::symmetric(cast<T>(interaction_graph(
            items_by_user(data.train, data.n_users), users_by_item(data.train, data.n_items), 0.0))))),
        nodes_(&parameters_.add("nodes", data.n_users + data.n_items, config.embedding_dim)) {
    init_normal(*nodes_, 0.1, config.seed);
  }

  ParameterStore<B>& parameters() { return parameters_; }
  Var<B> representation(Tape<B>& tape) { return propagate_mean(graph_, tape.parameter(*nodes_), n_layers_); }

  Losses loss(Tape<B>& tape, BatchView<typename B::Memory> batch, std::uint32_t) {
    const IndexList users = make_index_list(tape.context(), batch.users, n_users_);
    const IndexList positives = make_index_list(tape.context(), batch.positives, n_items_);
    const IndexList negatives = make_index_list(tape.context(), batch.negatives, n_items_);
    const Var<B> e0 = tape.parameter(*nodes_);
    const Var<B> e = propagate_mean(graph_, e0, n_layers_);
    const T share = T{1} / static_cast<T>(batch.size());
    const auto items = [&](Var<B> nodes, const IndexList& ids) { return gather(nodes.rows(n_users_, n_items_), ids); };
    Losses out;
    out.bpr = bpr(gather(e, users), items(e, positives), items(e, negatives), share);
    const Var<B> own = concat_rows<B>({gather(e0, users), items(e0, positives), items(e0, negatives)});
    out.l2 = sum_of_squares(own, static_cast<T>(l2_weight_) * share / 2);
    out.total = add(out.bpr, out.l2);
    return out;
  }

 private:
  using Graph = SparseOperator<T, typename B::Memory>;
  Index n_users_;
  Index n_items_;
  int n_layers_;
  double l2_weight_;
  Graph graph_;
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
