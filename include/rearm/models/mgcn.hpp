#pragma once
/// @file mgcn.hpp
/// MGCN (Yu et al., "Multi-view graph convolutional network for multimedia recommendation", MM'23) with any modalities,
/// as MMRec computes it. docs/models/mgcn.md.

#include <rearm/data/dataset.hpp>
#include <rearm/graph/bipartite.hpp>
#include <rearm/graph/knn_graph.hpp>
#include <rearm/graph/options.hpp>
#include <rearm/models/mmrec.hpp>
#include <rearm/nn/linear.hpp>
#include <rearm/nn/propagation.hpp>
#include <rearm/nn/trained_features.hpp>
#include <rearm/train/recommender.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rearm::REARM_ABI {

struct MgcnConfig {
  std::vector<std::string> modalities;
  int embedding_dim = 64;
  int n_ui_layers = 2;
  int n_layers = 1;
  int knn_k = 10;
  double reg_weight = 1e-4;
  int reg_batch_size = 2048;
  double cl_weight = 1e-2;
  double cl_temperature = 0.2;

  friend bool operator==(const MgcnConfig&, const MgcnConfig&) = default;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"modalities", "use only these modalities; empty: all that the data set has"}, c.modalities);
    f(Field{"embedding_dim", "width of every embedding", between(1, 1024)}, c.embedding_dim);
    f(Field{"n_ui_layers", "propagation layers over users and items", between(0, 100)}, c.n_ui_layers);
    f(Field{"n_layers", "propagation layers over items that are similar in a modality", between(0, 100)}, c.n_layers);
    f(Field{"knn_k", "neighbors of an item in a modality, itself among them", at_least(1)}, c.knn_k);
    f(Field{"reg_weight", "weight of half the squared norms of a batch's final embeddings", at_least(0)}, c.reg_weight);
    f(Field{"reg_batch_size",
            "what their sum is divided by, whatever the batch's size (MMRec: the configured one); 0: "
            "the pairs in the batch",
            at_least(0)},
      c.reg_batch_size);
    f(Field{"cl_weight", "weight of the contrastive losses", at_least(0)}, c.cl_weight);
    f(Field{"cl_temperature", "temperature of the contrastive losses", above(0)}, c.cl_temperature);
  }
  static TrainConfig train_defaults() {
    TrainConfig train = mmrec::train_defaults();
    train.lr_decay = std::pow(0.96, 1.0 / 50);
    return train;
  }
};

template <Backend B>
class Mgcn {
 public:
  using T = Real<B>;
  using Config = MgcnConfig;
  static constexpr std::string_view name = "mgcn";

  /// Throws ConfigError for settings out of range, a modality that is not there, or data without features; DataError
  /// for ids out of range, or features that have not a row an item.
  static void check(const Config& config, const Dataset& data) {
    check_limits(config);
    detail::require_consistent(data);
    if (named_modalities(data, config.modalities).empty())
      throw ConfigError(detail::message("modalities: MGCN needs features, but data set '", data.name, "' has none"));
    detail::require_knn_k(config.knn_k, data.n_items, "knn_k", "items");
  }

  Mgcn(Context<B>& ctx, const Dataset& data, const Config& config, const GraphOptions& options = {}) try
      : config_((check(config, data), config)),
        graph_(data, 0.0),
        users_block_(data, [n_users = data.n_users, n_items = data.n_items](const Interactions& pairs) {
          const Csr<double> graph =
              interaction_graph(items_by_user(pairs, n_users), users_by_item(pairs, n_items), 0.0);
          return Graph::from_host(SparseOperator<T>::general(cast<T>(users_block(graph, n_users))));
        }) {
    const Index d = config.embedding_dim;
    const std::uint64_t seed = ctx.seed();
    users_ = &parameters_.add("user_id", data.n_users, d);
    items_ = &parameters_.add("item_id", data.n_items, d);
    init_xavier_uniform(*users_, seed);
    init_xavier_uniform(*items_, seed);
    const auto modalities = named_modalities(data, config.modalities);
    for (const Modality* m : modalities) {
      if (options.progress)
        options.progress("kNN graph of " + m->name,
                         static_cast<double>(views_.size()) / static_cast<double>(modalities.size()));
      views_.push_back(
          View{.graph = Graph::from_host(SparseOperator<T>::general(knn_graph(ctx, *m, config.knn_k, options))),
               .features = TrainedFeatures<B>(parameters_, *m, d, seed),
               .purifier = Linear<B>(parameters_, "purifier." + m->name, d, d, seed),
               .preference = Linear<B>(parameters_, "preference." + m->name, d, d, seed)});
    }
    if (options.progress) options.progress("graphs", 1.0);
    attention_ = Linear<B>(parameters_, "attention", d, d, seed);
    attention_vector_ = &parameters_.add("attention.vector", 1, d);
    init_uniform(*attention_vector_, 1.0 / std::sqrt(static_cast<double>(d)), seed);
  } catch (const std::bad_alloc&) {
    detail::throw_out_of_memory("making Mgcn");
  }
  Mgcn(const Mgcn&) = delete;
  Mgcn& operator=(const Mgcn&) = delete;

  ParameterStore<B>& parameters() { return parameters_; }
  void train_on(const Interactions& pairs) {
    graph_.train_on(pairs);
    users_block_.train_on(pairs);
  }

