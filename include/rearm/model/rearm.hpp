#pragma once
/// @file rearm.hpp
/// REARM (Ma et al., "Refining contrastive learning and homography relations for multi-modal recommendation", MM'25):
/// section 4 of the paper, from the operators of this library. `Variant` chooses between the authors' program and the
/// printed equations; docs/concepts.md lists the differences.

#include <rearm/data/dataset.hpp>
#include <rearm/data/sampler.hpp>
#include <rearm/graph/graph_set.hpp>
#include <rearm/graph/user_mean.hpp>
#include <rearm/loss/contrast.hpp>
#include <rearm/loss/orthogonal.hpp>
#include <rearm/loss/values.hpp>
#include <rearm/model/config.hpp>
#include <rearm/nn/attention.hpp>
#include <rearm/nn/meta_network.hpp>
#include <rearm/nn/projection.hpp>
#include <rearm/nn/propagation.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace rearm {

/// The model on one backend. Owns its parameters and graphs; values and gradients of a step live in the tape.
template <Backend B>
class Model {
 public:
  using T = typename B::Scalar;

  /// Everything `forward` makes that somebody needs: rows are users, then items.
  struct Forward {
    Var<B> representation;  ///< r of eq. 18-19, n x (|M| + 1) d
    VarList<B> modal;       ///< each modality after LightGCN, n x d
  };
  struct Losses {
    Var<B> total;
    Var<B> bpr;
    Var<B> contrast;    ///< empty with one modality or weight 0
    Var<B> orthogonal;  ///< likewise
    Var<B> l2;          ///< paper variant only
    LossParts<B> parts() const { return {total, bpr, contrast, orthogonal, l2}; }
    LossValues values() const { return loss_values(parts()); }
  };

  /// Initialises all parameters from config.seed. Throws ConfigError and DataError before anything big is allocated.
  Model(Context<B>& ctx, const Dataset& data, const Config& config, Graphs<B> graphs)
      : config_((validate(config, static_cast<int>(data.modalities.size())), config)),
        n_users_(data.n_users),
        n_items_(data.n_items),
        d_(config.embedding_dim),
        graphs_(std::move(graphs)) {
    check_graphs();
    user_mean_ = decltype(user_mean_)::from_host(user_mean_operator<T>(items_by_user(data.train, n_users_), n_items_));
    user_id_ = &parameters_.add("user_id", n_users_, d_);
    item_id_ = &parameters_.add("item_id", n_items_, d_);
    init_normal(*user_id_, 0.1, config.seed);
    init_normal(*item_id_, 0.1, config.seed);
    const bool reference = config.variant == Variant::reference;
    for (const Modality& m : data.modalities) {
      names_.push_back(m.name);
      projections_.emplace_back(ctx, parameters_, m, data, config_, &user_mean_);
      const bool cross = data.modalities.size() > 1;
      if (reference) {
        self_scalar_.emplace_back(parameters_, "self_attention." + m.name, config.seed);
        if (cross) cross_scalar_.emplace_back(parameters_, "cross_attention." + m.name, config.seed);
      } else {
        self_matrix_.emplace_back(parameters_, "self_attention." + m.name, d_, config.seed);
        if (cross) cross_matrix_.emplace_back(parameters_, "cross_attention." + m.name, d_, config.seed);
      }
    }
    if (reference) norm_ = LayerNorm<B>(parameters_, "layer_norm", d_);
    prelu_ = &parameters_.add("prelu", 1, 1);
    init_constant(*prelu_, 0.25);
    if (config.use_meta) {
      const auto n_modalities = static_cast<Index>(names_.size());
      user_meta_ = std::make_unique<MetaNetwork<B>>(parameters_, "user_meta", n_modalities, config_);
      item_meta_ = std::make_unique<MetaNetwork<B>>(parameters_, "item_meta", n_modalities, config_);
    }
  }
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const Config& config() const noexcept { return config_; }
  Index n_users() const noexcept { return n_users_; }
  Index n_items() const noexcept { return n_items_; }
  const std::vector<std::string>& modality_names() const noexcept { return names_; }
  ParameterStore<B>& parameters() noexcept { return parameters_; }
  const ParameterStore<B>& parameters() const noexcept { return parameters_; }
  /// Width of a representation row.
  Index representation_dim() const noexcept {
    return d_ * static_cast<Index>(names_.size() + (config_.use_meta ? 1 : 0));
  }

