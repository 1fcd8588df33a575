#pragma once
/// @file micro.hpp
/// MICRO (Zhang et al., "Latent structure mining with contrastive modality fusion for multimedia recommendation", TKDE
/// 2022) with any modalities, as the authors' program computes it. docs/models/micro.md.

#include <rearm/data/dataset.hpp>
#include <rearm/graph/bipartite.hpp>
#include <rearm/graph/knn_graph.hpp>
#include <rearm/graph/options.hpp>
#include <rearm/loss/triplets.hpp>
#include <rearm/nn/learned_neighbors.hpp>
#include <rearm/train/config.hpp>
#include <rearm/train/recommender.hpp>

#include <cmath>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

struct MicroConfig {
  std::vector<std::string> modalities;
  int embedding_dim = 64;
  int n_ui_layers = 2;
  int n_layers = 1;
  int knn_k = 10;
  double lambda_coeff = 0.9;
  double reg_weight = 1e-5;
  int reg_batch_size = 1024;
  double cl_weight = 0.03;
  double cl_temperature = 0.5;
  bool momentum_without_gradient = true;

  friend bool operator==(const MicroConfig&, const MicroConfig&) = default;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"modalities", "use only these modalities; empty: all that the data set has"}, c.modalities);
    f(Field{"embedding_dim", "width of every embedding and of the mapped features", between(1, 1024)}, c.embedding_dim);
    f(Field{"n_ui_layers", "propagation layers over users and items", between(0, 100)}, c.n_ui_layers);
    f(Field{"n_layers", "propagation layers over items that are similar in a modality", between(0, 100)}, c.n_layers);
    f(Field{"knn_k", "neighbors of an item in a modality, itself among them", at_least(1)}, c.knn_k);
    f(Field{"lambda_coeff", "share of the graph of raw features; the learned one has the rest", between(0, 1)},
      c.lambda_coeff);
    f(Field{"reg_weight", "weight of half the squared norms of a batch's final embeddings", at_least(0)}, c.reg_weight);
    f(Field{"reg_batch_size",
            "what their sum is divided by, whatever the batch's size (the program: the configured "
            "one); 0: the pairs in the batch",
            at_least(0)},
      c.reg_batch_size);
    f(Field{"cl_weight", "weight of the contrast of each modality with the fused items", at_least(0)}, c.cl_weight);
    f(Field{"cl_temperature", "its temperature", above(0)}, c.cl_temperature);
    f(Field{"momentum_without_gradient",
            "go on moving what the graphs are learned with by its momentum in steps that do not learn them, as PyTorch "
            "below 2.0 does"},
      c.momentum_without_gradient);
  }
  /// The program's: batches of 1024, a validation every 5 epochs, an end after 10 in a row without a better recall@20.
  static TrainConfig train_defaults() {
    TrainConfig train;
    train.negatives = Negatives::exclude_train;
    train.batch_size = 1024;
    train.learning_rate = 5e-4;
    train.lr_decay = std::pow(0.96, 1.0 / 50);
    train.eval_every = 5;
    train.patience = 10;
    return train;
  }
};

template <Backend B>
class Micro {
 public:
  using T = Real<B>;
  using Config = MicroConfig;
  static constexpr std::string_view name = "micro";

  /// Throws ConfigError for settings out of range, a modality that is not there, data without features, or as many
  /// neighbors as items or more; DataError for ids out of range, or features that have not a row an item.
  static void check(const Config& config, const Dataset& data) {
    check_limits(config);
    detail::require_consistent(data);
    if (named_modalities(data, config.modalities).empty())
      throw ConfigError(detail::message("modalities: MICRO needs features, but data set '", data.name, "' has none"));
    detail::require_knn_k(config.knn_k, data.n_items, "knn_k", "items");
  }

  Micro(Context<B>& ctx, const Dataset& data, const Config& config, const GraphOptions& options = {}) try
      : config_((check(config, data), config)),
        interaction_(self_loop_interaction<B>(data, false)),
        users_(&parameters_.add("user_id", data.n_users, config.embedding_dim)),
        items_(&parameters_.add("item_id", data.n_items, config.embedding_dim)) {
    const Index d = config.embedding_dim;
    init_xavier_uniform(*users_, ctx.seed());
    init_xavier_uniform(*items_, ctx.seed());
    const auto modalities = named_modalities(data, config.modalities);
    for (const Modality* m : modalities) {
      if (options.progress)
        options.progress("kNN graph of " + m->name,
                         static_cast<double>(views_.size()) / static_cast<double>(modalities.size()));
      Csr<T> raw = knn_graph(ctx, *m, config.knn_k, options);
      for (T& value : raw.values) value *= static_cast<T>(config.lambda_coeff);
      views_.push_back(View{.raw = Graph::from_host(SparseOperator<T>::general(std::move(raw))),
                            .learned = LearnedNeighbors<B>(parameters_, *m, d, config.knn_k, ctx.seed())});
    }
    if (options.progress) options.progress("graphs", 1.0);
    attention_ = Linear<B>(parameters_, "attention", d, d, ctx.seed());
    attention_vector_ = &parameters_.add("attention.vector", 1, d);
    init_uniform(*attention_vector_, 1.0 / std::sqrt(static_cast<double>(d)), ctx.seed());
  } catch (const std::bad_alloc&) {
    detail::throw_out_of_memory("making Micro");
  }
  Micro(const Micro&) = delete;
  Micro& operator=(const Micro&) = delete;

