#pragma once
/// @file mig_gt.hpp
/// MIG-GT (Hu et al., "Modality-independent graph neural networks with global transformers for multimodal
/// recommendation", AAAI'25) with any modalities, as the authors' program computes it. docs/models/mig_gt.md.

#include <rearm/autodiff/ops.hpp>
#include <rearm/data/dataset.hpp>
#include <rearm/graph/bipartite.hpp>
#include <rearm/graph/options.hpp>
#include <rearm/loss/info_bpr.hpp>
#include <rearm/nn/batch_norm.hpp>
#include <rearm/nn/linear.hpp>
#include <rearm/nn/raw_features.hpp>
#include <rearm/train/config.hpp>
#include <rearm/train/recommender.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rearm::REARM_ABI {

struct MigGtConfig {
  std::vector<std::string> modalities;
  int embedding_dim = 64;
  int hidden_dim = 512;
  int attention_dim = 4;
  int n_layers = 4;
  int n_image_layers = 1;
  int n_feature_layers = 2;
  double alpha = 0.1;
  double beta = 0.9;
  double feature_dropout = 0.3;
  double hidden_dropout = 0.3;
  double user_dropout = 0.3;
  double item_dropout = 0.3;
  double edge_dropout = 0.2;
  double output_dropout = 0.2;
  int n_samples = 10;
  double global_share = 0.1;
  int n_negatives = 1;
  double reg_weight = 1e-5;
  double unsmooth_weight = 1;

  friend bool operator==(const MigGtConfig&, const MigGtConfig&) = default;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"modalities", "use only these modalities; empty: all that the data set has"}, c.modalities);
    f(Field{"embedding_dim", "width of every embedding", between(1, 1024)}, c.embedding_dim);
    f(Field{"hidden_dim", "width between the two layers that read features", between(1, 100000)}, c.hidden_dim);
    f(Field{"attention_dim", "width of queries and keys", between(1, 1024)}, c.attention_dim);
    f(Field{"n_layers", "steps of the diffusion of users' embeddings", between(0, 100)}, c.n_layers);
    f(Field{"n_image_layers", "steps of the diffusion of the modality image", between(0, 100)}, c.n_image_layers);
    f(Field{"n_feature_layers", "steps of the diffusion of every other modality", between(0, 100)}, c.n_feature_layers);
    f(Field{"alpha", "share of a node's own input in each step", at_least(0)}, c.alpha);
    f(Field{"beta", "share of its neighbors in each step", above(0)}, c.beta);
    f(Field{"feature_dropout", "probability of dropping an entry of the features", between(0, 1)}, c.feature_dropout);
    f(Field{"hidden_dropout", "probability of dropping an entry between the two layers", between(0, 1)},
      c.hidden_dropout);
    f(Field{"user_dropout", "probability of dropping an entry of users' embeddings", between(0, 1)}, c.user_dropout);
    f(Field{"item_dropout", "probability of dropping an entry of items' content", between(0, 1)}, c.item_dropout);
    f(Field{"edge_dropout", "probability of dropping a direction of an edge, in each diffusion apart", between(0, 1)},
      c.edge_dropout);
    f(Field{"output_dropout", "probability of dropping an entry of the sum of the diffusions", between(0, 1)},
      c.output_dropout);
    f(Field{"n_samples", "items drawn for each node's attention", between(0, 10000)}, c.n_samples);
    f(Field{"global_share", "share of the attention in a node's embedding", between(0, 1)}, c.global_share);
    f(Field{"n_negatives", "items drawn beside each pair, the user's own among them", between(1, 100000)},
      c.n_negatives);
    f(Field{"reg_weight", "weight of half the squares of all embeddings", at_least(0)}, c.reg_weight);
    f(Field{"unsmooth_weight", "weight of telling a positive from the items in its attention", at_least(0)},
      c.unsmooth_weight);
  }
  /// The program's for Amazon Baby: batches of 8000, learning rate 1e-2 times 0.99 an epoch, validation every 20 of 300
  /// epochs, an end after the fifth in a row without a new best.
  static TrainConfig train_defaults() {
    TrainConfig train;
    train.negatives = Negatives::exclude_train;
    train.batch_size = 8000;
    train.learning_rate = 1e-2;
    train.lr_decay = 0.99;
    train.epochs = 300;
    train.eval_every = 20;
    train.patience = 4;
    return train;
  }
};

