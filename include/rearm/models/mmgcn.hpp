#pragma once
/// @file mmgcn.hpp
/// MMGCN (Wei et al., "MMGCN: Multi-modal graph convolution network for personalized recommendation of micro-video",
/// MM'19) with any modalities, as MMRec computes it. docs/models/mmgcn.md.

#include <rearm/data/dataset.hpp>
#include <rearm/graph/bipartite.hpp>
#include <rearm/graph/options.hpp>
#include <rearm/models/mmrec.hpp>
#include <rearm/nn/last_embeddings.hpp>
#include <rearm/nn/linear.hpp>
#include <rearm/nn/raw_features.hpp>
#include <rearm/train/recommender.hpp>

#include <algorithm>
#include <cstdint>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

struct MmgcnConfig {
  std::vector<std::string> modalities;
  int embedding_dim = 64;
  std::vector<std::string> mapped_modalities = {"image"};
  int hidden_dim = 256;
  int n_layers = 3;
  double reg_weight = 1e-3;
  bool train_tables = false;
  bool last_step_embeddings = true;

  friend bool operator==(const MmgcnConfig&, const MmgcnConfig&) = default;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"modalities", "use only these modalities; empty: all that the data set has"}, c.modalities);
    f(Field{"embedding_dim", "width of every embedding", between(1, 1024)}, c.embedding_dim);
    f(Field{"mapped_modalities",
            "modalities whose features are first mapped to hidden_dim; others are used as wide as "
            "they are"},
      c.mapped_modalities);
    f(Field{"hidden_dim", "width of mapped features", between(1, 4096)}, c.hidden_dim);
    f(Field{"n_layers", "layers of every modality; scores are made of the last", between(1, 100)}, c.n_layers);
    f(Field{"reg_weight", "weight of the mean squares of id embeddings and preferences", at_least(0)}, c.reg_weight);
    f(Field{"train_tables", "train id embeddings and preferences; false: they stay random, as in MMRec"},
      c.train_tables);
    f(Field{"last_step_embeddings",
            "score with the embeddings that the last training step computed (MMRec), not with new ones"},
      c.last_step_embeddings);
  }
  static TrainConfig train_defaults() { return mmrec::train_defaults(); }
};

template <Backend B>
class Mmgcn {
 public:
  using T = Real<B>;
  using Config = MmgcnConfig;
  static constexpr std::string_view name = "mmgcn";

  /// Throws ConfigError for settings out of range, a modality that is not there, or data without features; DataError
  /// for ids out of range, or features that have not a row an item. The default of mapped_modalities may name one that
  /// is not there.
  static void check(const Config& config, const Dataset& data) {
    check_limits(config);
    detail::require_consistent(data);
    if (named_modalities(data, config.modalities).empty())
      throw ConfigError(detail::message("modalities: MMGCN needs features, but data set '", data.name, "' has none"));
    if (config.mapped_modalities != Config().mapped_modalities) named_modalities(data, config.mapped_modalities);
  }

  Mmgcn(Context<B>& ctx, const Dataset& data, const Config& config, const GraphOptions& = {}) try
      : config_((check(config, data), config)),
        n_users_(data.n_users),
        n_items_(data.n_items),
        graph_(data,
               [n_users = data.n_users, n_items = data.n_items](const Interactions& pairs) {
                 Csr<T> mean =
                     cast<T>(neighbor_mean_graph(items_by_user(pairs, n_users), users_by_item(pairs, n_items)));
                 return SparseOperator<T, typename B::Memory>::from_host(SparseOperator<T>::general(std::move(mean)));
               }),
        nodes_(table("node_id", n_users_ + n_items_, config.embedding_dim, ctx.seed())) {
    for (const Modality* m : named_modalities(data, config.modalities)) branches_.push_back(branch(*m, ctx.seed()));
    if (config.last_step_embeddings) last_.emplace(parameters_, n_users_, n_items_, config.embedding_dim);
  } catch (const std::bad_alloc&) {
    detail::throw_out_of_memory("making Mmgcn");
  }
  Mmgcn(const Mmgcn&) = delete;
  Mmgcn& operator=(const Mmgcn&) = delete;

  ParameterStore<B>& parameters() { return parameters_; }
  void train_on(const Interactions& pairs) { graph_.train_on(pairs); }
  bool can_train_on_part() const { return !last_; }

  Embeddings<B> embeddings(Tape<B>& tape, const Step<B>& step) {
    if (last_ && last_->known()) return {last_->users(tape), last_->items(tape)};
    return propagated(tape, step);
  }

