#pragma once
/// @file epoch_start.hpp
/// What a model that has `begin_epoch`, and no `resume_epoch`, was like before it, so that it can be called again.

#include <rearm/train/store.hpp>

#include <cstddef>
#include <deque>
#include <span>
#include <type_traits>
#include <vector>

namespace rearm::REARM_ABI {

/// Copies, made before an epoch, of all that its `begin_epoch` may read and training changes: the model's persistent
/// parameters, and its inner networks with their optimizers. In the middle of an epoch a checkpoint holds these beside
/// the model's parameters as they are by then; a run that goes on from there calls `begin_epoch` with the copies first.
template <Backend B>
class EpochStart {
 public:
  /// `trained` is the model itself, then its inner networks.
  explicit EpochStart(std::span<const Trained<B>> trained)
      : model_(trained.front()), inner_networks_(trained.begin() + 1, trained.end()) {
    add_like(*model_.parameters, model_start_, true);
    for (const Trained<B>& inner : inner_networks_)
      add_like(*inner.parameters, starts_.emplace_back().parameters, false);
  }

  /// Takes the copies.
  void take() {
    copy_values(*model_.parameters, model_start_);
    take_inner();
  }
  /// What a checkpoint of the epoch takes.
  std::vector<Trained<B>> kept() {
    std::vector<Trained<B>> out = {model_, {name, &model_start_, nullptr}};
    for (std::size_t i = 0; i < starts_.size(); ++i)
      out.push_back({inner_networks_[i].name, &starts_[i].parameters, &starts_[i].optimizer});
    return out;
  }
  /// Where such a checkpoint is read back to: the inner networks themselves are then as before the epoch.
  std::vector<Trained<B>> restored() {
    std::vector<Trained<B>> out = {model_, {name, &model_start_, nullptr}};
    out.insert(out.end(), inner_networks_.begin(), inner_networks_.end());
    return out;
  }
  /// After that: f(), which begins the epoch again, with everything as it was before; then the model as it was read.
  template <class F>
  void again(const F& f) {
    take_inner();
    swap_values(*model_.parameters, model_start_);
    f();
    swap_values(*model_.parameters, model_start_);
  }

 private:
  using Memory = typename B::Memory;
  static constexpr const char* name = "epoch_start";
  struct Start {
    ParameterStore<B> parameters;
    AdamW<B> optimizer{{}};
  };

  static void add_like(const ParameterStore<B>& from, ParameterStore<B>& to, bool only_persistent) {
    for (const Parameter<B>& p : from)
      if (!only_persistent || p.persistent) set_flags(p, to.add(p.name, p.rows(), p.cols(), p.blocks()));
    for (const FeatureTable<B>& t : from.tables())
      if (!only_persistent || t.persistent)
        set_flags(t, to.add_table(t.name, t.rows(), t.cols(), t.rounded(), t.blocks()));
  }
  template <class X>
  static void set_flags(const X& from, X& to) {
    to.trainable = from.trainable;
    to.persistent = from.persistent;
  }
  /// f(an array of `a`, that of `b` with its name).
  template <class F>
  static void for_each_pair(ParameterStore<B>& a, ParameterStore<B>& b, const F& f) {
    for (Parameter<B>& p : b) f(a.find(p.name)->value(), p.value());
    for (FeatureTable<B>& t : b.tables())
      t.with_values([&](auto to) {
        a.find_table(t.name)->with_values([&](auto from) {
          if constexpr (std::is_same_v<decltype(from), decltype(to)>) f(from, to);
        });
      });
  }
  static std::size_t bytes(const auto& values) { return static_cast<std::size_t>(values.size()) * sizeof *values.data; }
  static void copy_values(ParameterStore<B>& from, ParameterStore<B>& to) {
    for_each_pair(from, to, [](auto x, auto y) { Memory::copy(y.data, x.data, bytes(x)); });
  }
  static void swap_values(ParameterStore<B>& a, ParameterStore<B>& b) {
    for_each_pair(a, b, [](auto x, auto y) {
      Buffer<std::byte, Memory> between(static_cast<Index>(bytes(x)));
      Memory::copy(between.data(), x.data, bytes(x));
      Memory::copy(x.data, y.data, bytes(x));
      Memory::copy(y.data, between.data(), bytes(x));
    });
  }
  void take_inner() {
    for (std::size_t i = 0; i < starts_.size(); ++i) {
      copy_values(*inner_networks_[i].parameters, starts_[i].parameters);
      starts_[i].optimizer = inner_networks_[i].optimizer->clone();
    }
  }

  Trained<B> model_;
  std::vector<Trained<B>> inner_networks_;
  ParameterStore<B> model_start_;
  std::deque<Start> starts_;
};

}  // namespace rearm::REARM_ABI
