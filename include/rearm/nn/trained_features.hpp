#pragma once
/// @file trained_features.hpp
/// Items' features as a table that is trained, and its linear map.

#include <rearm/autodiff/project.hpp>
#include <rearm/autodiff/zero_gradient.hpp>
#include <rearm/nn/linear.hpp>
#include <rearm/nn/raw_features.hpp>

namespace rearm::REARM_ABI {

/// c = F W^T + b, n_items x d. F begins with the raw features of a modality; W and b begin as Linear's.
template <Backend B>
class TrainedFeatures {
 public:
  TrainedFeatures(ParameterStore<B>& store, const Modality& modality, Index d, std::uint64_t seed)
      : table_(&store.add_table("item_features." + modality.name, modality.features.rows(), modality.features.cols())),
        projection_(store, "item_projection." + modality.name, modality.features.cols(), d, seed) {
    fill_features(*table_, modality);
  }
  /// Of all items, or of distinct ones alone: the other rows are 0 and must not be read. Once a step.
  Var<B> operator()(Tape<B>& tape, const IndexList* items = nullptr) const {
    return project(tape, *table_, projection_.weight(), &projection_.bias(), items);
  }
  /// For a step that does not read them: gradients of 0 (autodiff/zero_gradient.hpp).
  void zero_gradients(Var<B> loss) const {
    zero_gradient(loss, *table_);
    zero_gradient(loss, projection_.weight());
    zero_gradient(loss, projection_.bias());
  }
  const FeatureTable<B>& table() const noexcept { return *table_; }
  const Linear<B>& projection() const noexcept { return projection_; }

 private:
  FeatureTable<B>* table_;
  Linear<B> projection_;
};

}  // namespace rearm::REARM_ABI