  /// Section 4, from raw features to representations. Dropout acts when `training`; `step` keys its random bits.
  Forward forward(Tape<B>& tape, bool training = false, std::uint32_t step = 0) {
    // 4.2.3 Homogeneous relations: h = [id | m_1 | m_2 ...], eq. 3 and 4.
    VarList<B> user_parts = tape.list({{tape.parameter(*user_id_)}});
    VarList<B> item_parts = tape.list({{tape.parameter(*item_id_)}});
    for (const Projection<B>& projection : projections_) {
      user_parts.push_back(projection.users(tape));
      item_parts.push_back(projection.items(tape));
    }
    const Var<B> user_hom = homograph(graphs_.user_homograph, concat<B>(user_parts), config_.n_uu_layers);
    const Var<B> item_hom = homograph(graphs_.item_homograph, concat<B>(item_parts), config_.n_ii_layers);

    // 4.2.4 Attention between the dimensions of an item's features, eq. 5-9.
    user_parts = split(user_hom);
    item_parts = split(item_hom);
    attend(tape, item_parts, training, step);
    if (config_.variant == Variant::reference)
      for (std::size_t m = 1; m < user_parts.size(); ++m) user_parts[m] = activate(user_parts[m]);

    // 4.3 Heterography relations: LightGCN on [users; items], every part at once, eq. 10-11.
    user_parts.insert(user_parts.end(), item_parts.begin(), item_parts.end());
    const Var<B> nodes = concat<B>(user_parts, 2);
    const Var<B> propagated = propagate_mean(graphs_.interaction, nodes, config_.n_ui_layers);
    const VarList<B> parts = split(propagated);
    const Var<B> id = parts[0];
    Forward out{{}, tape.list(std::span(parts).subspan(1))};

    // 4.4.2 Modal-shared and 4.4.3 modal-unique representations, eq. 13-19.
    VarList<B> representation = tape.list();
    for (const Var<B>& modal : out.modal) representation.push_back(activate_add(modal, id));
    if (config_.use_meta) {
      const Var<B> modal = propagated.cols(d_, d_ * static_cast<Index>(names_.size()));
      const Var<B> share = concat_rows<B>({(*user_meta_)(modal.rows(0, n_users_), id.rows(0, n_users_)),
                                           (*item_meta_)(modal.rows(n_users_, n_items_), id.rows(n_users_, n_items_))});
      const Var<B> fused = activate_add(share, id);
      if (config_.variant == Variant::reference)
        representation.push_back(fused);
      else
        representation.insert(representation.begin(), fused);
    }
    out.representation = concat<B>(representation);
    return out;
  }

  /// r of eq. 18-19 for evaluation, dropout off.
  Var<B> representation(Tape<B>& tape) { return forward(tape).representation; }

  /// Eq. 22 on one batch of (user, positive, negative).
  Losses loss(Tape<B>& tape, BatchView<typename B::Memory> batch, std::uint32_t step, bool training = true) {
    return loss(tape, forward(tape, training, step), batch);
  }
  Losses loss(Tape<B>& tape, const Forward& f, BatchView<typename B::Memory> batch) {
    const bool reference = config_.variant == Variant::reference;
    Context<B>& ctx = tape.context();
    const Var<B> r = f.representation;
    const Var<B> r_items = r.rows(n_users_, n_items_);
    const IndexList users = make_index_list(ctx, batch.users, n_users_);
    const IndexList positives = make_index_list(ctx, batch.positives, n_items_);
    const IndexList negatives = make_index_list(ctx, batch.negatives, n_items_);

    Losses out;
    const auto size = static_cast<double>(batch.size());
    out.bpr = bpr(gather(r, users), gather(r_items, positives), gather(r_items, negatives),
                  static_cast<T>(reference ? 1.0 / size : 1.0));
    out.total = out.bpr;
    if (config_.cl_weight > 0 && f.modal.size() > 1) {
      if (reference) {
        const auto contrast = [&](Index begin, Index n, std::span<const Id> a, std::span<const Id> b) {
          const IndexList ids = make_distinct_list(ctx, a, b, n);
          return modality_contrast<B>(gathered(f, begin, n, ids), config_.cl_temperature, config_.cl_weight, true,
                                      ids.count);
        };
        out.contrast =
            add(contrast(0, n_users_, batch.users, {}), contrast(n_users_, n_items_, batch.positives, batch.negatives));
      } else {
        out.contrast =
            add(modality_contrast<B>(rows_of(f, 0, n_users_), config_.cl_temperature, config_.cl_weight),
                modality_contrast<B>(rows_of(f, n_users_, n_items_), config_.cl_temperature, config_.cl_weight));
      }
      out.total = add(out.total, out.contrast);
    }
    if (config_.use_orthogonal && config_.ort_weight > 0 && f.modal.size() > 1) {
      const auto orthogonality = [&](const VarList<B>& modal) {
        return modality_orthogonality<B>(modal, config_.variant, config_.ort_weight);
      };
      out.orthogonal = reference ? add(orthogonality(gathered(f, 0, n_users_, users)),
                                       orthogonality(gathered(f, n_users_, n_items_, positives)))
                                 : orthogonality(f.modal);
      out.total = add(out.total, out.orthogonal);
    }
    if (config_.l2_weight > 0) {
      for (Parameter<B>& p : parameters_)
        if (p.trainable) {
          const Var<B> square = sum_of_squares(tape.parameter(p), static_cast<T>(config_.l2_weight));
          out.l2 = out.l2.empty() ? square : add(out.l2, square);
        }
      out.total = add(out.total, out.l2);
    }
    return out;
  }