template <Backend B>
class MigGt {
 public:
  using T = Real<B>;
  using Config = MigGtConfig;
  using Graph = SparseOperator<T, typename B::Memory>;
  static constexpr std::string_view name = "mig_gt";

  /// Throws ConfigError for settings out of range, a modality that is not there, or data without features; DataError
  /// for ids out of range, features that have not a row an item, or a single item.
  static void check(const Config& config, const Dataset& data) {
    check_limits(config);
    detail::require_consistent(data);
    if (named_modalities(data, config.modalities).empty())
      throw ConfigError(detail::message("modalities: MIG-GT needs features, but data set '", data.name, "' has none"));
    if (data.n_items < 2)
      throw DataError(detail::message("data set '", data.name, "': MIG-GT normalizes over items and needs two"));
  }

  MigGt(Context<B>& ctx, const Dataset& data, const Config& config, const GraphOptions& = {}) try
      : config_((check(config, data), config)),
        n_users_(data.n_users),
        n_items_(data.n_items),
        graph_(self_loop_interaction<B>(data, true)),
        zeros_(1, config.embedding_dim),
        users_(parameters_.add("user_id", n_users_, config.embedding_dim)),
        query_(parameters_, "attention.query", config.embedding_dim, config.attention_dim, ctx.seed()),
        key_(parameters_.add("attention.key.weight", config.attention_dim, config.embedding_dim)) {
    const std::uint64_t seed = ctx.seed();
    init_normal(users_, 1 / std::sqrt(static_cast<double>(config.embedding_dim)), seed);
    init_xavier_uniform(query_.weight(), seed);
    init_constant(query_.bias(), 0.0);
    init_xavier_uniform(key_, seed);
    const auto modalities = named_modalities(data, config.modalities);
    const Index width = modalities.back()->features.cols();
    for (const Modality* m : modalities) {
      const std::string of = "projection." + m->name;
      contents_.push_back({Matrix<T, typename B::Memory>(n_items_, width),
                           Layer(parameters_, of + ".hidden", width, config.hidden_dim, seed),
                           Layer(parameters_, of + ".output", config.hidden_dim, config.embedding_dim, seed),
                           m->name == "image" ? config.n_image_layers : config.n_feature_layers});
      if (m == modalities.back()) {
        contents_.back().features = raw_features<B>(*m);
        break;
      }
      Matrix<T, typename B::Memory> g(m->features.cols(), width);
      const RandomKey key{seed, parameter_stream("random_projection." + m->name), 0};
      fill_on_host(g, [&](Index begin, Out<B> rows) {
        for (Index i = 0; i < rows.size(); ++i)
          rows.data[i] = static_cast<T>(key.normal(static_cast<std::uint64_t>(begin * width + i)));
      });
      project_features(ctx, data, contents_.size() - 1, g.view());
    }
  } catch (const std::bad_alloc&) {
    detail::throw_out_of_memory("making MigGt");
  }
  MigGt(const MigGt&) = delete;
  MigGt& operator=(const MigGt&) = delete;

  ParameterStore<B>& parameters() { return parameters_; }
  void train_on(const Interactions& pairs) { graph_.train_on(pairs); }

  /// F_m <- the rows of X_m g over their length + 1e-8: what the constructor does with a g of its own for every
  /// modality but the last.
  void project_features(Context<B>& ctx, const Dataset& data, std::size_t m, In<B> g) {
    const Modality& modality = *named_modalities(data, config_.modalities).at(m);
    const MatrixView<T> out = contents_.at(m).features.view();
    Matrix<T, typename B::Memory> raw(std::min<Index>(n_items_, 1024), modality.features.cols());
    for (Index begin = 0; begin < n_items_; begin += raw.rows()) {
      const MatrixView<T> block = raw.view().row_block(0, std::min(raw.rows(), n_items_ - begin));
      fill_on_host<typename B::Memory>(
          block, [&](Index first, Out<B> rows) { modality.features.copy_rows(begin + first, rows); });
      gemm<B>(ctx, Op::none, Op::none, T{1}, block, g, out.row_block(begin, block.rows));
    }
    Scratch<B> scratch(ctx);
    row_scale_detached<B>(ctx, out, T(1e-8), out, scratch.template allocate<T>(n_items_));
  }
  /// What the first layer of modality m reads, n_items x width.
  In<B> features(std::size_t m) const { return contents_.at(m).features.view(); }

