#pragma once
/// @file rearm.hpp
/// REARM (Ma et al., "Refining contrastive learning and homography relations for multi-modal recommendation", MM'25):
/// section 4 of the paper. Where the authors' program and the print differ, RearmConfig::variant decides which blocks
/// are made; docs/concepts.md lists the differences.

#include <rearm/data/dataset.hpp>
#include <rearm/graph/share.hpp>
#include <rearm/graph/user_mean.hpp>
#include <rearm/models/rearm/attention.hpp>
#include <rearm/models/rearm/config.hpp>
#include <rearm/models/rearm/homographs.hpp>
#include <rearm/models/rearm/meta_network.hpp>
#include <rearm/models/rearm/objective.hpp>
#include <rearm/nn/projection.hpp>
#include <rearm/nn/propagation.hpp>
#include <rearm/train/recommender.hpp>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// The model on one backend. Owns its parameters and graphs; values and gradients of a step live in the tape.
template <Backend B>
class Model {
 public:
  using T = Real<B>;
  using Config = RearmConfig;
  static constexpr std::string_view name = "rearm";

  /// Throws what `validate` throws.
  static void check(const RearmConfig& config, const Dataset& data) {
    validate(config, static_cast<int>(data.modalities.size()));
  }

  /// Builds the graphs, or finds them in the cache, and initializes all parameters from the context's seed. Throws
  /// ConfigError and DataError before anything big is allocated.
  Model(Context<B>& ctx, const Dataset& data, const RearmConfig& config, const GraphOptions& options = {}) try
      : Model(ctx, data, config, (check(config, data), build_graphs<B>(ctx, data, config, options))) {
  } catch (const std::bad_alloc&) {
    detail::throw_out_of_memory("building REARM's graphs");
  }
  /// With graphs that are there already.
  Model(Context<B>& ctx, const Dataset& data, const RearmConfig& config, Graphs<B> graphs) try
      : config_((check(config, data), config)),
        n_users_(data.n_users),
        n_items_(data.n_items),
        d_(config.embedding_dim),
        blocks_(config.variant == Variant::reference ? share_nodes(ctx, data) : NodeBlocks()),
        graphs_(std::move(graphs)),
        objective_(make_objective<B>(config)) {
    check_graphs();
    const std::uint64_t seed = ctx.seed();
    user_mean_ = decltype(user_mean_)::from_host(user_mean_operator<T>(items_by_user(data.train, n_users_), n_items_));
    user_mean_ = share_rows(std::move(user_mean_), {blocks_.users}, {blocks_.items});
    graphs_.interaction = share_rows(std::move(graphs_.interaction), blocks_.nodes(), blocks_.nodes());
    graphs_.user_homograph = share_rows(std::move(graphs_.user_homograph), {blocks_.users}, {blocks_.users});
    graphs_.item_homograph = share_rows(std::move(graphs_.item_homograph), {blocks_.items}, {blocks_.items});
    user_id_ = &parameters_.add("user_id", n_users_, d_, blocks_.users);
    item_id_ = &parameters_.add("item_id", n_items_, d_, blocks_.items);
    init_normal(*user_id_, config.id_std, seed);
    init_normal(*item_id_, config.id_std, seed);
    for (const Modality& m : data.modalities) {
      names_.push_back(m.name);
      projections_.emplace_back(ctx, parameters_, m, data, config.features, d_, &user_mean_, blocks_);
    }
    slope_ = &parameters_.add("prelu", 1, 1);
    init_constant(*slope_, 0.25);
    if (config.use_attention) attention_ = std::make_unique<Attention<B>>(parameters_, names_, config, seed, *slope_);
    if (config.use_meta) {
      const auto n_modalities = static_cast<Index>(names_.size());
      user_meta_ = std::make_unique<MetaNetwork<B>>(parameters_, "user_meta", n_modalities, config, seed);
      item_meta_ = std::make_unique<MetaNetwork<B>>(parameters_, "item_meta", n_modalities, config, seed);
    }
    user_homograph_ = {&graphs_.user_homograph, config.users.n_layers, config.variant == Variant::reference};
    item_homograph_ = {&graphs_.item_homograph, config.items.n_layers, config.variant == Variant::reference};
    shared_first_ = config.variant == Variant::paper;
  } catch (const std::bad_alloc&) {
    detail::throw_out_of_memory("making REARM");
  }
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const RearmConfig& config() const noexcept { return config_; }
  Index n_users() const noexcept { return n_users_; }
  Index n_items() const noexcept { return n_items_; }
  const std::vector<std::string>& modality_names() const noexcept { return names_; }
  ParameterStore<B>& parameters() noexcept { return parameters_; }
  const ParameterStore<B>& parameters() const noexcept { return parameters_; }
  /// As printed, the loss has a penalty of its own.
  bool decays_weights() const noexcept { return config_.variant == Variant::reference; }

