#pragma once
/// @file lgmrec.hpp
/// LGMRec (Guo et al., "LGMRec: Local and global graph learning for multimodal recommendation", AAAI'24) with any
/// modalities, as the authors' program computes it. docs/models/lgmrec.md.

#include <rearm/data/dataset.hpp>
#include <rearm/graph/bipartite.hpp>
#include <rearm/graph/options.hpp>
#include <rearm/graph/user_mean.hpp>
#include <rearm/models/mmrec.hpp>
#include <rearm/nn/propagation.hpp>
#include <rearm/nn/raw_features.hpp>
#include <rearm/train/recommender.hpp>

#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

struct LgmRecConfig {
  std::vector<std::string> modalities;
  int embedding_dim = 64;
  int n_ui_layers = 2;
  int n_mm_layers = 2;
  int n_hyper_layers = 1;
  int n_hyperedges = 4;
  double hyper_temperature = 0.2;
  double keep_rate = 0.5;
  double hyper_weight = 0.3;
  double cl_weight = 1e-4;
  double cl_temperature = 0.2;
  double reg_weight = 1e-6;

  friend bool operator==(const LgmRecConfig&, const LgmRecConfig&) = default;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"modalities", "use only these modalities; empty: all that the data set has"}, c.modalities);
    f(Field{"embedding_dim", "width of every embedding", between(1, 1024)}, c.embedding_dim);
    f(Field{"n_ui_layers", "propagation layers of the users' and items' own embeddings", between(0, 100)},
      c.n_ui_layers);
    f(Field{"n_mm_layers", "propagation layers of projected features", between(0, 100)}, c.n_mm_layers);
    f(Field{"n_hyper_layers", "passes through the hyperedges", between(1, 100)}, c.n_hyper_layers);
    f(Field{"n_hyperedges", "hyperedges of a modality", between(1, 1024)}, c.n_hyperedges);
    f(Field{"hyper_temperature", "temperature of the shares that nodes have in hyperedges", above(0)},
      c.hyper_temperature);
    f(Field{"keep_rate", "part of these shares that a training step keeps", above_up_to(0, 1)}, c.keep_rate);
    f(Field{"hyper_weight", "weight of what comes through the hyperedges", at_least(0)}, c.hyper_weight);
    f(Field{"cl_weight", "weight of the contrast between modalities", at_least(0)}, c.cl_weight);
    f(Field{"cl_temperature", "temperature of the contrast", above(0)}, c.cl_temperature);
    f(Field{"reg_weight", "weight of the norms of a batch's final embeddings", at_least(0)}, c.reg_weight);
  }
  static TrainConfig train_defaults() { return mmrec::train_defaults(); }
};

template <Backend B>
class LgmRec {
 public:
  using T = Real<B>;
  using Config = LgmRecConfig;
  static constexpr std::string_view name = "lgmrec";

  /// Throws ConfigError for settings out of range, a modality that is not there, or data without features; DataError
  /// for ids out of range, or features that have not a row an item.
  static void check(const Config& config, const Dataset& data) {
    check_limits(config);
    detail::require_consistent(data);
    if (named_modalities(data, config.modalities).empty())
      throw ConfigError(detail::message("modalities: LGMRec needs features, but data set '", data.name, "' has none"));
  }