  /// What is dropped in a training step.
  enum class Part : std::uint32_t { features = 1, hidden, users, items, nodes };
  /// What a step draws; in evaluation its attention's items alone, by the seed. Another class with these members stands
  /// in for it where the draws are known.
  struct Draws {
    Context<B>* ctx;
    const MigGt* of;
    std::uint32_t step;
    bool training;

    /// x after dropout, m its modality.
    Var<B> dropped(Var<B> x, Part part, std::size_t m) const {
      const Config& c = of->config_;
      const double p = part == Part::features ? c.feature_dropout
                       : part == Part::hidden ? c.hidden_dropout
                       : part == Part::users  ? c.user_dropout
                       : part == Part::items  ? c.item_dropout
                                              : c.output_dropout;
      return training ? dropout(x, p, key(static_cast<std::uint32_t>(part), m)) : x;
    }
    /// Of the diffusion of modality m, or of users for as many as there are modalities.
    Edges<T> edges(const Graph& graph, std::size_t m) const {
      return training ? drop_edges(*ctx, graph, of->config_.edge_dropout, key(6, m)) : all_edges(graph);
    }
    /// A row for each node: itself and the items drawn for it, as nodes.
    IndexList attended() const {
      const RandomKey fixed{ctx->seed(), 0x4D490000, 0};
      const Index n = of->n_users_ + of->n_items_;
      return draw_beside(*ctx, n, {}, of->n_users_, of->n_items_, of->config_.n_samples, training ? key(7) : fixed, n);
    }
    /// A row for each positive: itself and the items drawn beside it.
    IndexList candidates(std::span<const Id> positives) const {
      return draw_beside(*ctx, static_cast<Index>(positives.size()), positives, 0, of->n_items_,
                         of->config_.n_negatives, key(8), of->n_items_);
    }
    RandomKey key(std::uint32_t purpose, std::size_t m = 0) const {
      return ctx->key(0x4D490000 + (purpose << 8) + static_cast<std::uint32_t>(m), step);
    }
  };

  Embeddings<B> embeddings(Tape<B>& tape, const Step<B>&) {
    return embeddings(tape, Draws{&tape.context(), this, 0, false});
  }
  template <class Draws_>
  Embeddings<B> embeddings(Tape<B>& tape, const Draws_& draws) requires(requires { draws.training; }) {
    return split(nodes(tape, draws).e);
  }

  Loss<B> loss(Tape<B>& tape, const Step<B>& step) {
    return loss(tape, step, Draws{&tape.context(), this, step.number, true});
  }
  /// Sums over the batch, u its users and p their positives:
  ///     info_bpr  log sum_j exp(e_u . e_j) - e_u . e_p, j the positive or drawn
  ///     unsmooth  unsmooth_weight times the same of e_u . Y_p, whose first row is p's own
  ///     reg       reg_weight / 2 ||E||^2, all rows
  template <class Draws_>
  Loss<B> loss(Tape<B>& tape, const Step<B>& step, const Draws_& draws) {
    Context<B>& ctx = tape.context();
    const Nodes all = nodes(tape, draws);
    const Embeddings<B> e = split(all.e);
    const Var<B> users = gather(e.users, make_index_list(ctx, step.batch.users, n_users_));
    const Var<B> scores = sampled_scores(users, e.items, draws.candidates(step.batch.positives));
    const auto half = static_cast<T>(config_.reg_weight / 2);
    return {{"info_bpr", first_is_right(scores)},
            {"unsmooth", unsmooth(all, users, step.batch.positives)},
            {"reg", half == 0 ? Var<B>() : sum_of_squares(all.e, half)}};
  }

 private:
  /// prelu(batch_norm(x W^T)): a bias would go with the mean.
  class Layer {
   public:
    Layer(ParameterStore<B>& store, const std::string& prefix, Index in, Index out, std::uint64_t seed)
        : weight_(&store.add(prefix + ".weight", out, in)),
          norm_(store, prefix + ".norm", out),
          slope_(&store.add(prefix + ".slope", 1, 1)) {
      init_xavier_uniform(*weight_, seed);
      init_constant(*slope_, 0.25);
    }
    Var<B> operator()(Var<B> x, bool training) const {
      Tape<B>& tape = x.tape();
      return norm_.activated(linear(x, tape.parameter(*weight_)), tape.parameter(*slope_), training);
    }

