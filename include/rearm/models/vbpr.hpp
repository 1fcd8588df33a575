#pragma once
/// @file vbpr.hpp
/// VBPR (He & McAuley, "VBPR: Visual Bayesian personalized ranking from implicit feedback", AAAI'16) with any
/// modalities, as MMRec computes it. docs/models/vbpr.md.

#include <rearm/data/dataset.hpp>
#include <rearm/graph/options.hpp>
#include <rearm/models/mmrec.hpp>
#include <rearm/nn/raw_features.hpp>
#include <rearm/train/recommender.hpp>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace rearm::REARM_ABI {

struct VbprConfig {
  std::vector<std::string> modalities;
  int embedding_dim = 64;
  double reg_weight = 1e-1;

  friend bool operator==(const VbprConfig&, const VbprConfig&) = default;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"modalities", "use only these modalities; empty for all of the data set"}, c.modalities);
    f(Field{"embedding_dim", "width of an item's id embedding and of its projected features; users have twice that",
            between(1, 1024)},
      c.embedding_dim);
    f(Field{"reg_weight", "weight of the regularization by norms of the batch's embeddings", at_least(0)},
      c.reg_weight);
  }
  static TrainConfig train_defaults() { return mmrec::train_defaults(); }
};

template <Backend B>
class Vbpr {
 public:
  using T = Real<B>;
  using Config = VbprConfig;
  static constexpr std::string_view name = "vbpr";

  /// Throws ConfigError for settings out of range, a modality that is not there, or data without features; DataError
  /// for ids out of range, or features that do not have one row per item.
  static void check(const Config& config, const Dataset& data) {
    check_limits(config);
    detail::require_consistent(data);
    if (named_modalities(data, config.modalities).empty())
      throw ConfigError(detail::message("modalities: VBPR needs features, but data set '", data.name, "' has none"));
  }

  Vbpr(Context<B>& ctx, const Dataset& data, const Config& config, const GraphOptions& = {}) try
      : config_((check(config, data), config)) {
    auto modalities = named_modalities(data, config.modalities);
    std::stable_partition(modalities.begin(), modalities.end(), [](const Modality* m) { return m->name == "text"; });
    Index width = 0;
    for (const Modality* m : modalities) width += features_.emplace_back(raw_features<B>(*m)).cols();
    const Index d = config.embedding_dim;
    users_ = &parameters_.add("user_factors", data.n_users, 2 * d);
    items_ = &parameters_.add("item_id", data.n_items, d);
    weight_ = &parameters_.add("item_projection.weight", d, width);
    bias_ = &parameters_.add("item_projection.bias", 1, d);
    init_xavier_uniform(*users_, ctx.seed());
    init_xavier_uniform(*items_, ctx.seed());
    init_xavier_normal(*weight_, ctx.seed());
  } catch (const std::bad_alloc&) {
    detail::throw_out_of_memory("making Vbpr");
  }
  Vbpr(const Vbpr&) = delete;
  Vbpr& operator=(const Vbpr&) = delete;

  ParameterStore<B>& parameters() { return parameters_; }

  Embeddings<B> embeddings(Tape<B>& tape, const Step<B>&) {
    const Var<B> items = item_vectors(tape, [](Var<B> x) { return x; });
    return {tape.parameter(*users_), items};
  }

  Loss<B> loss(Tape<B>& tape, const Step<B>& step) {
    const TripletIds<B> ids(tape.context(), step.batch, users_->rows(), items_->rows());
    const auto items = [&](const IndexList& of) { return item_vectors(tape, [&](Var<B> x) { return gather(x, of); }); };
    const Triplets<B> rows{gather(tape.parameter(*users_), ids.users), items(ids.positives), items(ids.negatives)};
    return {{"bpr", mmrec::bpr(rows)}, {"reg", norm_penalty(rows, config_.reg_weight)}};
  }

 private:
  /// z_i = [q_i | W x_i + b], x_i = [text | image | ...], of the rows that `rows` takes: the products of a training
  /// step are with its batch alone. W meets each modality with its own columns.
  template <class Rows>
  Var<B> item_vectors(Tape<B>& tape, const Rows& rows) {
    const Var<B> weight = tape.parameter(*weight_);
    Var<B> content;
    Index begin = 0;
    for (const auto& x : features_) {
      const Var<B> bias = begin == 0 ? tape.parameter(*bias_) : Var<B>();
      const Var<B> part = linear(rows(tape.constant(x.view())), weight.cols(begin, x.cols()), bias);
      content = content.empty() ? part : add(content, part);
      begin += x.cols();
    }
    return concat_columns<B>({rows(tape.parameter(*items_)), content});
  }

  Config config_;
  std::vector<Matrix<T, typename B::Memory>> features_;
  ParameterStore<B> parameters_;
  Parameter<B>* users_ = nullptr;
  Parameter<B>* items_ = nullptr;
  Parameter<B>* weight_ = nullptr;
  Parameter<B>* bias_ = nullptr;
};

}  // namespace rearm::REARM_ABI