 private:
  void check_graphs() const {
    const auto fits = [](const auto& g, Index n) { return g.empty() || (g.rows() == n && g.cols() == n); };
    if (graphs_.interaction.rows() != n_users_ + n_items_ || !fits(graphs_.user_homograph, n_users_) ||
        !fits(graphs_.item_homograph, n_items_))
      throw ShapeError(detail::message("Model: graphs of ", graphs_.interaction.rows(), " nodes do not belong to ",
                                       n_users_, " users and ", n_items_, " items"));
  }
  Var<B> activate(Var<B> x) const { return prelu(x, x.tape().parameter(*prelu_)); }
  Var<B> activate_add(Var<B> x, Var<B> y) const { return prelu_add(x, x.tape().parameter(*prelu_), y); }
  Var<B> homograph(const SparseOperator<T, typename B::Memory>& graph, Var<B> h, int n_layers) const {
    return config_.variant == Variant::reference ? propagate_unit(graph, h, n_layers, T(1e-12))
                                                 : propagate(graph, h, n_layers);
  }
  VarList<B> split(Var<B> x) const {
    VarList<B> parts = x.tape().list();
    for (Index begin = 0; begin < x.cols(); begin += d_) parts.push_back(x.cols(begin, d_));
    return parts;
  }
  /// Mean of the other modalities' x; with two, the other one.
  static Var<B> mean_of_others(const VarList<B>& x, std::size_t m) {
    Var<B> total;
    for (std::size_t other = 0; other < x.size(); ++other)
      if (other != m) total = total.empty() ? x[other] : add(total, x[other]);
    return x.size() > 2 ? scale(total, T{1} / static_cast<T>(x.size() - 1)) : total;
  }
  /// Eq. 5-9 on parts[1..]: self blocks, then cross blocks that all read the self blocks' results.
  void attend(Tape<B>& tape, VarList<B>& parts, bool training, std::uint32_t step) {
    VarList<B> x = tape.list(std::span(parts).subspan(1));
    const auto key = [&](std::size_t m, bool cross) {
      return tape.context().key(static_cast<std::uint32_t>(0x1000 + 2 * m + (cross ? 1 : 0)), step);
    };
    const double p_self = training ? config_.dropout_self : 0.0;
    const double p_cross = training ? config_.dropout_cross : 0.0;
    const bool reference = config_.variant == Variant::reference;
    for (std::size_t m = 0; m < x.size(); ++m)
      x[m] = reference ? norm_.activated(self_scalar_[m](x[m], x[m], p_self, key(m, false)), tape.parameter(*prelu_))
                       : self_matrix_[m](self_matrix_[m].query(x[m]), x[m], p_self, key(m, false));
    if (x.size() > 1) {
      VarList<B> queries = tape.list();
      for (std::size_t m = 0; m < x.size(); ++m) queries.push_back(reference ? x[m] : cross_matrix_[m].query(x[m]));
      const VarList<B> own = tape.list(x);
      for (std::size_t m = 0; m < x.size(); ++m) {
        const Var<B> q = mean_of_others(queries, m);
        x[m] = reference ? norm_.activated(cross_scalar_[m](q, own[m], p_cross, key(m, true)), tape.parameter(*prelu_))
                         : cross_matrix_[m](q, own[m], p_cross, key(m, true));
      }
    }
    std::copy(x.begin(), x.end(), parts.begin() + 1);
  }
  /// Rows `ids` of nodes [begin, begin + n), modality by modality.
  static VarList<B> gathered(const Forward& f, Index begin, Index n, const IndexList& ids) {
    VarList<B> rows = f.representation.tape().list();
    for (const Var<B>& modal : f.modal) rows.push_back(gather(modal.rows(begin, n), ids));
    return rows;
  }
  static VarList<B> rows_of(const Forward& f, Index begin, Index n) {
    VarList<B> rows = f.representation.tape().list();
    for (const Var<B>& modal : f.modal) rows.push_back(modal.rows(begin, n));
    return rows;
  }

  Config config_;
  Index n_users_;
  Index n_items_;
  Index d_;
  Graphs<B> graphs_;
  SparseOperator<T, typename B::Memory> user_mean_;
  std::vector<std::string> names_;
  ParameterStore<B> parameters_;
  Parameter<B>* user_id_ = nullptr;
  Parameter<B>* item_id_ = nullptr;
  Parameter<B>* prelu_ = nullptr;
  std::vector<Projection<B>> projections_;
  std::vector<ScalarAttention<B>> self_scalar_;
  std::vector<ScalarAttention<B>> cross_scalar_;
  std::vector<MatrixAttention<B>> self_matrix_;
  std::vector<MatrixAttention<B>> cross_matrix_;
  LayerNorm<B> norm_;
  std::unique_ptr<MetaNetwork<B>> user_meta_;
  std::unique_ptr<MetaNetwork<B>> item_meta_;
};

}  // namespace rearm
