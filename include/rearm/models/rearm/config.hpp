#pragma once
/// @file config.hpp
/// The settings of REARM: defaults for data of one's own, the published ones as presets, and the rules for combining
/// them.

#include <rearm/core/fields.hpp>
#include <rearm/nn/feature_config.hpp>
#include <rearm/train/config.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// `reference`: what the authors' program computes. `paper`: the printed equations.
enum class Variant { reference, paper };
template <>
struct EnumNames<Variant> {
  static constexpr std::pair<Variant, std::string_view> values[] = {{Variant::reference, "reference"},
                                                                    {Variant::paper, "paper"}};
};

/// A homograph (paper, section 4.2): w C + (1 - w) S of co-occurrence and similarity between users, or between items.
struct HomographConfig {
  bool use = true;
  int k = 10;
  int n_layers = 1;
  double co_weight = 0.3;
  std::vector<double> modality_weights;

  friend bool operator==(const HomographConfig&, const HomographConfig&) = default;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"use", "whether to propagate over this homograph"}, c.use);
    f(Field{"k", "neighbors kept per node", at_least(1)}, c.k);
    f(Field{"n_layers", "propagation layers", between(0, 100)}, c.n_layers);
    f(Field{"co_weight", "weight of co-occurrence; the rest goes to similarity", between(0, 1)}, c.co_weight);
    f(Field{"modality_weights",
            "modalities' weights in the similarity, in the data set's order, summing to 1; empty for equal",
            between(0, 1)},
      c.modality_weights);
  }
};

/// Defaults are for data of one's own, found by search on validation (docs/benchmarks.md); choose_weights fits the
/// modalities' weights, and whether they attend, to a data set. The published settings are presets.
struct RearmConfig {
  Variant variant = Variant::reference;
  FeatureConfig features = {.kind = Features::residual, .modalities = {}, .normalize = true};
  int embedding_dim = 64;
  double id_std = 0.01;
  int n_ui_layers = 2;
  int rank = 3;
  double dropout_self = 0.4;
  double dropout_cross = 0.6;
  HomographConfig users = {.k = 40, .co_weight = 0.5, .modality_weights = {}};
  HomographConfig items;
  bool use_precomputed_knn = true;
  bool use_attention = true;
  // ablations (paper, Table 3); all on is the whole model, as in the presets
  bool use_co = true;
  bool use_sim = true;
  bool use_meta = false;
  bool use_orthogonal = false;
  // losses
  double cl_weight = 1e-3;
  double cl_temperature = 0.6;
  double ort_weight = 5e-5;
  double l2_weight = 0.0;

  friend bool operator==(const RearmConfig&, const RearmConfig&) = default;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"variant", "reference (the authors' program) or paper (the equations as printed)"}, c.variant);
    FeatureConfig::fields(c.features, f);
    f(Field{"embedding_dim", "width of every embedding", between(1, 1024)}, c.embedding_dim);
    f(Field{"id_std", "standard deviation of the initial ids, which are normal", above(0)}, c.id_std);
    f(Field{"n_ui_layers", "LightGCN layers on the interaction graph", between(0, 100)}, c.n_ui_layers);
    f(Field{"rank", "rank of the meta network's maps, less than embedding_dim", at_least(1)}, c.rank);
    f(Field{"dropout_self", "dropout probability of the self-attention weights", between(0, 1)}, c.dropout_self);
    f(Field{"dropout_cross", "dropout probability of the cross-attention weights", between(0, 1)}, c.dropout_cross);
    f(Field{"users", "user homograph"}, c.users);
    f(Field{"items", "item homograph"}, c.items);
    f(Field{"use_precomputed_knn", "take item neighbors from <modality>_knn<k>_{idx,cos}.npy if the folder has them"},
      c.use_precomputed_knn);
    f(Field{"use_attention",
            "attention between the dimensions of the items' features, with its layer norm and activations"},
      c.use_attention);
    f(Field{"use_co", "use the co-occurrence part of both homographs"}, c.use_co);
    f(Field{"use_sim", "use the similarity part of both homographs"}, c.use_sim);
    f(Field{"use_meta", "use the meta network"}, c.use_meta);
    f(Field{"use_orthogonal", "use the orthogonality loss"}, c.use_orthogonal);
    f(Field{"cl_weight", "weight of the contrastive loss", at_least(0)}, c.cl_weight);
    f(Field{"cl_temperature", "temperature of the contrastive loss", above(0)}, c.cl_temperature);
    f(Field{"ort_weight", "weight of the orthogonality loss", at_least(0)}, c.ort_weight);
    f(Field{"l2_weight", "weight of the squared L2 norm of all parameters (variant paper)", at_least(0)}, c.l2_weight);
  }
  static constexpr FormerName former_names[] = {{"use_uu", "users.use"},
                                                {"user_knn_k", "users.k"},
                                                {"n_uu_layers", "users.n_layers"},
                                                {"uu_co_weight", "users.co_weight"},
                                                {"user_modality_weights", "users.modality_weights"},
                                                {"use_ii", "items.use"},
                                                {"item_knn_k", "items.k"},
                                                {"n_ii_layers", "items.n_layers"},
                                                {"ii_co_weight", "items.co_weight"},
                                                {"item_modality_weights", "items.modality_weights"}};
  static TrainConfig train_defaults() {
    TrainConfig train;
    train.learning_rate = 1e-3;
    train.weight_decay = 1;
    train.lr_decay = 0.97;
    train.warmup_epochs = 1;
    train.epochs = 200;
    return train;
  }
  /// Published settings, as the function `preset`.
  static Settings<RearmConfig> preset(std::string_view name);
  /// Fits the homographs' modality weights to the chosen modalities of a data set. Weights that the user gave (`set`
  /// holds full names, "model.users.modality_weights") are for all modalities, a preset's for image and text; those of
  /// the chosen modalities are kept and scaled to sum to 1. A preset's weights that do not fit become equal, and a
  /// sentence that says so is returned; otherwise the result is empty.
  std::string fit_modalities(const std::vector<std::string>& all, const std::vector<std::string>& chosen,
                             const std::set<std::string>& set);
};