  void train_on(const Interactions& pairs) {
    part_ = interaction_operator<B>(pairs, n_users_, n_items_, degree_epsilon(config_.variant), blocks_);
  }

  /// Everything `forward` makes that somebody needs: rows are users, then items.
  struct Forward {
    Var<B> representation;  ///< r of eq. 19, n x (|M| + 1) d
    VarList<B> modal;       ///< each modality after LightGCN, n x d
  };

  /// Section 4, from raw features to representations.
  Forward forward(Tape<B>& tape, const Step<B>& step) const {
    // Users and items know nothing of each other until LightGCN: a branch of the step each.
    Context<B>& ctx = tape.context();
    // 4.2.3  m = W_m x_m + b_m (3);  h = [id | m_1 | m_2 ...], h <- G h (4)
    const Var<B> h_users = ctx.in_branch(0, [&] { return user_homograph_(concat<B>(user_parts(tape))); });
    const Var<B> h_items = ctx.in_branch(1, [&] { return item_homograph_(concat<B>(item_parts(tape))); });
    // 4.2.4  attention between the dimensions of an item's features (5)-(9)
    const VarList<B> items = ctx.in_branch(
        1, [&] { return attention_ == nullptr ? split(h_items) : attention_->items(split(h_items), step); });
    const VarList<B> users =
        ctx.in_branch(0, [&] { return attention_ == nullptr ? split(h_users) : attention_->users(split(h_users)); });
    // 4.3    LightGCN on [users; items], every part at once (10)(11)
    const Var<B> nodes = propagate_mean(interaction(step.training), stacked(users, items), config_.n_ui_layers);
    VarList<B> modal = split(nodes);
    const Var<B> id = modal.front();
    modal.erase(modal.begin());
    // 4.4.3  unique_m = prelu(m) + id (18)
    VarList<B> parts = tape.list();
    for (const Var<B>& m : modal) parts.push_back(activate_add(m, id));
    // 4.4.2  shared = prelu(W_1 W_2 id) + id, W_1 and W_2 from the modalities (13)-(16)
    if (user_meta_ != nullptr) {
      const Var<B> shared = activate_add(share(nodes.cols(d_, nodes.cols() - d_), id), id);
      parts.insert(shared_first_ ? parts.begin() : parts.end(), shared);
    }
    // 4.5    r = [shared | unique] (19)
    return {concat<B>(parts), std::move(modal)};
  }

  Embeddings<B> embeddings(Tape<B>& tape, const Step<B>& step) const { return by_kind(forward(tape, step)); }

  /// Eq. 22 on one batch.
  Loss<B> loss(Tape<B>& tape, const Step<B>& step) { return loss(tape, forward(tape, step), step); }
  Loss<B> loss(Tape<B>& tape, const Forward& f, const Step<B>& step) {
    const auto [users, items] = by_kind(f);
    const BatchIds<B> ids(tape.context(), step.batch, n_users_, n_items_);
    const auto scale = static_cast<T>(objective_->bpr_scale(step.batch.size()));
    Loss<B> loss;
    const Var<B> negatives = gather(items, ids.negatives);
    const Var<B> positives = gather(items, ids.positives);
    loss.add("bpr", bpr(gather(users, ids.users), positives, negatives, scale));  // (21)
    loss.add("contrast", objective_->contrast(f.modal, ids));                     // (12)
    loss.add("orthogonal", objective_->orthogonality(f.modal, ids));              // (17)
    loss.add("l2", objective_->l2(tape, parameters_));
    return loss;
  }