  LgmRec(Context<B>& ctx, const Dataset& data, const Config& config, const GraphOptions& = {}) try
      : config_((check(config, data), config)),
        graph_(data, 1e-7),
        inverse_degrees_(data.n_users + data.n_items, 1),
        users_(parameters_.add("user_id", data.n_users, config.embedding_dim)),
        items_(parameters_.add("item_id", data.n_items, config.embedding_dim)) {
    const Adjacency by_user = items_by_user(data.train, data.n_users);
    pairs_ = Graph::from_host(user_sum_operator<T>(by_user, data.n_items));
    fill_on_host(inverse_degrees_, [&](Index begin, Out<B> rows) {
      for (Index i = 0; i < rows.rows; ++i) {
        const Index node = begin + i;
        rows(i, 0) =
            node < by_user.rows() ? T{1} / (static_cast<T>(by_user.degree(node)) + static_cast<T>(1e-7)) : T{1};
      }
    });
    init_xavier_uniform(users_, ctx.seed());
    init_xavier_uniform(items_, ctx.seed());
    for (const Modality* m : named_modalities(data, config.modalities)) {
      const auto weight = [&](const char* of, Index rows) {
        Parameter<B>& p = parameters_.add(of + m->name + ".weight", rows, m->features.cols());
        init_xavier_uniform(p, ctx.seed());
        return &p;
      };
      Parameter<B>* const projection = weight("item_projection.", config.embedding_dim);
      views_.push_back({raw_features<B>(*m), projection, weight("hyperedges.", config.n_hyperedges)});
    }
  } catch (const std::bad_alloc&) {
    detail::throw_out_of_memory("making LgmRec");
  }
  LgmRec(const LgmRec&) = delete;
  LgmRec& operator=(const LgmRec&) = delete;

  ParameterStore<B>& parameters() { return parameters_; }
  /// The hyperedges and the users' means of content are those of all pairs.
  void train_on(const Interactions& pairs) { graph_.train_on(pairs); }

  /// What a step draws for modality m. An evaluation's noise depends on the seed alone, so that the same parameters
  /// always give the same scores.
  struct Draws {
    Step<B> step;
    double dropout;

    Var<B> noisy(Var<B> logits, std::uint32_t m) const {
      const Context<B>& ctx = logits.tape().context();
      const std::uint32_t stream = first_stream + 3 * m;
      return add_gumbel(logits, step.training ? ctx.key(stream, step.number) : RandomKey{ctx.seed(), stream + 1, 0});
    }
    Var<B> dropped(Var<B> shares, std::uint32_t m) const {
      if (!step.training) return shares;
      return rearm::dropout(shares, dropout, shares.tape().context().key(first_stream + 3 * m + 2, step.number));
    }
    static constexpr std::uint32_t first_stream = 0x4C470000;
  };

  Embeddings<B> embeddings(Tape<B>& tape, const Step<B>& step) { return embeddings(tape, step, draws(step)); }
  Loss<B> loss(Tape<B>& tape, const Step<B>& step) { return loss(tape, step, draws(step)); }

  /// With draws that are there already.
  template <class D>
  Embeddings<B> embeddings(Tape<B>& tape, const Step<B>& step, const D& drawn) const {
    return split(nodes(tape, step, drawn).all);
  }
  template <class D>
  Loss<B> loss(Tape<B>& tape, const Step<B>& step, const D& drawn) const {
    const TripletIds<B> ids(tape.context(), step.batch, users_.rows(), items_.rows());
    const Nodes of = nodes(tape, step, drawn);
    const auto [users, items] = split(of.all);
    const Triplets<B> rows = gather(users, items, ids);
    return {{"bpr", bpr_mean(rows)},
            {"cl_users", contrast(of, 0, users_.rows(), ids.users)},
            {"cl_items", contrast(of, users_.rows(), items_.rows(), ids.positives)},
            {"reg", norm_penalty(rows, config_.reg_weight)}};
  }

 private:
  using Graph = SparseOperator<T, typename B::Memory>;

  /// What one modality has.
  struct View {
    Matrix<T, typename B::Memory> features;
    Parameter<B>* projection;
    Parameter<B>* hyperedges;
  };
  /// Of all users and items, (n_users + n_items) x d each: the final embeddings, and what comes through each modality's
  /// hyperedges.
  struct Nodes {
    Var<B> all;
    VarList<B> hyper;
  };

  Draws draws(const Step<B>& step) const { return {step, 1 - config_.keep_rate}; }