namespace detail {
inline void require_weights(const std::vector<double>& weights, int n_modalities, std::string_view field) {
  if (weights.empty()) return;
  if (static_cast<int>(weights.size()) != n_modalities)
    throw ConfigError(message(field, " has ", weights.size(), " entries but there are ", n_modalities,
                              " modalities; give one each, or none for equal weights"));
  double sum = 0;
  for (const double w : weights) sum += w;
  require_config(std::abs(sum - 1) < 1e-9, field, sum, "weights that sum to 1");
}
}  // namespace detail

/// Throws ConfigError naming the first field that is out of range or conflicts with another.
inline void validate(const RearmConfig& c, int n_modalities) {
  if (n_modalities < 1)
    throw ConfigError(
        "modalities: REARM needs features of the items, at least one modality, and there are none: add them with "
        "`rearm prepare --features`, or take a model that needs none, such as light_gcn (--model light_gcn)");
  check_limits(c);
  detail::require_config(c.rank < c.embedding_dim, "rank", c.rank, "at least 1 and below embedding_dim");
  detail::require_weights(c.users.modality_weights, n_modalities, "users.modality_weights");
  detail::require_weights(c.items.modality_weights, n_modalities, "items.modality_weights");
  if (!c.use_co && !c.use_sim && (c.users.use || c.items.use))
    throw ConfigError(
        "use_co = false with use_sim = false leaves the homographs empty; for no homographs set users.use = false and "
        "items.use = false");
  if (c.variant == Variant::reference && c.l2_weight != 0)
    throw ConfigError(detail::message("l2_weight = ", c.l2_weight,
                                      ": the reference variant decays its weights (weight_decay); l2_weight belongs "
                                      "to variant = paper"));
  if (c.variant == Variant::paper && c.features.kind == Features::trainable)
    throw ConfigError(
        "variant = paper with features = trainable: the paper's raw features are fixed; use frozen or residual");
}

/// The settings of the model and of its training.
using RearmSettings = Settings<RearmConfig>;

namespace detail {

/// Those published for Baby, with equal modality weights.
inline RearmSettings published() {
  RearmSettings s;
  s.train = {};
  s.train.negatives = Negatives::exclude_all;
  s.train.learning_rate = 5e-5;
  s.train.weight_decay = 5e-4;
  s.train.epochs = 2000;
  s.model.features = {.kind = Features::trainable, .modalities = {}};
  s.model.id_std = 0.1;
  s.model.n_ui_layers = 4;
  s.model.use_meta = s.model.use_orthogonal = true;
  s.model.cl_weight = 5e-6;
  s.model.users = {.k = 40, .co_weight = 0.4, .modality_weights = {}};
  s.model.items = {.co_weight = 0.2, .modality_weights = {}};
  return s;
}

}  // namespace detail

