#pragma once
/// @file lattice.hpp
/// LATTICE (Zhang et al., "Mining latent structures for multimedia recommendation", MM'21) with any modalities, as
/// MMRec computes it. docs/models/lattice.md.

#include <rearm/data/dataset.hpp>
#include <rearm/graph/bipartite.hpp>
#include <rearm/graph/fuse.hpp>
#include <rearm/graph/knn_graph.hpp>
#include <rearm/graph/normalize.hpp>
#include <rearm/graph/options.hpp>
#include <rearm/models/mmrec.hpp>
#include <rearm/nn/learned_neighbors.hpp>
#include <rearm/train/recommender.hpp>

#include <cmath>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

struct LatticeConfig {
  std::vector<std::string> modalities;
  int embedding_dim = 64;
  int feature_dim = 64;
  int n_ui_layers = 2;
  int n_layers = 1;
  int knn_k = 10;
  double lambda_coeff = 0.9;
  double reg_weight = 1e-5;
  int reg_batch_size = 2048;
  bool momentum_without_gradient = true;

  friend bool operator==(const LatticeConfig&, const LatticeConfig&) = default;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"modalities", "use only these modalities; empty: all that the data set has"}, c.modalities);
    f(Field{"embedding_dim", "width of every embedding", between(1, 1024)}, c.embedding_dim);
    f(Field{"feature_dim", "width of the mapped features by which items are compared", between(1, 1024)},
      c.feature_dim);
    f(Field{"n_ui_layers", "propagation layers over users and items", between(0, 100)}, c.n_ui_layers);
    f(Field{"n_layers", "propagation layers over similar items", between(0, 100)}, c.n_layers);
    f(Field{"knn_k", "neighbors of an item in a modality, itself among them", at_least(1)}, c.knn_k);
    f(Field{"lambda_coeff", "share of the graph of raw features; the learned one has the rest", between(0, 1)},
      c.lambda_coeff);
    f(Field{"reg_weight", "weight of half the squared norms of a batch's final embeddings", at_least(0)}, c.reg_weight);
    f(Field{"reg_batch_size",
            "what their sum is divided by, whatever the batch's size (MMRec: the configured one); 0: "
            "the pairs in the batch",
            at_least(0)},
      c.reg_batch_size);
    f(Field{"momentum_without_gradient",
            "go on moving what the graph is learned with by its momentum in steps that do not learn it, as PyTorch "
            "below 2.0 does"},
      c.momentum_without_gradient);
  }
  static TrainConfig train_defaults() {
    TrainConfig train = mmrec::train_defaults();
    train.learning_rate = 5e-4;
    train.lr_decay = std::pow(0.96, 1.0 / 50);
    return train;
  }
};

template <Backend B>
class Lattice {
 public:
  using T = Real<B>;
  using Config = LatticeConfig;
  static constexpr std::string_view name = "lattice";

  /// Throws ConfigError for settings out of range, a modality that is not there, data without features, or as many
  /// neighbors as items or more; DataError for ids out of range, or features that have not a row an item.
  static void check(const Config& config, const Dataset& data) {
    check_limits(config);
    detail::require_consistent(data);
    if (named_modalities(data, config.modalities).empty())
      throw ConfigError(detail::message("modalities: LATTICE needs features, but data set '", data.name, "' has none"));
    detail::require_knn_k(config.knn_k, data.n_items, "knn_k", "items");
  }

