#pragma once
/// @file objective.hpp
/// What REARM minimizes (paper, eq. 22), in the authors' form and as printed.

#include <rearm/loss/contrast.hpp>
#include <rearm/loss/triplets.hpp>
#include <rearm/models/rearm/config.hpp>
#include <rearm/models/rearm/orthogonal.hpp>
#include <rearm/train/recommender.hpp>

#include <cstddef>
#include <memory>
#include <span>

namespace rearm::REARM_ABI {

/// A batch's ids, and how many nodes of each kind there are.
template <Backend B>
struct BatchIds : TripletIds<B> {
  BatchView<typename B::Memory> batch;
  Index n_users, n_items;

  BatchIds(Context<B>& ctx, const BatchView<typename B::Memory>& of, Index n_users_, Index n_items_)
      : TripletIds<B>(ctx, of, n_users_, n_items_), batch(of), n_users(n_users_), n_items(n_items_) {}
};

/// The parts of eq. 22. `modal` are the modalities' rows after LightGCN, users first. A part whose weight is zero, or
/// that needs two modalities and has one, is an empty Var.
template <Backend B>
class Objective {
 public:
  virtual ~Objective() = default;
  /// Eq. 21's factor for a batch of that many pairs.
  virtual double bpr_scale(Index batch_size) const = 0;
  /// Eq. 12.
  virtual Var<B> contrast(const VarList<B>& modal, const BatchIds<B>& ids) const = 0;
  /// Eq. 17.
  virtual Var<B> orthogonality(const VarList<B>& modal, const BatchIds<B>& ids) const = 0;
  /// Of eq. 22's penalty.
  virtual Var<B> l2(Tape<B>& tape, ParameterStore<B>& parameters) const = 0;

 protected:
  /// form(a, b, share of the weight), averaged over all unordered pairs of modalities.
  template <class Form>
  static Var<B> over_pairs(const VarList<B>& modal, double weight, const Form& form) {
    const double share = weight / static_cast<double>(modal.size() * (modal.size() - 1) / 2);
    Var<B> total;
    for (std::size_t a = 0; a < modal.size(); ++a)
      for (std::size_t b = a + 1; b < modal.size(); ++b) {
        const Var<B> loss = form(modal[a], modal[b], share);
        total = total.empty() ? loss : add(total, loss);
      }
    return total;
  }
};

/// The authors' program: means over the batch. Contrast between the distinct nodes of the batch, orthogonality between
/// the columns of its users' and of its positives' rows; weights decay in the optimizer.
template <Backend B>
class ReferenceObjective final : public Objective<B> {
 public:
  explicit ReferenceObjective(const RearmConfig& config) : config_(config) {}
  double bpr_scale(Index batch_size) const override { return 1.0 / static_cast<double>(batch_size); }
  Var<B> contrast(const VarList<B>& modal, const BatchIds<B>& ids) const override {
    if (config_.cl_weight == 0 || modal.size() < 2) return {};
    Context<B>& ctx = modal.front().tape().context();
    const auto between = [&](int branch, Index begin, Index n, std::span<const Id> a, std::span<const Id> b) {
      return ctx.in_branch(branch, [&] {
        const IndexList distinct = make_distinct_list(ctx, a, b, n);
        return modality_contrast<B>(gathered(modal, begin, n, distinct), config_.cl_temperature, config_.cl_weight,
                                    true, distinct.count);
      });
    };
    const Var<B> of_items = between(1, ids.n_users, ids.n_items, ids.batch.positives, ids.batch.negatives);
    return add(between(0, 0, ids.n_users, ids.batch.users, {}), of_items);
  }
  Var<B> orthogonality(const VarList<B>& modal, const BatchIds<B>& ids) const override {
    if (!config_.use_orthogonal || config_.ort_weight == 0 || modal.size() < 2) return {};
    const auto among = [&](int branch, Index begin, Index n, const IndexList& rows) {
      return modal.front().tape().context().in_branch(branch, [&] {
        return Objective<B>::over_pairs(
            gathered(modal, begin, n, rows), config_.ort_weight,
            [](Var<B> a, Var<B> b, double share) { return batch_orthogonality(a, b, share); });
      });
    };
    const Var<B> of_items = among(1, ids.n_users, ids.n_items, ids.positives);
    return add(among(0, 0, ids.n_users, ids.users), of_items);
  }
  Var<B> l2(Tape<B>&, ParameterStore<B>&) const override { return {}; }

 private:
  /// Rows `ids` of nodes [begin, begin + n), modality by modality.
  static VarList<B> gathered(const VarList<B>& modal, Index begin, Index n, const IndexList& ids) {
    VarList<B> rows = modal.front().tape().list();
    for (const Var<B>& m : modal) rows.push_back(gather(m.rows(begin, n), ids));
    return rows;
  }
  RearmConfig config_;
};

/// The printed equations: sums over all nodes, and the squared norm of all parameters.
template <Backend B>
class PaperObjective final : public Objective<B> {
 public:
  explicit PaperObjective(const RearmConfig& config) : config_(config) {}
  double bpr_scale(Index) const override { return 1.0; }
  Var<B> contrast(const VarList<B>& modal, const BatchIds<B>& ids) const override {
    if (config_.cl_weight == 0 || modal.size() < 2) return {};
    const auto among = [&](Index begin, Index n) {
      VarList<B> rows = modal.front().tape().list();
      for (const Var<B>& m : modal) rows.push_back(m.rows(begin, n));
      return modality_contrast<B>(rows, config_.cl_temperature, config_.cl_weight);
    };
    const Var<B> of_items = among(ids.n_users, ids.n_items);
    return add(among(0, ids.n_users), of_items);
  }
  Var<B> orthogonality(const VarList<B>& modal, const BatchIds<B>&) const override {
    if (!config_.use_orthogonal || config_.ort_weight == 0 || modal.size() < 2) return {};
    return Objective<B>::over_pairs(modal, config_.ort_weight,
                                    [](Var<B> a, Var<B> b, double share) { return row_orthogonality(a, b, share); });
  }
  Var<B> l2(Tape<B>& tape, ParameterStore<B>& parameters) const override {
    Var<B> total;
    if (config_.l2_weight == 0) return total;
    for (Parameter<B>& p : parameters)
      if (p.trainable) {
        const Var<B> square = sum_of_squares(tape.parameter(p), static_cast<Real<B>>(config_.l2_weight));
        total = total.empty() ? square : add(total, square);
      }
    return total;
  }

 private:
  RearmConfig config_;
};

template <Backend B>
std::unique_ptr<const Objective<B>> make_objective(const RearmConfig& config) {
  if (config.variant == Variant::reference) return std::make_unique<const ReferenceObjective<B>>(config);
  return std::make_unique<const PaperObjective<B>>(config);
}

}  // namespace rearm::REARM_ABI
