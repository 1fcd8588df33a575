#pragma once
/// @file grcn.hpp
/// GRCN (Wei et al., "Graph-refined convolutional network for multimedia recommendation with implicit feedback", MM'20)
/// with any modalities, as MMRec computes it. docs/models/grcn.md.

#include <rearm/core/sparse_pattern.hpp>
#include <rearm/data/dataset.hpp>
#include <rearm/graph/bipartite.hpp>
#include <rearm/graph/options.hpp>
#include <rearm/models/mmrec.hpp>
#include <rearm/nn/last_embeddings.hpp>
#include <rearm/nn/linear.hpp>
#include <rearm/nn/raw_features.hpp>
#include <rearm/train/recommender.hpp>

#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rearm::REARM_ABI {

struct GrcnConfig {
  std::vector<std::string> modalities;
  int embedding_dim = 64;
  int content_dim = 64;
  int n_layers = 2;
  int n_routing_layers = 0;
  double reg_weight = 1e-3;
  bool last_step_embeddings = true;

  friend bool operator==(const GrcnConfig&, const GrcnConfig&) = default;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"modalities", "use only these modalities; empty: all that the data set has"}, c.modalities);
    f(Field{"embedding_dim", "width of id embeddings", between(1, 1024)}, c.embedding_dim);
    f(Field{"content_dim", "width of each modality's preferences and mapped features", between(1, 1024)},
      c.content_dim);
    f(Field{"n_layers", "propagation layers of the id embeddings", between(0, 100)}, c.n_layers);
    f(Field{"n_routing_layers",
            "times that preferences are refined by the features of a user's items; MMRec's refinement reaches no user",
            between(0, 100)},
      c.n_routing_layers);
    f(Field{"reg_weight", "weight of the mean squares of id embeddings and preferences", at_least(0)}, c.reg_weight);
    f(Field{"last_step_embeddings",
            "score with the embeddings that the last training step computed (MMRec), not with new ones"},
      c.last_step_embeddings);
  }
  static TrainConfig train_defaults() { return mmrec::train_defaults(); }
};

template <Backend B>
class Grcn {
 public:
  using T = Real<B>;
  using Config = GrcnConfig;
  static constexpr std::string_view name = "grcn";

  /// Throws ConfigError for settings out of range, a modality that is not there, or data without features; DataError
  /// for ids out of range, or features that have not a row an item.
  static void check(const Config& config, const Dataset& data) {
    check_limits(config);
    detail::require_consistent(data);
    if (named_modalities(data, config.modalities).empty())
      throw ConfigError(detail::message("modalities: GRCN needs features, but data set '", data.name, "' has none"));
  }

  Grcn(Context<B>& ctx, const Dataset& data, const Config& config, const GraphOptions& = {}) try
      : config_((check(config, data), config)),
        n_users_(data.n_users),
        n_items_(data.n_items),
        all_(places(data.train)),
        nodes_(parameters_.add("node_id", n_users_ + n_items_, config.embedding_dim)) {
    const std::uint64_t seed = ctx.seed();
    init_xavier_normal(nodes_, seed);
    const auto modalities = named_modalities(data, config.modalities);
    confidences_ = &parameters_.add("modality_confidence", nodes_.rows(), static_cast<Index>(modalities.size()));
    init_xavier_normal(*confidences_, seed);
    for (const Modality* m : modalities) {
      Parameter<B>& preference = parameters_.add("user_preference." + m->name, n_users_, config.content_dim);
      init_xavier_normal(preference, seed);
      views_.push_back(
          {raw_features<B>(*m), &preference,
           Linear<B>(parameters_, "item_projection." + m->name, m->features.cols(), config.content_dim, seed)});
      init_xavier_normal(views_.back().projection.weight(), seed);
    }
    const Index width = config.embedding_dim + static_cast<Index>(views_.size()) * config.content_dim;
    if (config.last_step_embeddings) last_.emplace(parameters_, n_users_, n_items_, width);
  } catch (const std::bad_alloc&) {
    detail::throw_out_of_memory("making Grcn");
  }
  Grcn(const Grcn&) = delete;
  Grcn& operator=(const Grcn&) = delete;

  ParameterStore<B>& parameters() { return parameters_; }
  void train_on(const Interactions& pairs) { part_ = places(pairs); }
  bool can_train_on_part() const { return !last_; }

  Embeddings<B> embeddings(Tape<B>& tape, const Step<B>& step) {
    if (last_ && last_->known()) return {last_->users(tape), last_->items(tape)};
    return propagated(tape, step);
  }

