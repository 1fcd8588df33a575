#pragma once
/// @file attention.hpp
/// The two attention blocks: scalar projections (the authors' program) and d x d projections (the printed equations).

#include <rearm/nn/linear.hpp>

#include <cmath>
#include <string>

namespace rearm {

/// LayerNorm's weights.
template <Backend B>
class LayerNorm {
 public:
  LayerNorm() = default;
  LayerNorm(ParameterStore<B>& store, const std::string& name, Index width)
      : gamma_(&store.add(name + ".weight", 1, width)), beta_(&store.add(name + ".bias", 1, width)) {
    init_constant(*gamma_, 1.0);
  }
  Var<B> operator()(Var<B> x) const {
    return layer_norm(x, x.tape().parameter(*gamma_), x.tape().parameter(*beta_), Real<B>(1e-5));
  }
  /// PReLU with `slope` of that.
  Var<B> activated(Var<B> x, Var<B> slope) const {
    Tape<B>& tape = x.tape();
    return layer_norm_prelu(x, tape.parameter(*gamma_), tape.parameter(*beta_), Real<B>(1e-5), slope);
  }

 private:
  Parameter<B>* gamma_ = nullptr;
  Parameter<B>* beta_ = nullptr;
};

/// q = w_q x + b_q, k = w_k y + b_k, v = w_v y + b_v with scalars; y + w_o attention(q, k, v) + b_o.
template <Backend B>
class ScalarAttention {
 public:
  ScalarAttention(ParameterStore<B>& store, const std::string& name, std::uint64_t seed)
      : in_weight_(&store.add(name + ".in_proj.weight", 3, 1)),
        in_bias_(&store.add(name + ".in_proj.bias", 3, 1)),
        out_weight_(&store.add(name + ".out_proj.weight", 1, 1)),
        out_bias_(&store.add(name + ".out_proj.bias", 1, 1)) {
    init_uniform(*in_weight_, std::sqrt(1.5), seed);
    init_uniform(*out_weight_, 1.0, seed);
  }
  Var<B> operator()(Var<B> query, Var<B> value, double p, RandomKey key) const {
    Tape<B>& tape = query.tape();
    const Var<B> out =
        scalar_attention(query, value, tape.parameter(*in_weight_), tape.parameter(*in_bias_), Real<B>(1), p, key);
    return scalar_affine(out, tape.parameter(*out_weight_), tape.parameter(*out_bias_), value);
  }

 private:
  Parameter<B>* in_weight_;
  Parameter<B>* in_bias_;
  Parameter<B>* out_weight_;
  Parameter<B>* out_bias_;
};

/// W_Q, W_K, W_V (d x d), a LayerNorm of its own; logits divided by sqrt(d) (paper eq. 5-9).
template <Backend B>
class MatrixAttention {
 public:
  MatrixAttention(ParameterStore<B>& store, const std::string& name, Index d, std::uint64_t seed)
      : w_q_(&store.add(name + ".W_Q", d, d)),
        w_k_(&store.add(name + ".W_K", d, d)),
        w_v_(&store.add(name + ".W_V", d, d)),
        norm_(store, name + ".layer_norm", d) {
    for (Parameter<B>* w : {w_q_, w_k_, w_v_}) init_xavier_normal(*w, seed);
  }
  Var<B> query(Var<B> x) const { return linear(x, x.tape().parameter(*w_q_)); }
  /// LayerNorm(value + attention(q, W_K value, W_V value))
  Var<B> operator()(Var<B> q, Var<B> value, double p, RandomKey key) const {
    using T = Real<B>;
    Tape<B>& tape = q.tape();
    const Var<B> k = linear(value, tape.parameter(*w_k_));
    const Var<B> v = linear(value, tape.parameter(*w_v_));
    const T scale = T{1} / std::sqrt(static_cast<T>(value.cols()));
    return norm_(add(value, rank_one_attention(q, k, v, scale, p, key)));
  }

 private:
  Parameter<B>* w_q_;
  Parameter<B>* w_k_;
  Parameter<B>* w_v_;
  LayerNorm<B> norm_;
};

}  // namespace rearm
