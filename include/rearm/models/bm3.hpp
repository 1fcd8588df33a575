#pragma once
/// @file bm3.hpp
/// BM3 (Zhou et al., "Bootstrap latent representations for multi-modal recommendation", WWW'23) with any modalities, as
/// MMRec computes it. docs/models/bm3.md.

#include <rearm/data/dataset.hpp>
#include <rearm/graph/bipartite.hpp>
#include <rearm/graph/options.hpp>
#include <rearm/models/mmrec.hpp>
#include <rearm/nn/trained_features.hpp>
#include <rearm/train/recommender.hpp>

#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <string_view>
#include <vector>

namespace rearm::REARM_ABI {

struct Bm3Config {
  std::vector<std::string> modalities;
  int embedding_dim = 64;
  int n_layers = 1;
  double dropout = 0.5;
  double cl_weight = 2;
  double reg_weight = 0.1;
  bool stop_gradients = true;

  friend bool operator==(const Bm3Config&, const Bm3Config&) = default;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"modalities", "use only these modalities; empty: all that the data set has"}, c.modalities);
    f(Field{"embedding_dim", "width of every embedding", between(1, 1024)}, c.embedding_dim);
    f(Field{"n_layers", "propagation layers", between(0, 100)}, c.n_layers);
    f(Field{"dropout", "share of the targets' elements that are zeroed", between(0, 1)}, c.dropout);
    f(Field{"cl_weight", "weight of the losses of each modality", at_least(0)}, c.cl_weight);
    f(Field{"reg_weight", "weight of the norms of the propagated tables", at_least(0)}, c.reg_weight);
    f(Field{"stop_gradients", "targets are constants; false: gradients flow through both sides"}, c.stop_gradients);
  }
  static TrainConfig train_defaults() { return mmrec::train_defaults(); }
};

template <Backend B>
class Bm3 {
 public:
  using T = Real<B>;
  using Config = Bm3Config;
  static constexpr std::string_view name = "bm3";

  /// Throws ConfigError for settings out of range, a modality that is not there, or data without features; DataError
  /// for ids out of range, or features that have not a row an item.
  static void check(const Config& config, const Dataset& data) {
    check_limits(config);
    detail::require_consistent(data);
    if (named_modalities(data, config.modalities).empty())
      throw ConfigError(detail::message("modalities: BM3 needs features, but data set '", data.name, "' has none"));
  }

  Bm3(Context<B>& ctx, const Dataset& data, const Config& config, const GraphOptions& = {}) try
      : config_((check(config, data), config)),
        graph_(data, 1e-7),
        users_(parameters_.add("user_id", data.n_users, config.embedding_dim)),
        items_(parameters_.add("item_id", data.n_items, config.embedding_dim)),
        predictor_(parameters_, "predictor", config.embedding_dim, config.embedding_dim, ctx.seed()),
        one_(1, 1) {
    init_xavier_uniform(users_, ctx.seed());
    init_xavier_uniform(items_, ctx.seed());
    init_xavier_normal(predictor_.weight(), ctx.seed());
    for (const Modality* m : named_modalities(data, config.modalities)) {
      features_.emplace_back(parameters_, *m, config.embedding_dim, ctx.seed());
      init_xavier_normal(features_.back().projection().weight(), ctx.seed());
    }
    fill_on_host(one_, [](Index, Out<B> rows) { rows(0, 0) = T{1}; });
  } catch (const std::bad_alloc&) {
    detail::throw_out_of_memory("making Bm3");
  }
  Bm3(const Bm3&) = delete;
  Bm3& operator=(const Bm3&) = delete;

  ParameterStore<B>& parameters() { return parameters_; }
  void train_on(const Interactions& pairs) { graph_.train_on(pairs); }