  Lattice(Context<B>& ctx, const Dataset& data, const Config& config, const GraphOptions& options = {}) try
      : config_((check(config, data), config)),
        interaction_(self_loop_interaction<B>(data, false)),
        users_(&parameters_.add("user_id", data.n_users, config.embedding_dim)),
        items_(&parameters_.add("item_id", data.n_items, config.embedding_dim)) {
    init_xavier_uniform(*users_, ctx.seed());
    init_xavier_uniform(*items_, ctx.seed());
    const auto modalities = named_modalities(data, config.modalities);
    const auto n = static_cast<Index>(modalities.size());
    for (const Modality* m : modalities) {
      if (options.progress)
        options.progress("kNN graph of " + m->name, static_cast<double>(views_.size()) / static_cast<double>(n));
      const Csr<T> raw = knn_graph(ctx, *m, config.knn_k, options);
      views_.push_back(
          View{.raw = cast<double>(raw),
               .raw_places = Pattern(raw),
               .raw_values = Buffer<T, typename B::Memory>(raw.values.span()),
               .learned = LearnedNeighbors<B>(parameters_, *m, config.feature_dim, config.knn_k, ctx.seed())});
    }
    if (options.progress) options.progress("graphs", 1.0);
    logits_ = &parameters_.add("modality_weights", 1, n);
    init_constant(*logits_, 0.5);
    epoch_weights_ = &parameters_.add("epoch_modality_weights", 1, n);
    epoch_weights_->trainable = false;
  } catch (const std::bad_alloc&) {
    detail::throw_out_of_memory("making Lattice");
  }
  Lattice(const Lattice&) = delete;
  Lattice& operator=(const Lattice&) = delete;

  ParameterStore<B>& parameters() { return parameters_; }
  void train_on(const Interactions& pairs) { interaction_.train_on(pairs); }

  /// Builds the epoch's graph. Its first step passes gradients through it.
  bool begin_epoch(Context<B>& ctx, int /*epoch*/) {
    for (View& view : views_) view.learned.begin_epoch(ctx);
    softmax<B>(ctx, logits_->value(), {logits_->cols(), 1}, epoch_weights_->value());
    later_ = epoch_graph();
    return true;
  }
  void resume_epoch(Context<B>&, int /*epoch*/) {
    for (View& view : views_) view.learned.resume_epoch();
    later_ = epoch_graph();
  }

  /// E = mean of A^l [U; V], l = 0...n_ui_layers;  h = S^n_layers V;  e_u = E_u,  e_i = E_i + h_i / |h_i|
  /// With S of the parameters as they are.
  Embeddings<B> embeddings(Tape<B>& tape, const Step<B>& step) {
    const Var<B> own = tape.parameter(*items_);
    const Var<B> e = propagate_mean(interaction_(step.training), concat_rows<B>({tape.parameter(*users_), own}),
                                    config_.n_ui_layers);
    const Var<B> h = propagate_items(tape, own, config_.n_layers, Neighbors::now);
    return {e.rows(0, users_->rows()), e.rows(users_->rows(), items_->rows()) + row_normalize(h, T(1e-12))};
  }

  Loss<B> loss(Tape<B>& tape, const Step<B>& step) {
    if (!views_.front().learned.begun()) begin_epoch(tape.context(), 0);
    const auto batch = static_cast<Index>(step.batch.users.size());
    const IndexList nodes = triplet_nodes(tape.context(), step.batch, users_->rows(), items_->rows());
    const IndexList items = triplet_items(tape.context(), step.batch, items_->rows());
    const Var<B> own = tape.parameter(*items_);
    const Var<B> h = step.first ? gather(propagate_items(tape, own, config_.n_layers, Neighbors::first_step), items)
                                : gather_propagate<B>(later_, own, config_.n_layers, items);
    // After that, so that backward it comes before: it writes every row of the gradients, to which others are added.
    const Var<B> e = gather_propagate_mean(interaction_(step.training), concat_rows<B>({tape.parameter(*users_), own}),
                                           config_.n_ui_layers, nodes);
    const Triplets<B> rows = triplets(e.rows(0, batch), e.rows(batch, 2 * batch) + row_normalize(h, T(1e-12)));
    const Var<B> fit = bpr_mean(rows);
    if (!step.first && config_.momentum_without_gradient) {
      for (const View& view : views_) view.learned.features().zero_gradients(fit);
      zero_gradient(fit, *logits_);
    }
    const auto size = static_cast<double>(step.batch.users.size());
    const double share = config_.reg_batch_size == 0 ? 1.0 : size / config_.reg_batch_size;
    return {{"bpr", fit}, {"reg", square_penalty(rows, share * config_.reg_weight)}};
  }

