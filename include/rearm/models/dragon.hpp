#pragma once
/// @file dragon.hpp
/// DRAGON (Zhou et al., "Enhancing dyadic relations with homogeneous graphs for multimodal recommendation", ECAI 2023)
/// with any modalities, as MMRec computes it. docs/models/dragon.md.

#include <rearm/data/dataset.hpp>
#include <rearm/graph/bipartite.hpp>
#include <rearm/graph/options.hpp>
#include <rearm/graph/user_graph.hpp>
#include <rearm/models/mmrec.hpp>
#include <rearm/models/mmrec_item_graph.hpp>
#include <rearm/nn/last_embeddings.hpp>
#include <rearm/nn/preference_views.hpp>
#include <rearm/nn/propagation.hpp>
#include <rearm/train/recommender.hpp>

#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rearm::REARM_ABI {

struct DragonConfig {
  std::vector<std::string> modalities;
  int embedding_dim = 64;
  int n_mm_layers = 1;
  int knn_k = 10;
  double image_weight = 0.1;
  int user_k = 40;
  double reg_weight = 1e-3;
  bool last_step_embeddings = true;

  friend bool operator==(const DragonConfig&, const DragonConfig&) = default;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"modalities", "use only these modalities; empty: all that the data set has"}, c.modalities);
    f(Field{"embedding_dim", "width of each modality's embedding", between(1, 1024)}, c.embedding_dim);
    f(Field{"n_mm_layers", "propagation layers between items", between(0, 100)}, c.n_mm_layers);
    f(Field{"knn_k", "neighbors of an item in each modality, itself among them", at_least(1)}, c.knn_k);
    f(Field{"image_weight", "share of the image's item graph; the others have equal shares of the rest", between(0, 1)},
      c.image_weight);
    f(Field{"user_k", "neighbors of a user among users with common items", at_least(1)}, c.user_k);
    f(Field{"reg_weight", "weight of the mean squares of preferences and modality weights", at_least(0)}, c.reg_weight);
    f(Field{"last_step_embeddings",
            "score with what the last training step computed before it moved the parameters, as MMRec does; false: "
            "with the parameters as they are"},
      c.last_step_embeddings);
  }
  static TrainConfig train_defaults() {
    TrainConfig train = mmrec::train_defaults();
    train.learning_rate = 1e-4;
    return train;
  }
};

template <Backend B>
class Dragon {
 public:
  using T = Real<B>;
  using Config = DragonConfig;
  static constexpr std::string_view name = "dragon";

  /// Throws ConfigError for settings out of range, a modality that is not there, data without features, or as many
  /// neighbors as users or items or more; DataError for ids out of range, or features that have not a row an item.
  static void check(const Config& config, const Dataset& data) {
    check_limits(config);
    detail::require_consistent(data);
    if (named_modalities(data, config.modalities).empty())
      throw ConfigError(detail::message("modalities: DRAGON needs features, but data set '", data.name, "' has none"));
    detail::require_knn_k(config.knn_k, data.n_items, "knn_k", "items");
    detail::require_knn_k(config.user_k, data.n_users, "user_k", "users");
  }

  Dragon(Context<B>& ctx, const Dataset& data, const Config& config, const GraphOptions& options = {}) try
      : config_((check(config, data), config)),
        n_users_(data.n_users),
        n_items_(data.n_items),
        graph_(data, 0.0),
        item_graph_(Graph::from_host(SparseOperator<T>::general(
            cast<T>(mmrec::item_graph(ctx, data, config.modalities, config.knn_k, config.image_weight, options))))),
        user_graph_(ctx, data, config.user_k),
        views_(parameters_, named_modalities(data, config.modalities), n_users_, config.embedding_dim, ctx.seed()),
        user_weights_(parameters_.add("user_modality_weights", n_users_, static_cast<Index>(views_.size()))) {
    init_modality_weights(user_weights_, ctx.seed());
    const Index width = static_cast<Index>(views_.size()) * config.embedding_dim;
    if (config.last_step_embeddings) last_.emplace(parameters_, n_users_, n_items_, width);
  } catch (const std::bad_alloc&) {
    detail::throw_out_of_memory("making Dragon");
  }
  Dragon(const Dragon&) = delete;
  Dragon& operator=(const Dragon&) = delete;

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
  using Graph = SparseOperator<T, typename B::Memory>;

  /// Z_m of nn/preference_views.hpp, w the users' weights, S the graph of users, G that of items:
  ///     u = [w_1 Z_1 | w_2 Z_2 | ...],  i = [Z_1 | Z_2 | ...],  e_u = u + S u,  e_i = i + G^n_mm_layers i
  Embeddings<B> propagated(Tape<B>& tape, const Step<B>& step) const {
    const Index d = config_.embedding_dim;
    const Var<B> z = views_(tape, graph_(step.training));
    const Var<B> weights = tape.parameter(user_weights_);
    VarList<B> parts = tape.list();
    for (Index m = 0; m < weights.cols(); ++m) parts.push_back(z.cols(m * d, d).rows(0, n_users_) * weights.cols(m, 1));
    const Var<B> users = concat(std::span<const Var<B>>(parts));
    const Var<B> items = z.rows(n_users_, n_items_);
    return {users + spmm(user_graph_(step.training), users),
            items + propagate<B>(item_graph_, items, config_.n_mm_layers)};
  }
  /// reg_weight times: the mean square of the batch's preferences, summed over modalities, and that of all users'
  /// weights.
  Var<B> penalty(Tape<B>& tape, const TripletIds<B>& ids) const {
    if (config_.reg_weight == 0) return {};
    const auto mean_square = [&](Var<B> x) {
      return sum_of_squares(x, static_cast<T>(config_.reg_weight) / static_cast<T>(x.rows() * x.cols()));
    };
    Var<B> sum = mean_square(tape.parameter(user_weights_));
    for (std::size_t m = 0; m < views_.size(); ++m)
      sum = sum + mean_square(gather(tape.parameter(views_.preference(m)), ids.users));
    return sum;
  }

  Config config_;
  Index n_users_;
  Index n_items_;
  InteractionGraph<B> graph_;
  Graph item_graph_;
  UserGraph<B> user_graph_;
  ParameterStore<B> parameters_;
  PreferenceViews<B> views_;
  Parameter<B>& user_weights_;
  std::optional<LastEmbeddings<B>> last_;
};

}  // namespace rearm::REARM_ABI
