#pragma once
/// @file recommender.hpp
/// What the library requires of a model. The contract belongs to those who use models (trainer, evaluator, files,
/// programs), so that none of them names a model.

#include <rearm/autodiff/tape.hpp>
#include <rearm/core/fields.hpp>
#include <rearm/core/parameters.hpp>
#include <rearm/data/batch.hpp>
#include <rearm/data/interactions.hpp>
#include <rearm/loss/loss.hpp>
#include <rearm/train/store.hpp>

#include <concepts>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// What scores are made of: score(u, i) = users_u . items_i. Users are n_users x D, items n_items x D.
template <Backend B>
struct Embeddings {
  Var<B> users, items;
};

/// One step of training, or (`training` false, batch empty) a computation of the embeddings for evaluation.
template <Backend B>
struct Step {
  BatchView<typename B::Memory> batch = {{}, {}, {}};
  std::uint32_t number = 0;  ///< steps of the run before this one; part of the key of random draws
  bool training = false;     ///< whether dropout and noise are active
  /// Whether it is its epoch's first. After a begin_epoch that returned true a device runs that step as it is: it may
  /// compute other things than the steps that are recorded after it.
  bool first = true;
};

/// A model on backend B. `M::Config` holds its settings with their list of fields (core/fields.hpp); `M::name` is what
/// files and flags call it. `embeddings` and `loss` record on the tape what they compute.
///
/// Optional members:
/// - `bool begin_epoch(Context<B>&, int epoch)`: before each epoch's first step: resample or rebuild graphs, train an
///   inner network. True if something that steps read has moved; steps are then recorded anew on a device. A run that
///   is resumed in the middle of an epoch calls it again, with parameters and inner networks as they were the first
///   time: what it does may depend on these, the epoch and the seed alone.
/// - `void train_on(const Interactions& pairs)`: training steps propagate over these train pairs alone, with the
/// degrees
///   that nodes have among them, until the next call; evaluation over all. TrainConfig::edge_keep needs it.
/// - `bool can_train_on_part() const`: false if the model chooses these pairs itself, or scores with what a training
///   step computed; TrainConfig::edge_keep must then be 1.
/// - `void resume_epoch(Context<B>&, int epoch)`, beside begin_epoch: takes up what that made from arrays of the store
///   that are not trained. A run that is resumed in the middle of an epoch calls it instead, so that no copy of all
///   parameters is made before each epoch.
/// - `static constexpr int n_negatives`: negatives for every pair, 1 without it. batch.negatives holds those of a pair
///   one after the other.
/// - `bool decays_weights() const`: false if the model's loss has a penalty of its own and neither weight_decay nor l2
///   of TrainConfig is to be applied.
/// - `std::vector<Trained<B>> inner_networks()`: networks that `begin_epoch` trains, each with a name, a store and an
///   optimizer of its own; checkpoints include them.
/// - `static void check(const Config&, const Dataset&)`: throws ConfigError or DataError for settings that cannot be
///   used with that data, before anything is built or overwritten.
template <class M, class B>
concept Recommender = Backend<B> && FieldStruct<typename M::Config> &&
    requires(M& m, Tape<B>& tape, const Step<B>& step) {
  { M::name } -> std::convertible_to<std::string_view>;
  { m.parameters() } -> std::same_as<ParameterStore<B>&>;
  { m.embeddings(tape, step) } -> std::same_as<Embeddings<B>>;
  { m.loss(tape, step) } -> std::same_as<Loss<B>>;
};

/// Any model behind one type, so that code that uses models is compiled once per backend. Refers to a model that must
/// outlive it, or owns one.
template <Backend B>
class AnyRecommender {
 public:
  template <class M>
  requires Recommender<M, B> AnyRecommender(
      M& model)  // NOLINT(google-explicit-constructor): takes the place of a reference to the model
      : self_(held(std::shared_ptr<M>(std::shared_ptr<void>(), &model))) {}
  template <class M>
  requires Recommender<M, B>
  explicit AnyRecommender(std::shared_ptr<M> model) : self_(held(std::move(model))) {}