  /// m(X) the mean of X's squared elements, u, p and n a batch's users, positives and negatives:
  ///     bpr    -mean_b log sigmoid(e_u . (e_p - e_n))
  ///     reg    reg_weight (m(T_u) + m(T_p) / 2 + m(T_n) / 2 + m(Q_1) + sum_m m(Q_m,u))
  Loss<B> loss(Tape<B>& tape, const Step<B>& step) {
    const TripletIds<B> ids(tape.context(), step.batch, n_users_, n_items_);
    const auto [users, items] = propagated(tape, step);
    if (last_) last_->keep(tape.context(), users.value(), items.value());
    Var<B> reg;
    if (config_.reg_weight > 0) {
      const Var<B> nodes = tape.parameter(nodes_);
      const Triplets<B> own = gather(nodes.rows(0, n_users_), nodes.rows(n_users_, n_items_), ids);
      reg = mean_square(own.users, 1) + mean_square(own.positives, 0.5) + mean_square(own.negatives, 0.5) +
            mean_square(tape.parameter(*views_.front().preference), 1);
      for (const View& view : views_) reg = reg + mean_square(gather(tape.parameter(*view.preference), ids.users), 1);
    }
    return {{"bpr", bpr_mean(gather(users, items, ids))}, {"reg", reg}};
  }

 private:
  using Pattern = SparsePattern<typename B::Memory>;
  /// What one modality has.
  struct View {
    Matrix<T, typename B::Memory> features;
    Parameter<B>* preference;
    Linear<B> projection;
  };
  /// Row r: who sends to r.
  struct Places {
    Pattern nodes;  ///< users and items, users first
    Pattern users;  ///< users from items, for routing
  };
  struct Received {
    Var<B> weights, sum;
  };

  Places places(const Interactions& pairs) const {
    const Csr<double> graph = interaction_graph(items_by_user(pairs, n_users_), users_by_item(pairs, n_items_), 0.0);
    return {Pattern(graph), config_.n_routing_layers > 0 ? Pattern(users_block(graph, n_users_)) : Pattern()};
  }
  /// a_rs = softmax_s(x_r . y_s),  o_r = sum_s a_rs y_s
  static Received attend(const Pattern& at, Var<B> x, Var<B> y) {
    const Var<B> a = edge_softmax(at, sddmm(at, x, y));
    return {a, spmm(at, a, y)};
  }

  /// e = [E | Z_1 | Z_2 | ...], n(X) the rows of X divided by their lengths, T id embeddings, c confidences:
  ///     f = n(lrelu(F W^T + b)),  p = n(Q);  n_routing_layers times p <- n(p + o),  o attention of users to items' f
  ///     Z_m = x + o_m,  x = [p; f],  o_m, a^m attention of nodes to those beside them, values and weights
  ///     w_rs = relu(max_m a^m_rs c_sm),  E = x + W x + ... + W^L x,  x = n(T)
  Embeddings<B> propagated(Tape<B>& tape, const Step<B>& step) const {
    const Places& at = step.training && part_ ? *part_ : all_;
    const T eps = static_cast<T>(1e-12);
    const Var<B> confidences = tape.parameter(*confidences_);
    VarList<B> blocks = tape.list();
    blocks.push_back(row_normalize(tape.parameter(nodes_), eps));
    Var<B> w;
    for (std::size_t m = 0; m < views_.size(); ++m) {
      const View& view = views_[m];
      const Var<B> f = row_normalize(leaky_relu(view.projection(tape.constant(view.features.view()))), eps);
      Var<B> p = row_normalize(tape.parameter(*view.preference), eps);
      for (int l = 0; l < config_.n_routing_layers; ++l) p = row_normalize(p + attend(at.users, p, f).sum, eps);
      const Var<B> x = concat_rows<B>({p, f});
      const Received received = attend(at.nodes, x, x);
      blocks.push_back(x + received.sum);
      const Var<B> trusted = scale_columns(at.nodes, received.weights, confidences.cols(static_cast<Index>(m), 1));
      w = m == 0 ? relu(trusted) : w + relu(trusted - w);
    }
    Var<B> h = blocks[0];
    for (int l = 0; l < config_.n_layers; ++l) {
      h = spmm(at.nodes, w, h);
      blocks[0] = blocks[0] + h;
    }
    const Var<B> e = concat(std::span<const Var<B>>(blocks));
    return {e.rows(0, n_users_), e.rows(n_users_, n_items_)};
  }
  Var<B> mean_square(Var<B> x, double weight) const {
    return sum_of_squares(x, static_cast<T>(config_.reg_weight * weight) / static_cast<T>(x.rows() * x.cols()));
  }

  Config config_;
  Index n_users_;
  Index n_items_;
  Places all_;
  std::optional<Places> part_;  ///< of training, once there is one
  ParameterStore<B> parameters_;
  Parameter<B>& nodes_;
  Parameter<B>* confidences_ = nullptr;
  std::vector<View> views_;
  std::optional<LastEmbeddings<B>> last_;  ///< none where scores are made of new ones
};

}  // namespace rearm::REARM_ABI
