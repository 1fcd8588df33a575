#pragma once
/// @file meta_network.hpp
/// The modal-shared meta network (paper eq. 13-16): from all modalities of a node to its own rank-k map of its id.

#include <rearm/model/config.hpp>
#include <rearm/nn/linear.hpp>

#include <string>

namespace rearm {

/// One knowledge learner g: Linear(d, dk), PReLU of its own, Linear(dk, dk).
template <Backend B>
class MetaLearner {
 public:
  MetaLearner(ParameterStore<B>& store, const std::string& name, Index d, Index dk, std::uint64_t seed)
      : hidden_(store, name + ".hidden", d, dk, seed),
        slope_(&store.add(name + ".prelu", 1, 1)),
        out_(store, name + ".out", dk, dk, seed) {
    init_constant(*slope_, 0.25);
  }
  Var<B> operator()(Var<B> knowledge) const {
    return out_(prelu(hidden_(knowledge), knowledge.tape().parameter(*slope_)));
  }

 private:
  Linear<B> hidden_;
  Parameter<B>* slope_;
  Linear<B> out_;
};

/// share = meta(modal)(id) for all users or all items.
template <Backend B>
class MetaNetwork {
 public:
  MetaNetwork(ParameterStore<B>& store, const std::string& name, Index n_modalities, const Config& config)
      : reference_(config.variant == Variant::reference),
        d_(config.embedding_dim),
        k_(config.rank),
        share_(store, name + ".share", n_modalities * d_, d_, config.seed),
        g1_(store, name + ".g1", d_, d_ * k_, config.seed),
        g2_(store, name + ".g2", d_, d_ * k_, config.seed) {
    // The authors' program detaches what this layer makes, so it keeps its initial values.
    share_.weight().trainable = share_.bias().trainable = !reference_;
  }
  Var<B> operator()(Var<B> modal, Var<B> id) const {
    if (!reference_) {
      const Var<B> knowledge = share_(modal);
      return low_rank_product(id, g1_(knowledge), g2_(knowledge), LowRankOrder::right_to_left);
    }
    const Var<B> knowledge = share_(modal.detach()).detach();
    const Var<B> w1 = softmax(with_mean(g1_(knowledge)), {d_, k_});  // along d, the first axis of d x k
    const Var<B> w2 = softmax(with_mean(g2_(knowledge)), {k_, d_});  // along k, the first axis of k x d
    return low_rank_product(id, w1, w2, LowRankOrder::left_to_right);
  }

 private:
  static Var<B> with_mean(Var<B> w) {
    const Var<B> unit = row_normalize(w, typename B::Scalar(1e-12));
    return add(unit, column_mean(unit));
  }
  bool reference_;
  Index d_;
  Index k_;
  Linear<B> share_;
  MetaLearner<B> g1_;
  MetaLearner<B> g2_;
};

}  // namespace rearm