  /// Vectors of all users and items, and of all items' features, a modality each.
  struct View {
    Var<B> users, items;
    VarList<B> contents;
  };
  /// h_u = E_u,  h_i = E_i + V_i,  c_m = F_m W_m^T + b_m, where E = (E_0 + A E_0 + ... + A^L E_0) / (L + 1) and
  /// E_0 = [U; V]. Only the loss needs contents, of the batch's items: there
  /// are none where it gives them no weight.
  View online(Tape<B>& tape, const Step<B>& step) const {
    View view{{}, {}, tape.list()};
    propagate(tape, step, view);
    if (config_.cl_weight == 0) return view;
    const IndexList read = make_distinct_list(tape.context(), step.batch.positives, {}, items_.rows());
    for (const TrainedFeatures<B>& of : features_) view.contents.push_back(of(tape, &read));
    return view;
  }
  /// Of each of a batch's pairs; a row b x d each.
  struct Rows {
    Var<B> users, items;
    VarList<B> contents;
  };
  /// The online view's rows as the other side of the loss: without gradient, a share of their elements dropped.
  Rows targets(const View& of, const IndexList& users, const IndexList& items, const Step<B>& step) const {
    std::uint32_t stream = 0x424D0000;
    const auto dropped = [&](Var<B> x, const IndexList& rows) {
      const RandomKey key = x.tape().context().key(stream++, step.number);
      return gather_dropout(config_.stop_gradients ? x.detach() : x, rows, config_.dropout, key);
    };
    Rows out{dropped(of.users, users), dropped(of.items, items), of.users.tape().list()};
    for (const Var<B>& content : of.contents) out.contents.push_back(dropped(content, items));
    return out;
  }

  /// q(h_u) and q(h_i), q(x) = x W_p^T + b_p
  Embeddings<B> embeddings(Tape<B>& tape, const Step<B>& step) {
    View view{{}, {}, tape.list()};
    propagate(tape, step, view);
    return {predictor_(view.users), predictor_(view.items)};
  }

  Loss<B> loss(Tape<B>& tape, const Step<B>& step) {
    const View own = online(tape, step);
    const IndexList users = make_index_list(tape.context(), step.batch.users, users_.rows());
    const IndexList items = make_index_list(tape.context(), step.batch.positives, items_.rows());
    return loss(own, targets(own, users, items, step), users, items);
  }
  /// With targets that are there already. C(a, b) = mean_b (1 - cos(a_b, b_b)) of a batch's rows:
  ///     rec    C(q(h_u), h~_i) + C(q(h_i), h~_u)
  ///     align  cl_weight sum_m C(q(c_m), h~_i)
  ///     mask   cl_weight sum_m C(q(c_m), c~_m)
  ///     reg    reg_weight (||H_users||_F + ||H_items||_F) / n_items, of all rows
  Loss<B> loss(const View& own, const Rows& target, const IndexList& users, const IndexList& items) const {
    const auto predicted = [&](Var<B> x, const IndexList& rows) { return predictor_(gather(x, rows)); };
    const Var<B> rec =
        add(distance(predicted(own.users, users), target.items), distance(predicted(own.items, items), target.users));
    Var<B> align, mask;
    for (std::size_t m = 0; m < own.contents.size(); ++m) {
      const Var<B> content = predicted(own.contents[m], items);
      const Var<B> to_item = distance(content, target.items);
      const Var<B> to_itself = distance(content, target.contents[m]);
      align = m == 0 ? to_item : add(align, to_item);
      mask = m == 0 ? to_itself : add(mask, to_itself);
    }
    Var<B> reg;
    if (config_.reg_weight > 0) reg = add(frobenius_norm(own.users), frobenius_norm(own.items));
    return {{"rec", rec},
            {"align", weighted(align, config_.cl_weight)},
            {"mask", weighted(mask, config_.cl_weight)},
            {"reg", weighted(reg, config_.reg_weight / static_cast<double>(items_.rows()))}};
  }

 private:
  void propagate(Tape<B>& tape, const Step<B>& step, View& view) const {
    const Var<B> own = tape.parameter(items_);
    const Var<B> e =
        propagate_mean(graph_(step.training), concat_rows<B>({tape.parameter(users_), own}), config_.n_layers);
    view.users = e.rows(0, users_.rows());
    view.items = add(e.rows(users_.rows(), items_.rows()), own);
  }
  /// 1 - the mean cosine of rows; norms are at least 1e-8.
  Var<B> distance(Var<B> a, Var<B> b) const {
    return a.tape().constant(one_.view()) - column_mean(cosine(a, b, static_cast<T>(1e-8)));
  }
  static Var<B> weighted(Var<B> x, double weight) { return x.empty() ? x : scale(x, static_cast<T>(weight)); }

  Config config_;
  InteractionGraph<B> graph_;
  ParameterStore<B> parameters_;
  Parameter<B>& users_;
  Parameter<B>& items_;
  Linear<B> predictor_;
  std::vector<TrainedFeatures<B>> features_;
  Matrix<T, typename B::Memory> one_;
};

}  // namespace rearm::REARM_ABI