  /// m(X) the mean of X's squared elements, u, p and n a batch's users, positives and negatives, Q the first modality's
  /// preferences:
  ///     bpr    -mean_b log sigmoid(e_u . (e_p - e_n))
  ///     reg    reg_weight (m(T_u) + m(T_p) / 2 + m(T_n) / 2 + m(Q))
  Loss<B> loss(Tape<B>& tape, const Step<B>& step) {
    const TripletIds<B> ids(tape.context(), step.batch, n_users_, n_items_);
    const auto [users, items] = propagated(tape, step);
    if (last_) last_->keep(tape.context(), users.value(), items.value());
    Var<B> reg;
    if (config_.reg_weight > 0) {
      const Var<B> nodes = tape.parameter(nodes_);
      const Triplets<B> own = gather(nodes.rows(0, n_users_), nodes.rows(n_users_, n_items_), ids);
      reg = mean_square(own.users, 1) + mean_square(own.positives, 0.5) + mean_square(own.negatives, 0.5) +
            mean_square(tape.parameter(*branches_.front().preference), 1);
    }
    return {{"bpr", bpr_mean(gather(users, items, ids))}, {"reg", reg}};
  }

 private:
  struct Layer {
    Parameter<B>* messages;
    Linear<B> own, combination;
  };
  /// What one modality has.
  struct Branch {
    Matrix<T, typename B::Memory> features;
    Parameter<B>* preference;
    std::optional<Linear<B>> map;
    std::vector<Layer> layers;
  };

  /// One that begins at random and, but for train_tables, stays so.
  Parameter<B>& table(const std::string& of, Index rows, Index cols, std::uint64_t seed) {
    Parameter<B>& out = parameters_.add(of, rows, cols);
    init_xavier_normal(out, seed);
    out.trainable = config_.train_tables;
    return out;
  }
  Branch branch(const Modality& m, std::uint64_t seed) {
    const Index d = config_.embedding_dim;
    Index width = m.features.cols();
    std::optional<Linear<B>> map;
    if (std::ranges::find(config_.mapped_modalities, m.name) != config_.mapped_modalities.end()) {
      map.emplace(parameters_, "item_projection." + m.name, width, config_.hidden_dim, seed);
      width = config_.hidden_dim;
    }
    Branch out{raw_features<B>(m), &table("user_preference." + m.name, n_users_, width, seed), map, {}};
    for (int k = 1; k <= config_.n_layers; ++k, width = d) {
      const std::string of = "." + m.name + "." + std::to_string(k);
      Layer layer{&parameters_.add("messages" + of + ".weight", width, width),
                  Linear<B>(parameters_, "own" + of, width, d, seed),
                  Linear<B>(parameters_, "combination" + of, width + d, d, seed)};
      init_xavier_normal(*layer.messages, seed);
      init_xavier_normal(layer.own.weight(), seed);
      if (k == 1) init_xavier_normal(layer.combination.weight(), seed);
      out.layers.push_back(layer);
    }
    return out;
  }

  /// e = mean over the modalities of X_L, with T all nodes' id embeddings, Q users' preferences, M = D^-1 A:
  ///     X_0 = rows of [Q; F W^T + b], or [Q; F] without a map, divided by their lengths
  ///     H = lrelu(M X_k C_k^T),  Y = lrelu(own_k(X_k)) + T,  X_(k+1) = lrelu(combination_k([H | Y]))
  Embeddings<B> propagated(Tape<B>& tape, const Step<B>& step) const {
    const Var<B> nodes = tape.parameter(nodes_);
    Var<B> sum;
    for (const Branch& branch : branches_) {
      const Var<B> raw = tape.constant(branch.features.view());
      Var<B> x = concat_rows<B>({tape.parameter(*branch.preference), branch.map ? (*branch.map)(raw) : raw});
      x = row_normalize(x, T(1e-12));
      for (const Layer& layer : branch.layers) {
        const Var<B> h = leaky_relu(spmm(graph_(step.training), linear(x, tape.parameter(*layer.messages))));
        const Var<B> y = leaky_relu(layer.own(x)) + nodes;
        x = leaky_relu(layer.combination(concat_columns<B>({h, y})));
      }
      sum = sum.empty() ? x : sum + x;
    }
    const Var<B> e = scale(sum, T{1} / static_cast<T>(branches_.size()));
    return {e.rows(0, n_users_), e.rows(n_users_, n_items_)};
  }
  Var<B> mean_square(Var<B> x, double weight) const {
    return sum_of_squares(x, static_cast<T>(config_.reg_weight * weight) / static_cast<T>(x.rows() * x.cols()));
  }

  Config config_;
  Index n_users_;
  Index n_items_;
  InteractionGraph<B> graph_;
  ParameterStore<B> parameters_;
  Parameter<B>& nodes_;
  std::vector<Branch> branches_;
  std::optional<LastEmbeddings<B>> last_;  ///< none where scores are made of new ones
};

}  // namespace rearm::REARM_ABI