  /// C = mean of A^l [U; V], l = 0...n_ui_layers
  /// f = X W^T, l = X P^T of each modality m's features X; R the 0/1 matrix of the pairs, g Gumbel noise
  /// M_m = A^n_mm_layers [(R f) / (degree + 1e-7); f]
  /// H_m = dropout(softmax(([R l; l] + g) / hyper_temperature)) = [H_users; H_items]
  /// i_0 = C_items,  i_k = H_items H_items^T i_(k-1),  G_m = H_m H_items^T i_(n_hyper_layers - 1)
  /// E = C + sum_m M_m / |M_m| + hyper_weight G / |G|, row by row,  G = sum_m G_m
  template <class D>
  Nodes nodes(Tape<B>& tape, const Step<B>& step, const D& drawn) const {
    const Index d = config_.embedding_dim, n_edges = config_.n_hyperedges;
    const T eps = static_cast<T>(1e-12);
    const Var<B> own = concat_rows<B>({tape.parameter(users_), tape.parameter(items_)});
    const Var<B> c = propagate_mean(graph_(step.training), own, config_.n_ui_layers);
    const Var<B> inverse_degrees = tape.constant(inverse_degrees_.view());
    Var<B> local = c, global;
    Nodes out{{}, tape.list()};
    for (std::uint32_t m = 0; m < views_.size(); ++m) {
      const View& view = views_[m];
      const Var<B> weights = concat_rows<B>({tape.parameter(*view.projection), tape.parameter(*view.hyperedges)});
      const Var<B> of_items = linear(tape.constant(view.features.view()), weights);
      const Var<B> both = concat_rows<B>({spmm(pairs_, of_items), of_items});
      const Var<B> content = mul(both.cols(0, d), inverse_degrees);
      local = add(local, propagate_unit(graph_(step.training), content, config_.n_mm_layers, eps));
      const Var<B> logits = scale(drawn.noisy(both.cols(d, n_edges), m), static_cast<T>(1 / config_.hyper_temperature));
      const Var<B> h = drawn.dropped(softmax(logits, {n_edges, 1}), m);
      const Var<B> h_items = h.rows(users_.rows(), items_.rows());
      Var<B> items = c.rows(users_.rows(), items_.rows());
      Var<B> edges = gemm(Op::transpose, Op::none, T{1}, h_items, items);
      for (int layer = 1; layer < config_.n_hyper_layers; ++layer) {
        items = gemm(Op::none, Op::none, T{1}, h_items, edges);
        edges = gemm(Op::transpose, Op::none, T{1}, h_items, items);
      }
      out.hyper.push_back(gemm(Op::none, Op::none, T{1}, h, edges));
      global = m == 0 ? out.hyper.back() : add(global, out.hyper.back());
    }
    out.all = add(local, row_normalize(global, eps), static_cast<T>(config_.hyper_weight));
    return out;
  }

  Embeddings<B> split(Var<B> nodes) const {
    return {nodes.rows(0, users_.rows()), nodes.rows(users_.rows(), items_.rows())};
  }

  /// cl_weight times the sum over the batch's rows of InfoNCE by cosine from an earlier modality to a later, against
  /// all rows of that; the mean of all such pairs of modalities. No part for weight 0 or one modality.
  Var<B> contrast(const Nodes& of, Index begin, Index n, const IndexList& ids) const {
    const std::size_t n_views = of.hyper.size();
    if (config_.cl_weight == 0 || n_views < 2) return {};
    const T weight = static_cast<T>(config_.cl_weight) / static_cast<T>(n_views * (n_views - 1) / 2);
    const auto scale = info_nce_scale(static_cast<T>(config_.cl_temperature), weight);
    const T eps = static_cast<T>(1e-12);
    Var<B> total;
    for (std::size_t later = 1; later < n_views; ++later) {
      const Var<B> others = row_normalize(of.hyper[later].rows(begin, n), eps);
      for (std::size_t m = 0; m < later; ++m) {
        const Var<B> rows = row_normalize(gather(of.hyper[m].rows(begin, n), ids), eps);
        const Var<B> loss = info_nce(rows, others, ids, scale);
        total = total.empty() ? loss : add(total, loss);
      }
    }
    return total;
  }

  Config config_;
  InteractionGraph<B> graph_;
  Graph pairs_;
  Matrix<T, typename B::Memory> inverse_degrees_;  ///< 1 / (degree + 1e-7) of users, 1 of items
  ParameterStore<B> parameters_;
  Parameter<B>& users_;
  Parameter<B>& items_;
  std::vector<View> views_;
};

}  // namespace rearm::REARM_ABI