   private:
    Parameter<B>* weight_;
    BatchNorm<B> norm_;
    Parameter<B>* slope_;
  };
  /// What one modality has.
  struct Content {
    Matrix<T, typename B::Memory> features;
    Layer hidden, output;
    int n_layers;
  };
  /// Of all users and items: H, queries over the root of their width, keys, each one's row of `attended`, and E.
  struct Nodes {
    Var<B> h, q, k;
    IndexList attended;
    Var<B> e;
  };

  /// H = drop(D([drop(U); 0]) + sum_m D_m([0; drop(c_m)])), each D on a graph that lost edges of its own
  /// c_m = output_m(drop(hidden_m(drop(F_m))))
  /// X_j = [h_j; rows of H of j's samples],  a = softmax(Q K^T),  Y_j = share a X_j + (1 - share) X_j,  e_j its first
  /// row
  template <class Draws_>
  Nodes nodes(Tape<B>& tape, const Draws_& draws) {
    const Var<B> no_users = tape.constant({zeros_.data(), n_users_, zeros_.cols(), 0});
    const Var<B> no_items = tape.constant({zeros_.data(), n_items_, zeros_.cols(), 0});
    const Var<B> users = draws.dropped(tape.parameter(users_), Part::users, 0);
    Nodes out;
    out.h = diffused(draws.edges(graph_(draws.training), contents_.size()), concat_rows<B>({users, no_items}),
                     config_.n_layers);
    for (std::size_t m = 0; m < contents_.size(); ++m) {
      const Content& of = contents_[m];
      const Var<B> x = draws.dropped(tape.constant(of.features.view()), Part::features, m);
      const Var<B> hidden = draws.dropped(of.hidden(x, draws.training), Part::hidden, m);
      const Var<B> c = draws.dropped(of.output(hidden, draws.training), Part::items, m);
      out.h = add(out.h, diffused(draws.edges(graph_(draws.training), m), concat_rows<B>({no_users, c}), of.n_layers));
    }
    out.h = draws.dropped(out.h, Part::nodes, 0);
    out.q = scale(query_(out.h), T(1 / std::sqrt(static_cast<double>(config_.attention_dim))));
    out.k = linear(out.h, tape.parameter(key_));
    out.attended = draws.attended();
    const Var<B> a = softmax(sampled_scores(out.q, out.k, out.attended), {config_.n_samples + 1, 1});
    const auto share = static_cast<T>(config_.global_share);
    out.e = add(sampled_sum(scale(a, share), out.h, out.attended), out.h, T{1} - share);
    return out;
  }
  /// e_u . Y_p = share a (X_p e_u) + (1 - share) X_p e_u: of Y_p only products with e_u are made.
  Var<B> unsmooth(const Nodes& all, Var<B> users, std::span<const Id> positives) const {
    if (config_.unsmooth_weight == 0) return {};
    Context<B>& ctx = users.tape().context();
    const IndexList rows =
        gather_ids(ctx, all.attended, config_.n_samples + 1, positives, n_users_, n_users_ + n_items_);
    const Var<B> own = sampled_scores(users, all.h, rows);
    const Var<B> mixed = block_attention(gather(all.q, rows), gather(all.k, rows), own);
    const auto share = static_cast<T>(config_.global_share);
    const Var<B> scores = add(scale(mixed, share), own, T{1} - share);
    return scale(first_is_right(scores), static_cast<T>(config_.unsmooth_weight));
  }
  Var<B> diffused(const Edges<T>& edges, Var<B> x, int n_layers) const {
    return diffuse(edges, x, config_.alpha, config_.beta, n_layers);
  }
  Embeddings<B> split(Var<B> nodes) const { return {nodes.rows(0, n_users_), nodes.rows(n_users_, n_items_)}; }

  Config config_;
  Index n_users_;
  Index n_items_;
  InteractionGraph<B> graph_;
  Matrix<T, typename B::Memory> zeros_;  ///< one row of them
  std::vector<Content> contents_;
  ParameterStore<B> parameters_;
  Parameter<B>& users_;
  Linear<B> query_;
  Parameter<B>& key_;
};

}  // namespace rearm::REARM_ABI
