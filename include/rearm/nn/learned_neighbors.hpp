#pragma once
/// @file learned_neighbors.hpp
/// Graphs of items that are alike by features that are trained, built anew every epoch.

#include <rearm/autodiff/edge_values.hpp>
#include <rearm/core/sparse_pattern.hpp>
#include <rearm/graph/feature_rows.hpp>
#include <rearm/graph/neighbors.hpp>
#include <rearm/nn/trained_features.hpp>

#include <cstring>
#include <memory>
#include <string>
#include <utility>

namespace rearm::REARM_ABI {

/// Which neighbors and which cosines.
enum class Neighbors {
  now,          ///< both by the parameters as they are: for evaluation
  first_step,   ///< those chosen when the epoch began, cosines by the parameters as they are, with their gradient
  later_steps,  ///< both as they were when the epoch began, without gradient
};

/// For each item the k items of greatest cosine of c = F W^T + b, itself among them, with the cosines. The choice is
/// constant, the cosines pass gradients on. What an epoch's steps read lies in arrays of the store that are not
/// trained: `resume_epoch` goes on from there. O(n k + n d) memory.
template <Backend B>
class LearnedNeighbors {
 public:
  using T = Real<B>;
  using Pattern = SparsePattern<typename B::Memory>;

  LearnedNeighbors(ParameterStore<B>& store, const Modality& modality, Index d, Index k, std::uint64_t seed)
      : k_(k),
        features_(store, modality, d, seed),
        ids_(&add(store, "epoch_neighbors." + modality.name, modality.features.rows(), k)),
        cosines_(&add(store, "epoch_cosines." + modality.name, modality.features.rows() * k, 1)) {}

  /// Chooses an epoch's neighbors.
  void begin_epoch(Context<B>& ctx) {
    Scratch<B> scratch(ctx);
    Tape<B> tape(ctx, false);
    scaled_copy<B>(ctx, T{1}, cosines(tape, Neighbors::now).value(), cosines_->value());
    epoch_ = now_;
    fill_on_host<typename B::Memory>(ids_->value(), [&](Index begin, MatrixView<T> rows) {
      for (Index e = 0; e < rows.size(); ++e) rows.data[e] = static_cast<T>(epoch_->ids[begin * k_ + e]);
    });
  }
  /// Takes up those that the arrays hold.
  void resume_epoch() { epoch_ = std::make_shared<const Choice>(Choice{{}, {}, Pattern(epoch_graph())}); }
  /// The epoch's cosines at their places, n x n, on the host. Throws DataError where the arrays hold no such ids.
  Csr<double> epoch_graph() const {
    const Index n = ids_->rows();
    const OnHost<T, typename B::Memory> ids(std::as_const(*ids_).value()), cosines(std::as_const(*cosines_).value());
    Csr<double> out{n, n, Buffer<Index>(n + 1), Buffer<Id>(n * k_), Buffer<double>(n * k_)};
    for (Index i = 0; i <= n; ++i) out.offsets[i] = i * k_;
    for (Index e = 0; e < n * k_; ++e) {
      const T id = ids.view().data[e];
      if (!(id >= 0 && id < static_cast<T>(n)))
        throw DataError(detail::message(ids_->name, ": id ", id, " is outside [0, ", n, "); the file is damaged"));
      out.indices[e] = static_cast<Id>(id);
      out.values[e] = static_cast<double>(cosines.view().data[e]);
    }
    return out;
  }
  /// Whether one of these two has been called.
  bool begun() const noexcept { return epoch_ != nullptr; }

  /// One an edge, n k x 1; `now` chooses first. For `first_step` and `later_steps` an epoch must have begun.
  Var<B> cosines(Tape<B>& tape, Neighbors which) {
    if (which == Neighbors::later_steps) return tape.parameter(*cosines_);
    const Var<B> c = features_(tape);
    if (which == Neighbors::now) choose(tape.context(), c.value());
    const Var<B> unit = row_normalize(c, T(1e-12));
    return sddmm(pattern(which), unit, unit);
  }
  /// Where they are, n x n; valid until others are chosen.
  const Pattern& pattern(Neighbors which) const { return (which == Neighbors::now ? now_ : epoch_)->pattern; }
  const TrainedFeatures<B>& features() const noexcept { return features_; }

 private:
  struct Choice {
    Matrix<T> c;  ///< what they were chosen by
    Buffer<Id> ids;
    Pattern pattern;
  };
  static Parameter<B>& add(ParameterStore<B>& store, const std::string& name, Index rows, Index cols) {
    Parameter<B>& out = store.add(name, rows, cols);
    out.trainable = false;
    return out;
  }
  /// The same again for the same bits: an epoch begins with the parameters that the one before was evaluated with.
  void choose(Context<B>& ctx, In<B> c) {
    const OnHost<T, typename B::Memory> here(c);
    const auto bytes = static_cast<std::size_t>(c.size()) * sizeof(T);
    if (now_ != nullptr && std::memcmp(now_->c.data(), here.view().data, bytes) == 0) return;
    now_ = nullptr;
    const Csr<double> chosen = to_csr(cosine_knn(ctx, ViewRows<T>{here.view()}, k_));
    Matrix<T> copy(c.rows, c.cols);
    std::memcpy(copy.data(), here.view().data, bytes);
    now_ = std::make_shared<const Choice>(Choice{std::move(copy), Buffer<Id>(chosen.indices.span()), Pattern(chosen)});
  }

  Index k_;
  TrainedFeatures<B> features_;
  Parameter<B>* ids_;
  Parameter<B>* cosines_;
  std::shared_ptr<const Choice> now_, epoch_;
};

}  // namespace rearm::REARM_ABI
