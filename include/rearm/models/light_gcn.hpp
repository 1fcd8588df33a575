#pragma once
/// @file light_gcn.hpp
/// LightGCN (He et al., "LightGCN: Simplifying and powering graph convolution network for recommendation", SIGIR'20),
/// with the regularizer of MMRec or the paper's. docs/models/light_gcn.md.

#include <rearm/data/dataset.hpp>
#include <rearm/graph/bipartite.hpp>
#include <rearm/graph/options.hpp>
#include <rearm/models/mmrec.hpp>
#include <rearm/train/recommender.hpp>

#include <string_view>

namespace rearm::REARM_ABI {

struct LightGcnConfig {
  int embedding_dim = 64;
  int n_layers = 3;
  double reg_weight = 1e-2;
  bool squared_reg = false;

  friend bool operator==(const LightGcnConfig&, const LightGcnConfig&) = default;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"embedding_dim", "width of every embedding", between(1, 1024)}, c.embedding_dim);
    f(Field{"n_layers", "propagation layers", between(0, 100)}, c.n_layers);
    f(Field{"reg_weight", "weight of the regularization of the batch's initial embeddings", at_least(0)}, c.reg_weight);
    f(Field{"squared_reg",
            "penalize half the mean squared norm of the embeddings (paper) instead of their norms (MMRec)"},
      c.squared_reg);
  }
  static TrainConfig train_defaults() { return mmrec::train_defaults(); }

  /// "synthetic": for make_synthetic(), the best of twenty tried on its validation split. Throws ConfigError for
  /// another name.
  static auto preset(std::string_view name) {
    if (name != "synthetic") throw ConfigError(detail::message("preset '", name, "': must be synthetic"));
    Settings<LightGcnConfig> s;
    s.train.learning_rate = 5e-3;
    s.train.batch_size = 1024;
    s.train.patience = 10;
    s.model.n_layers = 2;
    s.model.reg_weight = 1e-2;
    s.model.squared_reg = true;
    return s;
  }
};

template <Backend B>
class LightGcn {
 public:
  using Config = LightGcnConfig;
  static constexpr std::string_view name = "light_gcn";

  /// Throws ConfigError for settings out of range, DataError for ids out of range.
  static void check(const Config& config, const Dataset& data) {
    check_limits(config);
    detail::require_consistent(data);
  }

  LightGcn(Context<B>& ctx, const Dataset& data, const Config& config, const GraphOptions& = {}) try
      : config_((check(config, data), config)),
        blocks_(share_nodes(ctx, data)),
        graph_(data, 1e-7, blocks_),
        users_(parameters_.add("user_id", data.n_users, config.embedding_dim, blocks_.users)),
        items_(parameters_.add("item_id", data.n_items, config.embedding_dim, blocks_.items)) {
    init_xavier_uniform(users_, ctx.seed());
    init_xavier_uniform(items_, ctx.seed());
  } catch (const std::bad_alloc&) {
    detail::throw_out_of_memory("making LightGcn");
  }
  LightGcn(const LightGcn&) = delete;
  LightGcn& operator=(const LightGcn&) = delete;

  ParameterStore<B>& parameters() { return parameters_; }
  void train_on(const Interactions& pairs) { graph_.train_on(pairs); }

  /// E_0 = [U; V],  E = (E_0 + A E_0 + ... + A^L E_0) / (L + 1)
  Embeddings<B> embeddings(Tape<B>& tape, const Step<B>& step) {
    const Var<B> e = propagate_mean(graph_(step.training), initial(tape), config_.n_layers);
    return {e.rows(0, users_.rows()), e.rows(users_.rows(), items_.rows())};
  }

  Loss<B> loss(Tape<B>& tape, const Step<B>& step) {
    const IndexList nodes = triplet_nodes(tape.context(), step.batch, users_.rows(), items_.rows());
    const Var<B> e0 = initial(tape);
    // Before the propagation, so that backward it comes after: a few rows are added to a gradient that is there.
    const Triplets<B> own = triplets(split_gather(e0, nodes, 3));
    const Var<B> e = gather_propagate_mean(graph_(step.training), e0, config_.n_layers, nodes, 3);
    const Var<B> bpr = mmrec::bpr(triplets(e));
    const double weight = config_.reg_weight;
    return {{"bpr", bpr}, {"reg", config_.squared_reg ? square_penalty(own, weight) : norm_penalty(own, weight)}};
  }

 private:
  Var<B> initial(Tape<B>& tape) const { return concat_rows<B>({tape.parameter(users_), tape.parameter(items_)}); }

  Config config_;
  NodeBlocks blocks_;
  InteractionGraph<B> graph_;
  ParameterStore<B> parameters_;
  Parameter<B>& users_;
  Parameter<B>& items_;
};

}  // namespace rearm::REARM_ABI
