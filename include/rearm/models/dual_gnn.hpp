#pragma once
/// @file dual_gnn.hpp
/// DualGNN (Wang et al., "DualGNN: Dual graph neural network for multimedia recommendation", TMM 2021) with any
/// modalities, as MMRec computes it. docs/models/dual_gnn.md.

#include <rearm/data/dataset.hpp>
#include <rearm/graph/bipartite.hpp>
#include <rearm/graph/options.hpp>
#include <rearm/graph/user_graph.hpp>
#include <rearm/models/mmrec.hpp>
#include <rearm/nn/last_embeddings.hpp>
#include <rearm/nn/preference_views.hpp>
#include <rearm/train/recommender.hpp>

#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rearm::REARM_ABI {

struct DualGnnConfig {
  std::vector<std::string> modalities;
  int embedding_dim = 64;
  int user_k = 40;
  double reg_weight = 1e-3;
  bool first_slot_has_sum = true;
  bool last_step_embeddings = true;

  friend bool operator==(const DualGnnConfig&, const DualGnnConfig&) = default;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"modalities", "use only these modalities; empty: all that the data set has"}, c.modalities);
    f(Field{"embedding_dim", "width of every embedding", between(1, 1024)}, c.embedding_dim);
    f(Field{"user_k", "neighbors of a user among users with common items", at_least(1)}, c.user_k);
    f(Field{"reg_weight", "weight of the mean squares of preferences and modality weights", at_least(0)}, c.reg_weight);
    f(Field{"first_slot_has_sum", "weight a user's sum of all modalities as its first one, as MMRec does"},
      c.first_slot_has_sum);
    f(Field{"last_step_embeddings",
            "score with what the last training step computed before it moved the parameters, as MMRec does; false: "
            "with the parameters as they are"},
      c.last_step_embeddings);
  }
  static TrainConfig train_defaults() { return mmrec::train_defaults(); }
};

template <Backend B>
class DualGnn {
 public:
  using T = Real<B>;
  using Config = DualGnnConfig;
  static constexpr std::string_view name = "dual_gnn";

  /// Throws ConfigError for settings out of range, a modality that is not there, data without features, or as many
  /// neighbors as users or more; DataError for ids out of range, or features that have not a row an item.
  static void check(const Config& config, const Dataset& data) {
    check_limits(config);
    detail::require_consistent(data);
    if (named_modalities(data, config.modalities).empty())
      throw ConfigError(detail::message("modalities: DualGNN needs features, but data set '", data.name, "' has none"));
    detail::require_knn_k(config.user_k, data.n_users, "user_k", "users");
  }

  DualGnn(Context<B>& ctx, const Dataset& data, const Config& config, const GraphOptions& = {}) try
      : config_((check(config, data), config)),
        n_users_(data.n_users),
        n_items_(data.n_items),
        graph_(data, 0.0),
        user_graph_(ctx, data, config.user_k),
        views_(parameters_, named_modalities(data, config.modalities), n_users_, config.embedding_dim, ctx.seed()),
        user_weights_(parameters_.add("user_modality_weights", n_users_, static_cast<Index>(views_.size()))),
        item_weights_(parameters_.add("item_modality_weights", n_items_, static_cast<Index>(views_.size()))) {
    init_modality_weights(user_weights_, ctx.seed());
    init_modality_weights(item_weights_, ctx.seed());
    if (config.last_step_embeddings) last_.emplace(parameters_, n_users_, n_items_, config.embedding_dim);
  } catch (const std::bad_alloc&) {
    detail::throw_out_of_memory("making DualGnn");
  }
  DualGnn(const DualGnn&) = delete;
  DualGnn& operator=(const DualGnn&) = delete;

  ParameterStore<B>& parameters() { return parameters_; }
  void train_on(const Interactions& pairs) { graph_.train_on(pairs); }
  bool can_train_on_part() const { return !last_; }

  /// Fills short lists of neighbors anew.
  bool begin_epoch(Context<B>& ctx, int epoch) { return user_graph_.begin_epoch(ctx.seed(), epoch); }
  /// The same draw: it depends on the seed and the epoch alone.
  void resume_epoch(Context<B>& ctx, int epoch) { begin_epoch(ctx, epoch); }
  UserGraph<B>& user_graph() { return user_graph_; }

  Embeddings<B> embeddings(Tape<B>& tape, const Step<B>& step) {
    if (last_ && last_->known()) return {last_->users(tape), last_->items(tape)};
    return propagated(tape, step);
  }

  Loss<B> loss(Tape<B>& tape, const Step<B>& step) {
    const TripletIds<B> ids(tape.context(), step.batch, n_users_, n_items_);
    const auto [users, items] = propagated(tape, step);
    if (last_) last_->keep(tape.context(), users.value(), items.value());
    return {{"bpr", mmrec::bpr_log2(gather(users, items, ids))}, {"reg", penalty(tape, ids)}};
  }

 private:
  /// Z_m of nn/preference_views.hpp, w the users' weights, S the graph of users:
  ///     u = sum_m w_m Z_m, for first_slot_has_sum with sum_m Z_m in place of Z_1;  e_u = u + S u,  e_i = sum_m Z_m
  Embeddings<B> propagated(Tape<B>& tape, const Step<B>& step) const {
    const Index d = config_.embedding_dim;
    const Var<B> z = views_(tape, graph_(step.training));
    const Var<B> weights = tape.parameter(user_weights_);
    Var<B> sum = z.cols(0, d);
    for (std::size_t m = 1; m < views_.size(); ++m) sum = sum + z.cols(static_cast<Index>(m) * d, d);
    const auto of_users = [&](Var<B> nodes) { return nodes.rows(0, n_users_); };
    Var<B> users = of_users(config_.first_slot_has_sum ? sum : z.cols(0, d)) * weights.cols(0, 1);
    for (std::size_t m = 1; m < views_.size(); ++m) {
      const auto at = static_cast<Index>(m);
      users = users + of_users(z.cols(at * d, d)) * weights.cols(at, 1);
    }
    return {users + spmm(user_graph_(step.training), users), sum.rows(n_users_, n_items_)};
  }
  /// reg_weight times: the mean square of the batch's preferences, summed over modalities, and those of all users' and
  /// of all items' weights.
  Var<B> penalty(Tape<B>& tape, const TripletIds<B>& ids) const {
    if (config_.reg_weight == 0) return {};
    const auto mean_square = [&](Var<B> x) {
      return sum_of_squares(x, static_cast<T>(config_.reg_weight) / static_cast<T>(x.rows() * x.cols()));
    };
    Var<B> sum = mean_square(tape.parameter(user_weights_)) + mean_square(tape.parameter(item_weights_));
    for (std::size_t m = 0; m < views_.size(); ++m)
      sum = sum + mean_square(gather(tape.parameter(views_.preference(m)), ids.users));
    return sum;
  }

  Config config_;
  Index n_users_;
  Index n_items_;
  InteractionGraph<B> graph_;
  UserGraph<B> user_graph_;
  ParameterStore<B> parameters_;
  PreferenceViews<B> views_;
  Parameter<B>& user_weights_;
  Parameter<B>& item_weights_;
  std::optional<LastEmbeddings<B>> last_;
};

}  // namespace rearm::REARM_ABI
