#pragma once
/// @file freedom.hpp
/// FREEDOM (Zhou & Shen, "A tale of two graphs: Freezing and denoising graph structures for multimodal recommendation",
/// MM'23) with any modalities, as MMRec computes it. docs/models/freedom.md.

#include <rearm/data/dataset.hpp>
#include <rearm/data/edge_sampling.hpp>
#include <rearm/graph/bipartite.hpp>
#include <rearm/graph/knn_graph.hpp>
#include <rearm/graph/options.hpp>
#include <rearm/models/mmrec.hpp>
#include <rearm/models/mmrec_item_graph.hpp>
#include <rearm/nn/propagation.hpp>
#include <rearm/nn/trained_features.hpp>
#include <rearm/train/recommender.hpp>

#include <algorithm>
#include <cstdint>
#include <new>
#include <string>
#include <string_view>
#include <vector>

namespace rearm::REARM_ABI {

struct FreedomConfig {
  std::vector<std::string> modalities;
  int embedding_dim = 64;
  int n_ui_layers = 2;
  int n_mm_layers = 1;
  int knn_k = 10;
  double image_weight = 0.1;
  double dropout = 0.8;
  double reg_weight = 1e-3;

  friend bool operator==(const FreedomConfig&, const FreedomConfig&) = default;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"modalities", "use only these modalities; empty: all that the data set has"}, c.modalities);
    f(Field{"embedding_dim", "width of every embedding", between(1, 1024)}, c.embedding_dim);
    f(Field{"n_ui_layers", "propagation layers between users and items", between(0, 100)}, c.n_ui_layers);
    f(Field{"n_mm_layers", "propagation layers between items", between(0, 100)}, c.n_mm_layers);
    f(Field{"knn_k", "neighbors of an item in each modality, itself among them", at_least(1)}, c.knn_k);
    f(Field{"image_weight", "share of the image's item graph; the others have equal shares of the rest", between(0, 1)},
      c.image_weight);
    f(Field{"dropout", "share of the train pairs that an epoch leaves out of its graph", between(0, 1)}, c.dropout);
    f(Field{"reg_weight", "weight of the BPR of each modality's projected features", at_least(0)}, c.reg_weight);
  }
  static TrainConfig train_defaults() { return mmrec::train_defaults(); }
};

template <Backend B>
class Freedom {
 public:
  using T = Real<B>;
  using Config = FreedomConfig;
  static constexpr std::string_view name = "freedom";

  /// Throws ConfigError for settings out of range, a modality that is not there, data without features, as many
  /// neighbors as items or more, or a dropout that leaves no pair; DataError for ids out of range, or features that
  /// have not a row an item.
  static void check(const Config& config, const Dataset& data) {
    check_limits(config);
    detail::require_consistent(data);
    if (named_modalities(data, config.modalities).empty())
      throw ConfigError(detail::message("modalities: FREEDOM needs features, but data set '", data.name, "' has none"));
    detail::require_knn_k(config.knn_k, data.n_items, "knn_k", "items");
    const auto n_pairs = static_cast<Index>(items_by_user(data.train, data.n_users).ids.size());
    if (n_pairs > 0 && n_kept(config, n_pairs) == 0)
      throw ConfigError(detail::message("dropout = ", config.dropout, ": leaves none of ", n_pairs,
                                        " train pairs to an epoch's graph; choose a smaller one"));
  }
  /// Pairs that an epoch keeps: floor(pairs (1 - dropout)), rounded as the authors' program does.
  static Index n_kept(const Config& config, Index n_pairs) {
    return static_cast<Index>(static_cast<double>(n_pairs) * (1.0 - config.dropout));
  }
  Freedom(Context<B>& ctx, const Dataset& data, const Config& config, const GraphOptions& options = {}) try
      : config_((check(config, data), config)),
        sampler_(items_by_user(data.train, data.n_users), users_by_item(data.train, data.n_items), 1e-7),
        graph_(data, 1e-7),
        item_graph_(Graph::from_host(SparseOperator<T>::general(
            cast<T>(mmrec::item_graph(ctx, data, config.modalities, config.knn_k, config.image_weight, options))))),
        users_(parameters_.add("user_id", data.n_users, config.embedding_dim)),
        items_(parameters_.add("item_id", data.n_items, config.embedding_dim)) {
    init_xavier_uniform(users_, ctx.seed());
    init_xavier_uniform(items_, ctx.seed());
    for (const Modality* m : named_modalities(data, config.modalities))
      features_.emplace_back(parameters_, *m, config.embedding_dim, ctx.seed());
  } catch (const std::bad_alloc&) {
    detail::throw_out_of_memory("making Freedom");
  }
  Freedom(const Freedom&) = delete;
  Freedom& operator=(const Freedom&) = delete;

