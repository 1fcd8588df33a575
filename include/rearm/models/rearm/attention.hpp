#pragma once
/// @file attention.hpp
/// Attention between the dimensions of an item's features (paper, eq. 5-9): with scalar projections (the authors'
/// program) or d x d ones (the printed equations).

#include <rearm/models/rearm/config.hpp>
#include <rearm/nn/layer_norm.hpp>
#include <rearm/nn/linear.hpp>
#include <rearm/train/recommender.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace rearm::REARM_ABI {

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

/// One attention of a query over a value, whatever its form.
template <Backend B>
class AttentionBlock {
 public:
  virtual ~AttentionBlock() = default;
  virtual Var<B> query(Var<B> x) const = 0;
  virtual Var<B> operator()(Var<B> q, Var<B> value, double p, RandomKey key) const = 0;
};

/// Eq. 5-9 for all modalities: self-attention of each, then cross-attention of the others' mean over each.
template <Backend B>
class Attention {
 public:
  /// `slope` is PReLU's, shared with the model. The authors' program has one LayerNorm for all blocks and the
  /// activation behind it; in print every block has a LayerNorm of its own.
  Attention(ParameterStore<B>& store, const std::vector<std::string>& modalities, const RearmConfig& config,
            std::uint64_t seed, Parameter<B>& slope)
      : p_self_(config.dropout_self), p_cross_(config.dropout_cross), slope_(&slope) {
    reference_ = config.variant == Variant::reference;
    if (reference_) norm_ = LayerNorm<B>(store, "layer_norm", config.embedding_dim);
    const auto make = [&](const std::string& name) -> std::unique_ptr<AttentionBlock<B>> {
      if (reference_) return std::make_unique<Scalar>(store, name, seed, norm_, slope);
      return std::make_unique<Full>(store, name, config.embedding_dim, seed);
    };
    for (const std::string& name : modalities) {
      self_.push_back(make("self_attention." + name));
      if (modalities.size() > 1) cross_.push_back(make("cross_attention." + name));
    }
  }
  Attention(const Attention&) = delete;
  Attention& operator=(const Attention&) = delete;

  /// parts = [id | m_1 | m_2 ...]; the modalities attend, the id stays.
  VarList<B> items(VarList<B> parts, const Step<B>& step) const {
    const std::size_t n = self_.size();
    Tape<B>& tape = parts.front().tape();
    const auto key = [&](std::size_t m, bool cross) {
      return tape.context().key(static_cast<std::uint32_t>(0x1000 + 2 * m + (cross ? 1 : 0)), step.number);
    };
    const std::span<Var<B>> x = std::span(parts).subspan(1);
    for (std::size_t m = 0; m < n; ++m)
      x[m] = (*self_[m])(self_[m]->query(x[m]), x[m], step.training ? p_self_ : 0.0, key(m, false));
    if (n < 2) return parts;
    VarList<B> queries = tape.list();
    for (std::size_t m = 0; m < n; ++m) queries.push_back(cross_[m]->query(x[m]));
    const VarList<B> own = tape.list(x);
    for (std::size_t m = 0; m < n; ++m)
      x[m] = (*cross_[m])(mean_of_others(queries, m), own[m], step.training ? p_cross_ : 0.0, key(m, true));
    return parts;
  }
  /// Users do not attend; the authors' program passes their modalities through PReLU.
  VarList<B> users(VarList<B> parts) const {
    if (reference_)
      for (Var<B>& part : std::span(parts).subspan(1)) part = prelu(part, part.tape().parameter(*slope_));
    return parts;
  }

 private:
  struct Scalar final : AttentionBlock<B> {
    Scalar(ParameterStore<B>& store, const std::string& name, std::uint64_t seed, const LayerNorm<B>& shared_norm,
           Parameter<B>& shared_slope)
        : attention(store, name, seed), norm(&shared_norm), slope(&shared_slope) {}
    Var<B> query(Var<B> x) const override { return x; }
    Var<B> operator()(Var<B> q, Var<B> value, double p, RandomKey key) const override {
      const Var<B> attended = attention(q, value, p, key);
      return norm->activated(attended, q.tape().parameter(*slope));
    }
    ScalarAttention<B> attention;
    const LayerNorm<B>* norm;
    Parameter<B>* slope;
  };
  struct Full final : AttentionBlock<B> {
    Full(ParameterStore<B>& store, const std::string& name, Index d, std::uint64_t seed)
        : attention(store, name, d, seed) {}
    Var<B> query(Var<B> x) const override { return attention.query(x); }
    Var<B> operator()(Var<B> q, Var<B> value, double p, RandomKey key) const override {
      return attention(q, value, p, key);
    }
    MatrixAttention<B> attention;
  };
  /// Mean of the other modalities' x; with two, the other one.
  static Var<B> mean_of_others(const VarList<B>& x, std::size_t m) {
    Var<B> total;
    for (std::size_t other = 0; other < x.size(); ++other)
      if (other != m) total = total.empty() ? x[other] : add(total, x[other]);
    return x.size() > 2 ? scale(total, Real<B>(1) / static_cast<Real<B>>(x.size() - 1)) : total;
  }
  double p_self_;
  double p_cross_;
  bool reference_;
  Parameter<B>* slope_;
  LayerNorm<B> norm_;
  std::vector<std::unique_ptr<AttentionBlock<B>>> self_, cross_;
};

}  // namespace rearm::REARM_ABI
