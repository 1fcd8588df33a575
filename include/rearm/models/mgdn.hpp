#pragma once
/// @file mgdn.hpp
/// MGDN (Hu et al., "MGDCF: Distance learning via Markov graph diffusion for neural collaborative filtering", TKDE'24)
/// on the graph of users and items, with InfoBPR, as the authors' program computes it. docs/models/mgdn.md.

#include <rearm/autodiff/ops.hpp>
#include <rearm/data/dataset.hpp>
#include <rearm/graph/bipartite.hpp>
#include <rearm/graph/options.hpp>
#include <rearm/loss/info_bpr.hpp>
#include <rearm/train/config.hpp>
#include <rearm/train/recommender.hpp>

#include <cmath>
#include <cstdint>
#include <new>
#include <span>
#include <string_view>

namespace rearm::REARM_ABI {

struct MgdnConfig {
  int embedding_dim = 64;
  int n_layers = 4;
  double alpha = 0.1;
  double beta = 0.9;
  double input_dropout = 0.3;
  double edge_dropout = 0.5;
  double output_dropout = 0.1;
  int n_negatives = 300;
  double reg_weight = 1e-4;

  friend bool operator==(const MgdnConfig&, const MgdnConfig&) = default;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"embedding_dim", "width of every embedding", between(1, 1024)}, c.embedding_dim);
    f(Field{"n_layers", "steps of the diffusion", between(0, 100)}, c.n_layers);
    f(Field{"alpha", "share of a node's own embedding in each step", at_least(0)}, c.alpha);
    f(Field{"beta", "share of its neighbors in each step", above(0)}, c.beta);
    f(Field{"input_dropout", "probability of dropping an entry of the embeddings", between(0, 1)}, c.input_dropout);
    f(Field{"edge_dropout", "probability of dropping a direction of an edge", between(0, 1)}, c.edge_dropout);
    f(Field{"output_dropout", "probability of dropping an entry of what the diffusion made", between(0, 1)},
      c.output_dropout);
    f(Field{"n_negatives", "items drawn beside each pair, the user's own among them", between(1, 100000)},
      c.n_negatives);
    f(Field{"reg_weight", "weight of half the squares of all that the diffusion made", at_least(0)}, c.reg_weight);
  }
  /// The program's: batches of 8000, learning rate 1e-2 times 0.98 an epoch, validation every 20 of 2000 epochs, no
  /// early end.
  static TrainConfig train_defaults() {
    TrainConfig train;
    train.negatives = Negatives::exclude_train;
    train.batch_size = 8000;
    train.learning_rate = 1e-2;
    train.lr_decay = 0.98;
    train.epochs = 2000;
    train.eval_every = 20;
    train.patience = 2000;
    return train;
  }
};

template <Backend B>
class Mgdn {
 public:
  using T = Real<B>;
  using Config = MgdnConfig;
  using Graph = SparseOperator<T, typename B::Memory>;
  static constexpr std::string_view name = "mgdn";

  /// Throws ConfigError for settings out of range, DataError for ids out of range.
  static void check(const Config& config, const Dataset& data) {
    check_limits(config);
    detail::require_consistent(data);
  }

  Mgdn(Context<B>& ctx, const Dataset& data, const Config& config, const GraphOptions& = {}) try
      : config_((check(config, data), config)),
        n_users_(data.n_users),
        n_items_(data.n_items),
        graph_(self_loop_interaction<B>(data, true)),
        nodes_(parameters_.add("node_id", n_users_ + n_items_, config.embedding_dim)) {
    init_normal(nodes_, 1 / std::sqrt(static_cast<double>(config.embedding_dim)), ctx.seed());
  } catch (const std::bad_alloc&) {
    detail::throw_out_of_memory("making Mgdn");
  }
  Mgdn(const Mgdn&) = delete;
  Mgdn& operator=(const Mgdn&) = delete;

  ParameterStore<B>& parameters() { return parameters_; }
  void train_on(const Interactions& pairs) { graph_.train_on(pairs); }

  /// What a training step draws. Another class with these members stands in for it where the draws are known.
  struct Draws {
    Context<B>* ctx;
    const Config* config;
    Index n_items;
    std::uint32_t step;

    Var<B> inputs(Var<B> x) const { return dropout(x, config->input_dropout, key(1)); }
    Edges<T> edges(const Graph& graph) const { return drop_edges(*ctx, graph, config->edge_dropout, key(2)); }
    Var<B> outputs(Var<B> h) const { return dropout(h, config->output_dropout, key(3)); }
    /// A row for each positive: itself and the items drawn beside it.
    IndexList candidates(std::span<const Id> positives) const {
      return draw_beside(*ctx, static_cast<Index>(positives.size()), positives, 0, n_items, config->n_negatives, key(4),
                         n_items);
    }
    RandomKey key(std::uint32_t purpose) const { return ctx->key(0x4D470000 + purpose, step); }
  };

  /// h_0 = X, h_l = beta A h_{l-1} + alpha h_0; h_k / g, g what that makes of 1.
  Embeddings<B> embeddings(Tape<B>& tape, const Step<B>&) {
    return split(diffused(all_edges(graph_(false)), tape.parameter(nodes_)));
  }

  Loss<B> loss(Tape<B>& tape, const Step<B>& step) {
    return loss(tape, step, Draws{&tape.context(), &config_, n_items_, step.number});
  }
  /// The same of X and A after dropout, then dropout again: H. The sum over the batch of
  /// log sum_j exp(h_u . h_j) - h_u . h_p, j the positive p or drawn, and reg_weight / 2 ||H||^2.
  template <class Draws_>
  Loss<B> loss(Tape<B>& tape, const Step<B>& step, const Draws_& draws) {
    Context<B>& ctx = tape.context();
    const Var<B> x = draws.inputs(tape.parameter(nodes_));
    const Var<B> h = draws.outputs(diffused(draws.edges(graph_(true)), x));
    const Embeddings<B> of = split(h);
    const Var<B> users = gather(of.users, make_index_list(ctx, step.batch.users, n_users_));
    const Var<B> scores = sampled_scores(users, of.items, draws.candidates(step.batch.positives));
    const auto half = static_cast<T>(config_.reg_weight / 2);
    return {{"info_bpr", first_is_right(scores)}, {"reg", half == 0 ? Var<B>() : sum_of_squares(h, half)}};
  }

 private:
  Var<B> diffused(const Edges<T>& edges, Var<B> x) const {
    return diffuse(edges, x, config_.alpha, config_.beta, config_.n_layers);
  }
  Embeddings<B> split(Var<B> nodes) const { return {nodes.rows(0, n_users_), nodes.rows(n_users_, n_items_)}; }

  Config config_;
  Index n_users_;
  Index n_items_;
  InteractionGraph<B> graph_;
  ParameterStore<B> parameters_;
  Parameter<B>& nodes_;
};

}  // namespace rearm::REARM_ABI
