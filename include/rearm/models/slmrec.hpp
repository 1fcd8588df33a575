#pragma once
/// @file slmrec.hpp
/// SLMRec (Tao et al., "Self-supervised learning for multimedia recommendation", IEEE Transactions on Multimedia, 2022)
/// with any modalities, as MMRec computes it. docs/models/slmrec.md.

#include <rearm/data/dataset.hpp>
#include <rearm/graph/bipartite.hpp>
#include <rearm/graph/options.hpp>
#include <rearm/models/mmrec.hpp>
#include <rearm/nn/last_embeddings.hpp>
#include <rearm/nn/linear.hpp>
#include <rearm/nn/raw_features.hpp>
#include <rearm/train/recommender.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

struct SlmRecConfig {
  std::vector<std::string> modalities;
  int embedding_dim = 64;
  int n_layers = 3;
  double temperature = 0.2;
  double ssl_weight = 0.1;
  double ssl_temperature = 0.5;
  bool last_step_embeddings = true;

  friend bool operator==(const SlmRecConfig&, const SlmRecConfig&) = default;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"modalities", "use only these modalities; empty: all that the data set has"}, c.modalities);
    f(Field{"embedding_dim", "width of every embedding", between(2, 1024)}, c.embedding_dim);
    f(Field{"n_layers", "propagation layers", between(0, 100)}, c.n_layers);
    f(Field{"temperature", "temperature of the loss between users and items", above(0)}, c.temperature);
    f(Field{"ssl_weight", "weight of the losses between modalities", at_least(0)}, c.ssl_weight);
    f(Field{"ssl_temperature", "temperature of these", above(0)}, c.ssl_temperature);
    f(Field{"last_step_embeddings",
            "score with the embeddings that the last training step computed (MMRec), not with new ones"},
      c.last_step_embeddings);
  }
  static TrainConfig train_defaults() {
    TrainConfig train = mmrec::train_defaults();
    train.l2 = 1e-4;
    return train;
  }
};

template <Backend B>
class SlmRec {
 public:
  using T = Real<B>;
  using Config = SlmRecConfig;
  static constexpr std::string_view name = "slmrec";

  /// Throws ConfigError for settings out of range, a modality that is not there, or data without features; DataError
  /// for ids out of range, or features that have not a row an item.
  static void check(const Config& config, const Dataset& data) {
    check_limits(config);
    detail::require_consistent(data);
    if (named_modalities(data, config.modalities).empty())
      throw ConfigError(detail::message("modalities: SLMRec needs features, but data set '", data.name, "' has none"));
  }

  SlmRec(Context<B>& ctx, const Dataset& data, const Config& config, const GraphOptions& = {}) try
      : config_((check(config, data), config)),
        graph_(data, 1e-8),
        users_(parameters_.add("user_id", data.n_users, config.embedding_dim)),
        items_(parameters_.add("item_id", data.n_items, config.embedding_dim)) {
    const std::uint64_t seed = ctx.seed();
    init_xavier_uniform(users_, seed);
    init_xavier_uniform(items_, seed);
    const Index d = config.embedding_dim;
    const auto linear_map = [&](const std::string& of, Index in, Index out) {
      const Linear<B> made(parameters_, of, in, out, seed);
      init_xavier_uniform(made.weight(), seed);
      return made;
    };
    const auto modalities = named_modalities(data, config.modalities);
    const auto n = static_cast<Index>(modalities.size());
    user_fusion_ = linear_map("user_fusion", (1 + n) * d, d);
    item_fusion_ = linear_map("item_fusion", (1 + n) * d, d);
    for (const Modality* m : modalities) {
      const bool narrow = n > 1 && m == modalities.back();
      views_.push_back({unit_features(ctx, *m), linear_map("item_projection." + m->name, m->features.cols(), d),
                        linear_map("view." + m->name, d, narrow ? d / 2 : d)});
    }
    const Index n_steps = n == 1 ? 1 : std::max<Index>(n, 3);
    for (Index k = 1; k <= n_steps; ++k)
      joint_.push_back(linear_map("joint." + std::to_string(k), d, n > 1 && k == n_steps ? d / 2 : d));
    if (config.last_step_embeddings) last_.emplace(parameters_, data.n_users, data.n_items, d);
  } catch (const std::bad_alloc&) {
    detail::throw_out_of_memory("making SlmRec");
  }
  SlmRec(const SlmRec&) = delete;
  SlmRec& operator=(const SlmRec&) = delete;