  ParameterStore<B>& parameters() { return parameters_; }

  /// Draws the pairs of the epoch's graph; without dropout they are the trainer's choice (TrainConfig::edge_keep).
  bool begin_epoch(Context<B>& ctx, int epoch) {
    if (config_.dropout == 0) return false;
    const RandomKey key{ctx.seed(), edge_sampling_stream, static_cast<std::uint32_t>(epoch)};
    train_on(sampler_.draw(n_kept(config_, sampler_.pairs().size()), key));
    return true;
  }
  /// The same draw: it depends on the seed and the epoch alone.
  void resume_epoch(Context<B>& ctx, int epoch) { begin_epoch(ctx, epoch); }
  bool can_train_on_part() const { return config_.dropout == 0; }
  /// Training steps propagate over these pairs alone, with the degrees that nodes have among them, until the next epoch
  /// begins.
  void train_on(const Interactions& pairs) { graph_.train_on(pairs); }

  /// E = (E_0 + A E_0 + ... + A^L E_0) / (L + 1), E_0 = [U; V];  e_u = E_u,  e_i = E_i + (S^l V)_i
  Embeddings<B> embeddings(Tape<B>& tape, const Step<B>& step) {
    const Var<B> own = tape.parameter(items_);
    const Var<B> e0 = concat_rows<B>({tape.parameter(users_), own});
    const Var<B> e = propagate_mean(graph_(step.training), e0, config_.n_ui_layers);
    const Var<B> similar = propagate<B>(item_graph_, own, config_.n_mm_layers);
    return {e.rows(0, users_.rows()), add(e.rows(users_.rows(), items_.rows()), similar)};
  }

  Loss<B> loss(Tape<B>& tape, const Step<B>& step) {
    Context<B>& ctx = tape.context();
    const auto batch = static_cast<Index>(step.batch.users.size());
    const IndexList nodes = triplet_nodes(ctx, step.batch, users_.rows(), items_.rows());
    const IndexList items = triplet_items(ctx, step.batch, items_.rows());
    const Var<B> own = tape.parameter(items_);
    const Var<B> similar = gather_propagate<B>(item_graph_, own, config_.n_mm_layers, items);
    // After that, so that backward it comes before: it writes every row of the gradients, to which others are added.
    const Var<B> e = gather_propagate_mean(graph_(step.training), concat_rows<B>({tape.parameter(users_), own}),
                                           config_.n_ui_layers, nodes);
    const Var<B> users = e.rows(0, batch);
    const Triplets<B> rows = triplets(users, add(e.rows(batch, 2 * batch), similar));
    Var<B> content;
    if (config_.reg_weight > 0) {
      const IndexList read = make_distinct_list(ctx, step.batch.positives, step.batch.negatives, items_.rows());
      for (const TrainedFeatures<B>& of : features_) {
        const Var<B> of_modality = bpr_mean(triplets(users, gather(of(tape, &read), items)));
        content = content.empty() ? of_modality : add(content, of_modality);
      }
    }
    if (!content.empty()) content = scale(content, static_cast<T>(config_.reg_weight));
    return {{"bpr", bpr_mean(rows)}, {"content", content}};
  }

 private:
  using Graph = SparseOperator<T, typename B::Memory>;

  Config config_;
  EdgeSampler sampler_;
  InteractionGraph<B> graph_;
  Graph item_graph_;
  ParameterStore<B> parameters_;
  Parameter<B>& users_;
  Parameter<B>& items_;
  std::vector<TrainedFeatures<B>> features_;
};

}  // namespace rearm::REARM_ABI
