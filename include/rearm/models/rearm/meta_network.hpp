#pragma once
/// @file meta_network.hpp
/// The modal-shared meta network (paper eq. 13-16): from all modalities of a node to its own rank-k map of its id.

#include <rearm/models/rearm/config.hpp>
#include <rearm/models/rearm/meta_network_tape.hpp>
#include <rearm/nn/linear.hpp>

#include <string>

namespace rearm::REARM_ABI {

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
  MetaLearnerVars<B> vars(Tape<B>& tape) const {
    return {tape.parameter(hidden_.weight()), tape.parameter(hidden_.bias()), tape.parameter(*slope_),
            tape.parameter(out_.weight()), tape.parameter(out_.bias())};
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
  MetaNetwork(ParameterStore<B>& store, const std::string& name, Index n_modalities, const RearmConfig& config,
              std::uint64_t seed)
      : reference_(config.variant == Variant::reference),
        share_(store, name + ".share", n_modalities * config.embedding_dim, config.embedding_dim, seed),
        g1_(store, name + ".g1", config.embedding_dim, config.embedding_dim * config.rank, seed),
        g2_(store, name + ".g2", config.embedding_dim, config.embedding_dim * config.rank, seed) {
    // The authors' program detaches what this layer makes, so it keeps its initial values.
    share_.weight().trainable = share_.bias().trainable = !reference_;
  }
  Var<B> operator()(Var<B> modal, Var<B> id) const {
    if (!reference_) {
      const Var<B> knowledge = share_(modal);
      return low_rank_product(id, g1_(knowledge), g2_(knowledge), LowRankOrder::right_to_left);
    }
    const Var<B> knowledge = share_(modal.detach()).detach();
    return meta_network(knowledge, id, g1_.vars(id.tape()), g2_.vars(id.tape()));
  }

 private:
  bool reference_;
  Linear<B> share_;
  MetaLearner<B> g1_;
  MetaLearner<B> g2_;
};

}  // namespace rearm::REARM_ABI