  ParameterStore<B>& parameters() { return parameters_; }
  void train_on(const Interactions& pairs) { graph_.train_on(pairs); }
  bool can_train_on_part() const { return !last_; }

  Embeddings<B> embeddings(Tape<B>& tape, const Step<B>& step) {
    if (last_ && last_->known()) return {last_->users(tape), last_->items(tape)};
    return fused(graphs(tape, step));
  }

  /// C(a, b) = mean_b (log sum_c exp(a_b . b_c) - a_b . b_b), over a batch's rows.
  ///     main   C(u / |u|, i / |i|) at `temperature`
  ///     ssl    ssl_weight sum_m C(p_m, q_m(Z_m)) at ssl_temperature, rows of the items
  Loss<B> loss(Tape<B>& tape, const Step<B>& step) {
    Context<B>& ctx = tape.context();
    const IndexList users = make_index_list(ctx, step.batch.users, users_.rows());
    const IndexList items = make_index_list(ctx, step.batch.positives, items_.rows());
    const Var<B> z = graphs(tape, step);
    const Embeddings<B> e = fused(z);
    if (last_) last_->keep(ctx, e.users.value(), e.items.value());
    const T eps = static_cast<T>(1e-12);
    const Var<B> main = info_nce(row_normalize(gather(e.users, users), eps), row_normalize(gather(e.items, items), eps),
                                 info_nce_scale(static_cast<T>(config_.temperature), T{1}, true));
    Var<B> ssl;
    if (config_.ssl_weight > 0) ssl = between_modalities(gather(z.rows(users_.rows(), items_.rows()), items));
    return {{"main", main}, {"ssl", ssl}};
  }

 private:
  /// What one modality has.
  struct View {
    Matrix<T, typename B::Memory> features;  ///< rows of length one
    Linear<B> projection, compared;
  };

  static Matrix<T, typename B::Memory> unit_features(Context<B>& ctx, const Modality& modality) {
    Matrix<T, typename B::Memory> x = raw_features<B>(modality);
    Buffer<T, typename B::Memory> norms(x.rows());
    row_normalize(ctx, std::as_const(x).view(), T(1e-12), x.view(), norms.data());
    return x;
  }

  /// Z = [Z_0 | Z_1 | ...],  Z_m = mean of A^l [U; Y_m], l = 0...n_layers,  Y_0 = V,  Y_m = X_m W_m^T + b_m
  Var<B> graphs(Tape<B>& tape, const Step<B>& step) const {
    const Var<B> users = tape.parameter(users_);
    VarList<B> blocks = tape.list();
    for (std::size_t m = 0; m <= views_.size(); ++m) blocks.push_back(users);
    blocks.push_back(tape.parameter(items_));
    for (const View& view : views_) blocks.push_back(view.projection(tape.constant(view.features.view())));
    return propagate_mean(graph_(step.training), concat(std::span<const Var<B>>(blocks), 2), config_.n_layers);
  }
  /// Z W^T + b, users and items with their own
  Embeddings<B> fused(Var<B> z) const {
    return {user_fusion_(z.rows(0, users_.rows())), item_fusion_(z.rows(users_.rows(), items_.rows()))};
  }
  /// p_1 = J_1(Z_0), p_k = J_k(p_(k-1)): each modality is compared after a step of its own, the last of several after
  /// the last step, of which there are at least three.
  Var<B> between_modalities(Var<B> rows) const {
    const Index d = config_.embedding_dim;
    const auto scale =
        info_nce_scale(static_cast<T>(config_.ssl_temperature), static_cast<T>(config_.ssl_weight), true);
    Var<B> joint = rows.cols(0, d);
    Var<B> total;
    for (std::size_t m = 0, k = 0; m < views_.size(); ++m) {
      const std::size_t end = m + 1 == views_.size() ? joint_.size() : m + 1;
      for (; k < end; ++k) joint = joint_[k](joint);
      const Var<B> loss = info_nce(joint, views_[m].compared(rows.cols(static_cast<Index>(m + 1) * d, d)), scale);
      total = total.empty() ? loss : add(total, loss);
    }
    return total;
  }

  Config config_;
  InteractionGraph<B> graph_;
  ParameterStore<B> parameters_;
  Parameter<B>& users_;
  Parameter<B>& items_;
  Linear<B> user_fusion_, item_fusion_;
  std::vector<View> views_;
  std::vector<Linear<B>> joint_;
  std::optional<LastEmbeddings<B>> last_;  ///< none where scores are made of new ones
};

}  // namespace rearm::REARM_ABI
