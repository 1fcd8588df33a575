#pragma once
/// @file ape_gnn.hpp
/// ApeGNN (Zhang et al., "ApeGNN: Node-wise adaptive aggregation in GNNs for recommendation", WWW'23): each node learns
/// how far it looks into the graph. Both forms, as the authors' program computes them. docs/models/ape_gnn.md.

#include <rearm/data/dataset.hpp>
#include <rearm/graph/bipartite.hpp>
#include <rearm/graph/options.hpp>
#include <rearm/loss/triplets.hpp>
#include <rearm/train/config.hpp>
#include <rearm/train/recommender.hpp>

#include <new>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// How a node with t weights what lies k hops away: e^-t t^k / k!, or t (1 - t)^k (personalized PageRank).
enum class ApeGnnDiffusion { heat_kernel, page_rank };
template <>
struct EnumNames<ApeGnnDiffusion> {
  static constexpr std::pair<ApeGnnDiffusion, std::string_view> values[] = {
      {ApeGnnDiffusion::heat_kernel, "heat_kernel"}, {ApeGnnDiffusion::page_rank, "page_rank"}};
};

/// What becomes of a node's weighted hops.
enum class ApeGnnPool { sum, mean };
template <>
struct EnumNames<ApeGnnPool> {
  static constexpr std::pair<ApeGnnPool, std::string_view> values[] = {{ApeGnnPool::sum, "sum"},
                                                                       {ApeGnnPool::mean, "mean"}};
};

struct ApeGnnConfig {
  ApeGnnDiffusion diffusion = ApeGnnDiffusion::heat_kernel;
  ApeGnnPool pool = ApeGnnPool::sum;
  int embedding_dim = 64;
  int n_layers = 2;
  double reg_weight = 1e-3;

  friend bool operator==(const ApeGnnConfig&, const ApeGnnConfig&) = default;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"diffusion", "weights of a node's hops: heat_kernel or page_rank"}, c.diffusion);
    f(Field{"pool", "sum or mean of the weighted hops"}, c.pool);
    f(Field{"embedding_dim", "width of every embedding", between(1, 1024)}, c.embedding_dim);
    f(Field{"n_layers", "hops beside a node's own embedding", between(0, 100)}, c.n_layers);
    f(Field{"reg_weight", "weight of the penalty on a batch's rows of hop 0, weighted", at_least(0)}, c.reg_weight);
  }
  /// The program's: batches of 1024, an end after 10 epochs in which recall@20 did not rise.
  static TrainConfig train_defaults() {
    TrainConfig train;
    train.negatives = Negatives::exclude_train;
    train.batch_size = 1024;
    train.patience = 10;
    return train;
  }
};

template <Backend B>
class ApeGnn {
 public:
  using Config = ApeGnnConfig;
  static constexpr std::string_view name = "ape_gnn";

  /// Throws ConfigError for settings out of range, DataError for ids out of range.
  static void check(const Config& config, const Dataset& data) {
    check_limits(config);
    detail::require_consistent(data);
  }

  ApeGnn(Context<B>& ctx, const Dataset& data, const Config& config, const GraphOptions& = {}) try
      : config_((check(config, data), config)),
        graph_(data, 0.0),
        users_(parameters_.add("user_id", data.n_users, config.embedding_dim)),
        items_(parameters_.add("item_id", data.n_items, config.embedding_dim)),
        user_t_(parameters_.add("user_t", data.n_users, 1)),
        item_t_(parameters_.add("item_t", data.n_items, 1)) {
    init_xavier_uniform(users_, ctx.seed());
    init_xavier_uniform(items_, ctx.seed());
    init_from_degrees(user_t_, items_by_user(data.train, data.n_users));
    init_from_degrees(item_t_, users_by_item(data.train, data.n_items));
  } catch (const std::bad_alloc&) {
    detail::throw_out_of_memory("making ApeGnn");
  }
  ApeGnn(const ApeGnn&) = delete;
  ApeGnn& operator=(const ApeGnn&) = delete;

  ParameterStore<B>& parameters() { return parameters_; }
  void train_on(const Interactions& pairs) { graph_.train_on(pairs); }

  /// Z, see `hops`.
  Embeddings<B> embeddings(Tape<B>& tape, const Step<B>& step) { return split(hops(tape, step).pooled); }

  Loss<B> loss(Tape<B>& tape, const Step<B>& step) {
    const TripletIds<B> ids(tape.context(), step.batch, users_.rows(), items_.rows());
    const Hops all = hops(tape, step);
    const auto rows_of = [&](Var<B> nodes) {
      const auto [users, items] = split(nodes);
      return gather(users, items, ids);
    };
    return {{"bpr", bpr_mean(rows_of(all.pooled))}, {"reg", square_penalty(rows_of(all.first), config_.reg_weight)}};
  }

 private:
  struct Hops {
    Var<B> first, pooled;
  };
  /// X_0 = [U; V],  X_k = A X_{k-1},  H_k = diag(w_k(t)) X_k;  H_0 and Z, the sum of H_0 ... H_K or their mean.
  Hops hops(Tape<B>& tape, const Step<B>& step) {
    using T = Real<B>;
    const bool heat = config_.diffusion == ApeGnnDiffusion::heat_kernel;
    const Var<B> t = concat_rows<B>({tape.parameter(user_t_), tape.parameter(item_t_)});
    Var<B> x = concat_rows<B>({tape.parameter(users_), tape.parameter(items_)});
    Var<B> weight = heat ? exp(scale(t, T{-1})) : t;
    const Var<B> first = mul(x, weight);
    Var<B> sum = first;
    for (int k = 1; k <= config_.n_layers; ++k) {
      x = spmm(graph_(step.training), x);
      const Var<B> next = mul(weight, t);
      weight = heat ? scale(next, T{1} / static_cast<T>(k)) : add(weight, next, T{-1});
      sum = add(sum, mul(x, weight));
    }
    const bool mean = config_.pool == ApeGnnPool::mean;
    return {first, mean ? scale(sum, T{1} / static_cast<T>(config_.n_layers + 1)) : sum};
  }
  Embeddings<B> split(Var<B> nodes) const {
    return {nodes.rows(0, users_.rows()), nodes.rows(users_.rows(), items_.rows())};
  }
  /// t = sigmoid(log(degree + 1e-7))
  static void init_from_degrees(Parameter<B>& t, const Adjacency& neighbors) {
    std::vector<double> initial;  // values are made at first use, when the lists are gone
    for (Index node = 0; node < neighbors.rows(); ++node) {
      const double degree = static_cast<double>(neighbors.degree(node)) + 1e-7;
      initial.push_back(degree / (1 + degree));
    }
    t.initialize([initial = std::move(initial)](std::uint64_t node) { return initial[node]; });
  }

  Config config_;
  InteractionGraph<B> graph_;
  ParameterStore<B> parameters_;
  Parameter<B>& users_;
  Parameter<B>& items_;
  Parameter<B>& user_t_;
  Parameter<B>& item_t_;
};

}  // namespace rearm::REARM_ABI
