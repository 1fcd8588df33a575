#pragma once
/// @file bpr_mf.hpp
/// Matrix factorization trained by BPR (Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback",
/// UAI'09), with the regularizer of MMRec. docs/models/bpr_mf.md.

#include <rearm/data/dataset.hpp>
#include <rearm/graph/options.hpp>
#include <rearm/graph/share.hpp>
#include <rearm/models/mmrec.hpp>
#include <rearm/train/recommender.hpp>

#include <string_view>

namespace rearm::REARM_ABI {

struct BprMfConfig {
  int embedding_dim = 64;
  double reg_weight = 1e-1;

  friend bool operator==(const BprMfConfig&, const BprMfConfig&) = default;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"embedding_dim", "width of every embedding", between(1, 1024)}, c.embedding_dim);
    f(Field{"reg_weight", "weight of the regularization by norms of the batch's embeddings", at_least(0)},
      c.reg_weight);
  }
  static TrainConfig train_defaults() { return mmrec::train_defaults(); }
};

template <Backend B>
class BprMf {
 public:
  using Config = BprMfConfig;
  static constexpr std::string_view name = "bpr_mf";

  /// Throws ConfigError for settings out of range, DataError for ids out of range.
  static void check(const Config& config, const Dataset& data) {
    check_limits(config);
    detail::require_consistent(data);
  }

  BprMf(Context<B>& ctx, const Dataset& data, const Config& config, const GraphOptions& = {}) try
      : config_((check(config, data), config)),
        blocks_(share_nodes(ctx, data)),
        users_(parameters_.add("user_id", data.n_users, config.embedding_dim, blocks_.users)),
        items_(parameters_.add("item_id", data.n_items, config.embedding_dim, blocks_.items)) {
    init_xavier_normal(users_, ctx.seed());
    init_xavier_normal(items_, ctx.seed());
  } catch (const std::bad_alloc&) {
    detail::throw_out_of_memory("making BprMf");
  }
  BprMf(const BprMf&) = delete;
  BprMf& operator=(const BprMf&) = delete;

  ParameterStore<B>& parameters() { return parameters_; }

  /// e_u = U_u, e_i = V_i
  Embeddings<B> embeddings(Tape<B>& tape, const Step<B>&) { return {tape.parameter(users_), tape.parameter(items_)}; }

  Loss<B> loss(Tape<B>& tape, const Step<B>& step) {
    const auto [users, items] = embeddings(tape, step);
    const Triplets<B> rows =
        gather(users, items, TripletIds<B>(tape.context(), step.batch, users_.rows(), items_.rows()));
    return {{"bpr", mmrec::bpr(rows)}, {"reg", norm_penalty(rows, config_.reg_weight)}};
  }

 private:
  Config config_;
  NodeBlocks blocks_;
  ParameterStore<B> parameters_;
  Parameter<B>& users_;
  Parameter<B>& items_;
};

}  // namespace rearm::REARM_ABI