  /// S X for X with a row an item, S now or in an epoch's first step: w = softmax(modality_weights), K_m the neighbors'
  /// cosines, R_m the graph of raw features, S = (1 - lambda) D^-1/2 (sum_m w_m K_m) D^-1/2 + lambda sum_m w_m R_m,  D
  /// the row sums of sum_m w_m K_m
  Var<B> propagate_items(Tape<B>& tape, Var<B> x, int n_layers, Neighbors which) {
    const auto lambda = static_cast<T>(config_.lambda_coeff);
    const Var<B> weights = softmax(tape.parameter(*logits_), {logits_->cols(), 1});
    VarList<B> learned_values = tape.list(), raw_values = tape.list();
    Var<B> sums;
    for (std::size_t m = 0; m < views_.size(); ++m) {
      View& view = views_[m];
      const Var<B> weight = weights.cols(static_cast<Index>(m), 1);
      learned_values.push_back(view.learned.cosines(tape, which) * weight);
      raw_values.push_back(tape.constant({view.raw_values.data(), view.raw_places.nonzeros(), 1}) * (lambda * weight));
      sums = plus(sums, row_sums(view.learned.pattern(which), learned_values[m]));
    }
    const Var<B> scale = inverse_sqrt(sums);
    for (int layer = 0; layer < n_layers; ++layer) {
      const Var<B> scaled = x * scale;
      Var<B> learned, raw;
      for (std::size_t m = 0; m < views_.size(); ++m) {
        learned = plus(learned, spmm(views_[m].learned.pattern(which), learned_values[m], scaled));
        raw = plus(raw, spmm(views_[m].raw_places, raw_values[m], x));
      }
      x = learned * ((T{1} - lambda) * scale) + raw;
    }
    return x;
  }

 private:
  using Pattern = SparsePattern<typename B::Memory>;
  using Graph = SparseOperator<T, typename B::Memory>;

  /// What one modality has.
  struct View {
    Csr<double> raw;
    Pattern raw_places;
    Buffer<T, typename B::Memory> raw_values;
    LearnedNeighbors<B> learned;
  };
  /// S of an epoch's neighbors, cosines and weights.
  Graph epoch_graph() const {
    const OnHost<T, typename B::Memory> weights(std::as_const(*epoch_weights_).value());
    const auto n = items_->rows();
    std::vector<Csr<double>> chosen;
    chosen.reserve(views_.size());
    std::vector<WeightedGraph> cosines, parts(1);
    for (std::size_t m = 0; m < views_.size(); ++m) {
      const auto weight = static_cast<double>(weights.view().data[m]);
      cosines.push_back({weight, &chosen.emplace_back(views_[m].learned.epoch_graph())});
      parts.push_back({config_.lambda_coeff * weight, &views_[m].raw});
    }
    Csr<double> learned = fuse(n, cosines);
    normalize_by_row_sums(learned);
    parts.front() = {1 - config_.lambda_coeff, &learned};
    return Graph::from_host(SparseOperator<T>::general(cast<T>(fuse(n, parts))));
  }
  static Var<B> plus(Var<B> sum, Var<B> part) { return sum.empty() ? part : sum + part; }

  Config config_;
  InteractionGraph<B> interaction_;
  ParameterStore<B> parameters_;
  Parameter<B>* users_;
  Parameter<B>* items_;
  std::vector<View> views_;
  Parameter<B>* logits_ = nullptr;
  Parameter<B>* epoch_weights_ = nullptr;  ///< softmax(modality_weights) when the epoch began
  Graph later_;                            ///< the epoch's, for its steps but the first
};

}  // namespace rearm::REARM_ABI