/// Published settings of the authors' program (baby, sports, clothing), or settings for make_synthetic()'s data, found
/// by a small search on its validation split (synthetic). Baby's with another schedule, found on its validation split
/// (baby-fast), come within a hundredth of them in a fifth of the epochs.
inline RearmSettings preset(std::string_view name) {
  RearmSettings s = detail::published();
  RearmConfig& c = s.model;
  if (name == "baby" || name == "baby-fast") {
    c.users.modality_weights = {0.2, 0.8};
    c.items.modality_weights = {0.0, 1.0};
    if (name == "baby-fast") {
      s.train.negatives = Negatives::exclude_train;
      s.train.learning_rate = 5e-4;
      s.train.lr_decay = 0.96;
      s.train.epochs = 40;
      c.features.kind = Features::residual;
      c.features.normalize = true;
    }
  } else if (name == "sports") {
    s.train.weight_decay = 5e-2;
    c.n_ui_layers = 5;
    c.rank = 7;
    c.dropout_self = 1.0;
    c.dropout_cross = 0.2;
    c.users = {.k = 25, .n_layers = 2, .co_weight = 0.9, .modality_weights = {0.0, 1.0}};
    c.items = {.k = 5, .n_layers = 2, .co_weight = 0.2, .modality_weights = {0.2, 0.8}};
    c.cl_temperature = 1.5;
    c.cl_weight = 1e-3;
    c.ort_weight = 5e-4;
  } else if (name == "clothing") {
    s.train.weight_decay = 1e-5;
    c.dropout_cross = 0.1;
    c.users = {.k = 45, .co_weight = 0.7, .modality_weights = {0.1, 0.9}};
    c.items = {.k = 10, .co_weight = 0.1, .modality_weights = {0.1, 0.9}};
    c.cl_temperature = 0.03;
    c.cl_weight = 1e-6;
    c.ort_weight = 1e-5;
  } else if (name == "synthetic") {
    s.train.negatives = Negatives::exclude_train;
    s.train.learning_rate = 3e-3;
    s.train.weight_decay = 0.4;
    s.train.batch_size = 1024;
    s.train.epochs = 26;
    s.train.patience = 5;
    c.features.kind = Features::residual;
    c.users.modality_weights = c.items.modality_weights = {0.5, 0.5};
    c.users.k = 20;
  } else {
    throw ConfigError(detail::message("preset '", name, "': must be baby, baby-fast, sports, clothing or synthetic"));
  }
  return s;
}
inline RearmSettings RearmConfig::preset(std::string_view name) { return rearm::preset(name); }

namespace detail {
/// Weights that were made for some modalities, for the chosen ones: each its own, scaled to sum 1 (all 0: equal, which
/// an empty list means). Nothing when a chosen modality is not among them.
inline std::optional<std::vector<double>> weights_for(const std::vector<double>& weights,
                                                      const std::vector<std::string>& made_for,
                                                      const std::vector<std::string>& chosen) {
  std::vector<double> out;
  double sum = 0;
  for (const std::string& name : chosen) {
    const auto place = std::ranges::find(made_for, name);
    if (place == made_for.end()) return std::nullopt;
    out.push_back(weights.at(static_cast<std::size_t>(place - made_for.begin())));
    sum += out.back();
  }
  if (out.size() == made_for.size()) return out;
  if (sum == 0) return std::vector<double>{};
  for (double& weight : out) weight /= sum;
  return out;
}
}  // namespace detail

inline std::string RearmConfig::fit_modalities(const std::vector<std::string>& all,
                                               const std::vector<std::string>& chosen,
                                               const std::set<std::string>& set) {
  std::string note;
  const auto fit = [&](const char* path, std::vector<double>& weights) {
    const bool by_user = set.contains(path);
    const std::vector<std::string> made_for = by_user ? all : std::vector<std::string>{"image", "text"};
    if (weights.size() != made_for.size() || (by_user && weights.size() == chosen.size())) return;
    const auto fitting = detail::weights_for(weights, made_for, chosen);
    if (!fitting)
      note =
          "the preset's weights are for image and text; this data set's modalities get equal weights "
          "(--users-modality-weights and --items-modality-weights set them)";
    weights = fitting.value_or(std::vector<double>{});
  };
  fit("model.users.modality_weights", users.modality_weights);
  fit("model.items.modality_weights", items.modality_weights);
  return note;
}

}  // namespace rearm::REARM_ABI
