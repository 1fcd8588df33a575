#pragma once
/// @file preference_views.hpp
/// Users' preferences and items' features of each modality, propagated together (DualGNN, DRAGON).

#include <rearm/core/backend.hpp>
#include <rearm/nn/linear.hpp>
#include <rearm/nn/raw_features.hpp>

#include <span>
#include <vector>

namespace rearm::REARM_ABI {

/// For each modality m, whose raw features X are constant, with users' table Q:
///     f = M_2 leaky_relu(M_1 X),  x = [Q; f] / |[Q; f]| row by row,  Z_m = x + A x + A A x
/// M_1 maps to 4d, M_2 to d, both with bias; Q begins Xavier normal.
template <Backend B>
class PreferenceViews {
 public:
  using T = Real<B>;
  PreferenceViews(ParameterStore<B>& store, const std::vector<const Modality*>& modalities, Index n_users, Index d,
                  std::uint64_t seed) {
    for (const Modality* m : modalities) {
      Parameter<B>& preference = store.add("user_preference." + m->name, n_users, d);
      init_xavier_normal(preference, seed);
      views_.push_back({raw_features<B>(*m), &preference,
                        Linear<B>(store, "item_hidden." + m->name, m->features.cols(), 4 * d, seed),
                        Linear<B>(store, "item_projection." + m->name, 4 * d, d, seed)});
    }
  }
  std::size_t size() const noexcept { return views_.size(); }
  Parameter<B>& preference(std::size_t m) const { return *views_[m].preference; }

  /// [Z_1 | Z_2 | ...], users first.
  Var<B> operator()(Tape<B>& tape, const SparseOperator<T, typename B::Memory>& graph) const {
    VarList<B> parts = tape.list();
    for (const View& view : views_) {
      const Var<B> hidden = leaky_relu(view.hidden(tape.constant(view.features.view())));
      const Var<B> nodes = concat_rows<B>({tape.parameter(*view.preference), view.projection(hidden)});
      parts.push_back(row_normalize(nodes, T(1e-12)));
    }
    const Var<B> x = concat(std::span<const Var<B>>(parts));
    const Var<B> h = spmm(graph, x);
    return x + h + spmm(graph, h);
  }

 private:
  struct View {
    Matrix<T, typename B::Memory> features;
    Parameter<B>* preference;
    Linear<B> hidden, projection;
  };
  std::vector<View> views_;
};

/// Weights of each of n rows for `cols` modalities: the softmax over a row of normal numbers with variance
/// 2 / (n + cols).
template <Backend B>
void init_modality_weights(Parameter<B>& p, std::uint64_t seed) {
  const RandomKey key{seed, parameter_stream(p.name), 0};
  const double deviation = std::sqrt(2.0 / static_cast<double>(p.rows() + p.cols()));
  p.initialize([=, cols = static_cast<std::uint64_t>(p.cols())](std::uint64_t i) {
    double sum = 0;
    for (std::uint64_t j = i / cols * cols; j < (i / cols + 1) * cols; ++j) sum += std::exp(deviation * key.normal(j));
    return std::exp(deviation * key.normal(i)) / sum;
  });
}

}  // namespace rearm::REARM_ABI