  /// E = C + S
  Embeddings<B> embeddings(Tape<B>& tape, const Step<B>& step) {
    Nodes all{{}, tape.list()};
    for (const View& view : views_) {
      const Var<B> x = similar_items(tape, view);
      all.views.push_back(concat_rows<B>({spmm(users_block_(step.training), x), x}));
    }
    all.content = propagate_mean(graph_(step.training), initial(tape), config_.n_ui_layers);
    const Var<B> e = all.content + side(all);
    return {e.rows(0, users_->rows()), e.rows(users_->rows(), items_->rows())};
  }

  /// Of a batch's rows alone: of a propagation its last layer, and all that follows, which takes each row by itself.
  Loss<B> loss(Tape<B>& tape, const Step<B>& step) {
    Context<B>& ctx = tape.context();
    const auto n = static_cast<Index>(step.batch.users.size());
    const IndexList nodes = triplet_nodes(ctx, step.batch, users_->rows(), items_->rows());
    const IndexList users = make_index_list(ctx, step.batch.users, users_->rows());
    const IndexList items = triplet_items(ctx, step.batch, items_->rows());
    Nodes batch{{}, tape.list()};
    for (const View& view : views_) {
      const Var<B> x = similar_items(tape, view);
      const Var<B> of_items = gather(x, items);
      // After that, so that backward it comes before: it writes every row of the gradient, to which others are added.
      batch.views.push_back(concat_rows<B>({gather_spmm(users_block_(step.training), x, users), of_items}));
    }
    batch.content = gather_propagate_mean(graph_(step.training), initial(tape), config_.n_ui_layers, nodes);
    const Var<B> s = side(batch);
    const Triplets<B> rows = triplets(batch.content + s);
    const auto size = static_cast<double>(step.batch.users.size());
    const double share = config_.reg_batch_size == 0 ? 1.0 : size / config_.reg_batch_size;
    return {{"bpr", bpr_mean(rows)},
            {"reg", square_penalty(rows, share * config_.reg_weight)},
            {"cl_items", contrast(s.rows(n, n), batch.content.rows(n, n))},
            {"cl_users", contrast(s.rows(0, n), batch.content.rows(0, n))}};
  }

 private:
  using Graph = SparseOperator<T, typename B::Memory>;

  /// What one modality has.
  struct View {
    Graph graph;
    TrainedFeatures<B> features;
    Linear<B> purifier, preference;
  };
  /// Rows of users and items, d wide: C = mean of A^l [U; V], l = 0...n_ui_layers, and of each modality
  /// Z_m = [A_users X_m; X_m].
  struct Nodes {
    Var<B> content;
    VarList<B> views;
  };

  Var<B> initial(Tape<B>& tape) const { return concat_rows<B>({tape.parameter(*users_), tape.parameter(*items_)}); }
  /// X_m = G_m^n_layers (V * sigmoid(gate_m(F_m W_m^T + b_m)))
  Var<B> similar_items(Tape<B>& tape, const View& view) const {
    return propagate(view.graph, tape.parameter(*items_) * sigmoid(view.purifier(view.features(tape))),
                     config_.n_layers);
  }

  /// (a_1, a_2, ...) = softmax over m of w . tanh(attention(Z_m)),  Z = sum_m a_m Z_m
  /// S = (sum_m sigmoid(preference_m(C)) * (Z_m - Z) + Z) / (modalities + 1)
  Var<B> side(const Nodes& of) const {
    const VarList<B>& z = of.views;
    Tape<B>& tape = of.content.tape();
    const Var<B> attention_vector = tape.parameter(*attention_vector_);
    VarList<B> scores = tape.list();
    for (const Var<B>& view : z) scores.push_back(linear(tanh(attention_(view)), attention_vector));
    const auto n_views = static_cast<Index>(z.size());
    const Var<B> weights = softmax(concat(std::span<const Var<B>>(scores)), {n_views, 1});
    Var<B> common;
    for (std::size_t m = 0; m < z.size(); ++m) {
      const Var<B> part = z[m] * weights.cols(static_cast<Index>(m), 1);
      common = common.empty() ? part : common + part;
    }
    Var<B> sum = common;
    for (std::size_t m = 0; m < z.size(); ++m) {
      const Var<B> gate = sigmoid(views_[m].preference(of.content));
      sum = sum + gate * (z[m] - common);
    }
    return scale(sum, T{1} / static_cast<T>(n_views + 1));
  }

  /// cl_weight times the mean over the rows of InfoNCE by cosine from S to C, against the same rows. No part for weight
  /// 0.
  Var<B> contrast(Var<B> side, Var<B> content) const {
    if (config_.cl_weight == 0) return {};
    return info_nce(row_normalize(side, T(1e-12)), row_normalize(content, T(1e-12)),
                    info_nce_scale(static_cast<T>(config_.cl_temperature), static_cast<T>(config_.cl_weight), true));
  }

  Config config_;
  InteractionGraph<B> graph_, users_block_;
  std::vector<View> views_;
  ParameterStore<B> parameters_;
  Parameter<B>* users_ = nullptr;
  Parameter<B>* items_ = nullptr;
  Linear<B> attention_;
  Parameter<B>* attention_vector_ = nullptr;
};

}  // namespace rearm::REARM_ABI