  ParameterStore<B>& parameters() { return parameters_; }
  void train_on(const Interactions& pairs) { interaction_.train_on(pairs); }

  /// Builds the epoch's graphs. Its first step passes gradients through them.
  bool begin_epoch(Context<B>& ctx, int /*epoch*/) {
    for (View& view : views_) view.learned.begin_epoch(ctx);
    return true;
  }
  void resume_epoch(Context<B>&, int /*epoch*/) {
    for (View& view : views_) view.learned.resume_epoch();
  }

  /// With the graphs of the parameters as they are.
  Embeddings<B> embeddings(Tape<B>& tape, const Step<B>& step) {
    return propagated(tape, step, fused(tape, Neighbors::now));
  }

  Loss<B> loss(Tape<B>& tape, const Step<B>& step) {
    if (!views_.front().learned.begun()) begin_epoch(tape.context(), 0);
    const TripletIds<B> ids(tape.context(), step.batch, users_->rows(), items_->rows());
    const Fused all = fused(tape, step.first ? Neighbors::first_step : Neighbors::later_steps);
    const auto [users, items] = propagated(tape, step, all);
    const Triplets<B> rows = gather(users, items, ids);
    const Var<B> fit = bpr_mean(rows);
    if (!step.first && config_.momentum_without_gradient)
      for (const View& view : views_) view.learned.features().zero_gradients(fit);
    Var<B> contrast;
    if (config_.cl_weight > 0)
      for (const Var<B>& x : all.views) contrast = plus(contrast, contrast_with(all.unit, x));
    const auto size = static_cast<double>(step.batch.users.size());
    const double share = config_.reg_batch_size == 0 ? 1.0 : size / config_.reg_batch_size;
    return {{"bpr", fit}, {"reg", square_penalty(rows, share * config_.reg_weight)}, {"contrast", contrast}};
  }

  /// S_m^n_layers X for X with a row an item: K_m the neighbors' cosines in modality m, D its row sums, R_m the graph
  /// of raw features, S_m = (1 - lambda) D^-1/2 K_m D^-1/2 + lambda R_m
  Var<B> propagate_items(Tape<B>& tape, std::size_t m, Var<B> x, int n_layers, Neighbors which) {
    const T rest = T{1} - static_cast<T>(config_.lambda_coeff);
    View& view = views_[m];
    const Var<B> cosines = view.learned.cosines(tape, which);
    const auto& pattern = view.learned.pattern(which);
    const Var<B> scale = inverse_sqrt(row_sums(pattern, cosines));
    for (int layer = 0; layer < n_layers; ++layer)
      x = spmm(pattern, cosines, x * scale) * (rest * scale) + spmm(view.raw, x);
    return x;
  }

 private:
  using Graph = SparseOperator<T, typename B::Memory>;

  /// What one modality has.
  struct View {
    Graph raw;  ///< lambda R_m
    LearnedNeighbors<B> learned;
  };
  /// Of all items: in each modality, and together, rows of length 1.
  struct Fused {
    VarList<B> views;
    Var<B> unit;
  };
  static Var<B> plus(Var<B> sum, Var<B> part) { return sum.empty() ? part : sum + part; }

  /// x_m = S_m^n_layers V,  a = softmax over m of w . tanh(attention(x_m)),  h = sum_m a_m x_m, its rows to length 1
  Fused fused(Tape<B>& tape, Neighbors which) {
    const Var<B> own = tape.parameter(*items_), vector = tape.parameter(*attention_vector_);
    VarList<B> views = tape.list(), scores = tape.list();
    for (std::size_t m = 0; m < views_.size(); ++m) {
      views.push_back(propagate_items(tape, m, own, config_.n_layers, which));
      scores.push_back(linear(tanh(attention_(views[m])), vector));
    }
    const Var<B> weights = softmax(concat(std::span<const Var<B>>(scores)), {static_cast<Index>(scores.size()), 1});
    Var<B> h;
    for (std::size_t m = 0; m < views.size(); ++m) h = plus(h, views[m] * weights.cols(static_cast<Index>(m), 1));
    return {std::move(views), row_normalize(h, T(1e-12))};
  }
  /// E = mean of A^l [U; V], l = 0...n_ui_layers;  e_u = E_u,  e_i = E_i + h_i / |h_i|
  Embeddings<B> propagated(Tape<B>& tape, const Step<B>& step, const Fused& all) const {
    const Var<B> nodes = concat_rows<B>({tape.parameter(*users_), tape.parameter(*items_)});
    const Var<B> e = propagate_mean(interaction_(step.training), nodes, config_.n_ui_layers);
    return {e.rows(0, users_->rows()), e.rows(users_->rows(), items_->rows()) + all.unit};
  }
  /// cl_weight times the mean over all items of InfoNCE by cosine from x to h, against all items in h and all others in
  /// x.
  Var<B> contrast_with(Var<B> h, Var<B> x) const {
    const Var<B> unit = row_normalize(x, T(1e-12));
    return info_nce(unit, concat_rows<B>({h, unit}),
                    info_nce_scale(static_cast<T>(config_.cl_temperature), static_cast<T>(config_.cl_weight), true,
                                   nullptr, x.rows()));
  }

  Config config_;
  InteractionGraph<B> interaction_;
  ParameterStore<B> parameters_;
  Parameter<B>* users_;
  Parameter<B>* items_;
  std::vector<View> views_;
  Linear<B> attention_;
  Parameter<B>* attention_vector_ = nullptr;
};

}  // namespace rearm::REARM_ABI