 private:
  using Graph = SparseOperator<T, typename B::Memory>;
  const Graph& interaction(bool training) const { return training && !part_.empty() ? part_ : graphs_.interaction; }
  /// h <- G h, n_layers times; with `unit_rows` (the authors' program) each row of the result has length 1.
  struct Homograph {
    const Graph* graph = nullptr;
    int n_layers = 0;
    bool unit_rows = false;
    Var<B> operator()(Var<B> h) const {
      return unit_rows ? propagate_unit(*graph, h, n_layers, T(1e-12)) : propagate(*graph, h, n_layers);
    }
  };

  void check_graphs() const {
    const auto fits = [](const auto& g, Index n) { return g.empty() || (g.rows() == n && g.cols() == n); };
    if (graphs_.interaction.rows() != n_users_ + n_items_ || !fits(graphs_.user_homograph, n_users_) ||
        !fits(graphs_.item_homograph, n_items_))
      throw ShapeError(detail::message("Model: graphs of ", graphs_.interaction.rows(), " nodes do not belong to ",
                                       n_users_, " users and ", n_items_, " items"));
  }
  VarList<B> user_parts(Tape<B>& tape) const {
    VarList<B> parts = tape.list({{tape.parameter(*user_id_)}});
    for (const Projection<B>& projection : projections_) parts.push_back(projection.users(tape));
    return parts;
  }
  VarList<B> item_parts(Tape<B>& tape) const {
    VarList<B> parts = tape.list({{tape.parameter(*item_id_)}});
    for (const Projection<B>& projection : projections_) parts.push_back(projection.items(tape));
    return parts;
  }
  VarList<B> split(Var<B> x) const {
    VarList<B> parts = x.tape().list();
    for (Index begin = 0; begin < x.cols(); begin += d_) parts.push_back(x.cols(begin, d_));
    return parts;
  }
  static Var<B> stacked(const VarList<B>& users, const VarList<B>& items) {
    VarList<B> blocks = users.front().tape().list(users);
    blocks.insert(blocks.end(), items.begin(), items.end());
    return concat<B>(blocks, 2);
  }
  Var<B> activate_add(Var<B> x, Var<B> y) const { return prelu_add(x, x.tape().parameter(*slope_), y); }
  Var<B> share(Var<B> modal, Var<B> id) const {
    const auto of = [&](int branch, const MetaNetwork<B>& meta, Index begin, Index n) {
      return modal.tape().context().in_branch(branch, [&] { return meta(modal.rows(begin, n), id.rows(begin, n)); });
    };
    const Var<B> users = of(0, *user_meta_, 0, n_users_);
    return concat_rows<B>({users, of(1, *item_meta_, n_users_, n_items_)});
  }
  Embeddings<B> by_kind(const Forward& f) const {
    return {f.representation.rows(0, n_users_), f.representation.rows(n_users_, n_items_)};
  }

  RearmConfig config_;
  Index n_users_;
  Index n_items_;
  Index d_;
  NodeBlocks blocks_;  ///< as printed, the contrast is between all rows, which every rank then has
  Graphs<B> graphs_;
  Graph part_;  ///< of the interaction graph, see train_on
  Graph user_mean_;
  std::vector<std::string> names_;
  ParameterStore<B> parameters_;
  Parameter<B>* user_id_ = nullptr;
  Parameter<B>* item_id_ = nullptr;
  Parameter<B>* slope_ = nullptr;
  std::vector<Projection<B>> projections_;
  Homograph user_homograph_, item_homograph_;
  std::unique_ptr<Attention<B>> attention_;
  std::unique_ptr<MetaNetwork<B>> user_meta_, item_meta_;
  bool shared_first_ = false;
  std::unique_ptr<const Objective<B>> objective_;
};

}  // namespace rearm::REARM_ABI