  std::string_view name() const { return self_->name(); }
  ParameterStore<B>& parameters() const { return self_->parameters(); }
  Embeddings<B> embeddings(Tape<B>& tape, const Step<B>& step) const { return self_->embeddings(tape, step); }
  Loss<B> loss(Tape<B>& tape, const Step<B>& step) const { return self_->loss(tape, step); }
  bool begin_epoch(Context<B>& ctx, int epoch) const { return self_->begin_epoch(ctx, epoch); }
  bool has_begin_epoch() const { return self_->has_begin_epoch(); }
  bool can_train_on_part() const { return self_->can_train_on_part(); }
  void train_on(const Interactions& pairs) const { self_->train_on(pairs); }
  void resume_epoch(Context<B>& ctx, int epoch) const { self_->resume_epoch(ctx, epoch); }
  bool has_resume_epoch() const { return self_->has_resume_epoch(); }
  int n_negatives() const { return self_->n_negatives(); }
  bool decays_weights() const { return self_->decays_weights(); }
  std::vector<Trained<B>> inner_networks() const { return self_->inner_networks(); }

 private:
  struct Interface {
    virtual ~Interface() = default;
    virtual std::string_view name() const = 0;
    virtual ParameterStore<B>& parameters() = 0;
    virtual Embeddings<B> embeddings(Tape<B>& tape, const Step<B>& step) = 0;
    virtual Loss<B> loss(Tape<B>& tape, const Step<B>& step) = 0;
    virtual bool begin_epoch(Context<B>& ctx, int epoch) = 0;
    virtual bool has_begin_epoch() const = 0;
    virtual bool can_train_on_part() const = 0;
    virtual void train_on(const Interactions& pairs) = 0;
    virtual void resume_epoch(Context<B>& ctx, int epoch) = 0;
    virtual bool has_resume_epoch() const = 0;
    virtual int n_negatives() const = 0;
    virtual bool decays_weights() const = 0;
    virtual std::vector<Trained<B>> inner_networks() = 0;
  };
  template <class M>
  struct Holder final : Interface {
    explicit Holder(std::shared_ptr<M> held) : model(std::move(held)) {}
    std::string_view name() const override { return M::name; }
    ParameterStore<B>& parameters() override { return model->parameters(); }
    Embeddings<B> embeddings(Tape<B>& tape, const Step<B>& step) override { return model->embeddings(tape, step); }
    Loss<B> loss(Tape<B>& tape, const Step<B>& step) override { return model->loss(tape, step); }
    bool begin_epoch([[maybe_unused]] Context<B>& ctx, [[maybe_unused]] int epoch) override {
      if constexpr (requires { model->begin_epoch(ctx, epoch); })
        return model->begin_epoch(ctx, epoch);
      else
        return false;
    }
    bool has_begin_epoch() const override {
      return requires(M & m, Context<B> & ctx) { m.begin_epoch(ctx, 0); };
    }
    bool can_train_on_part() const override {
      if constexpr (requires(const Interactions& pairs) { model->train_on(pairs); }) {
        if constexpr (requires { model->can_train_on_part(); })
          return model->can_train_on_part();
        else
          return true;
      } else {
        return false;
      }
    }
    void train_on([[maybe_unused]] const Interactions& pairs) override {
      if constexpr (requires { model->train_on(pairs); }) model->train_on(pairs);
    }
    void resume_epoch([[maybe_unused]] Context<B>& ctx, [[maybe_unused]] int epoch) override {
      if constexpr (requires { model->resume_epoch(ctx, epoch); }) model->resume_epoch(ctx, epoch);
    }
    bool has_resume_epoch() const override {
      return requires(M & m, Context<B> & ctx) { m.resume_epoch(ctx, 0); };
    }
    int n_negatives() const override {
      if constexpr (requires { M::n_negatives; })
        return M::n_negatives;
      else
        return 1;
    }
    bool decays_weights() const override {
      if constexpr (requires { model->decays_weights(); })
        return model->decays_weights();
      else
        return true;
    }
    std::vector<Trained<B>> inner_networks() override {
      if constexpr (requires { model->inner_networks(); })
        return model->inner_networks();
      else
        return {};
    }
    std::shared_ptr<M> model;
  };
  template <class M>
  static std::shared_ptr<Interface> held(std::shared_ptr<M> model) {
    return detail::with_memory_errors("a handle on a model",
                                      [&] { return std::make_shared<Holder<M>>(std::move(model)); });
  }
  std::shared_ptr<Interface> self_;
};

}  // namespace rearm::REARM_ABI
