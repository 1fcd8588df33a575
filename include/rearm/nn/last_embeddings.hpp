#pragma once
/// @file last_embeddings.hpp
/// Scoring with what the last training step computed, as some authors' programs do.

#include <rearm/autodiff/ops.hpp>
#include <rearm/core/parameters.hpp>

#include <utility>

namespace rearm::REARM_ABI {

/// The embeddings that the last training step computed, before it moved the parameters. They are arrays of the store
/// that are not trained, so that checkpoints and saved models have them: same scores after a resume.
template <Backend B>
class LastEmbeddings {
 public:
  /// Of n_users and n_items, d wide.
  LastEmbeddings(ParameterStore<B>& store, Index n_users, Index n_items, Index d)
      : known_(&add(store, "last.known", 1, 1)),
        users_(&add(store, "last.users", n_users, d)),
        items_(&add(store, "last.items", n_items, d)) {}

  /// Called by every training step with its own, before its backward pass.
  void keep(Context<B>& ctx, In<B> users, In<B> items) {
    scaled_copy<B>(ctx, Real<B>{1}, users, users_->value());
    scaled_copy<B>(ctx, Real<B>{1}, items, items_->value());
    fill<B>(ctx, Real<B>{1}, known_->value());
  }
  /// Whether any step did, in this process or before what was loaded. Waits for the device.
  bool known() const { return *OnHost<Real<B>, typename B::Memory>(std::as_const(*known_).value()).view().data != 0; }
  Var<B> users(Tape<B>& tape) const { return tape.parameter(*users_); }
  Var<B> items(Tape<B>& tape) const { return tape.parameter(*items_); }

 private:
  static Parameter<B>& add(ParameterStore<B>& store, const char* name, Index rows, Index cols) {
    Parameter<B>& out = store.add(name, rows, cols);
    out.trainable = false;
    return out;
  }
  Parameter<B>* known_;
  Parameter<B>* users_;
  Parameter<B>* items_;
};

}  // namespace rearm::REARM_ABI
