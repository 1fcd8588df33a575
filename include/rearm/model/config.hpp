#pragma once
/// @file config.hpp
/// Everything a run can be told, with the published settings as presets and the rules that combinations must keep.

#include <rearm/core/error.hpp>

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rearm {

/// `reference`: what the authors' program computes. `paper`: the printed equations.
enum class Variant { reference, paper };
/// What becomes of the raw features. `trainable`: tables initialised with the data and trained (the authors' program).
/// `frozen`: fixed. `residual`: fixed, plus a free embedding_dim-wide embedding a node and modality after the
/// projection.
enum class Features { trainable, frozen, residual };
/// Where negatives may come from: outside train, valid and test of the user, or outside train only.
enum class Negatives { exclude_all, exclude_train };

constexpr std::string_view to_string(Variant v) { return v == Variant::reference ? "reference" : "paper"; }
constexpr std::string_view to_string(Features f) {
  return f == Features::trainable ? "trainable" : f == Features::frozen ? "frozen" : "residual";
}
constexpr std::string_view to_string(Negatives n) {
  return n == Negatives::exclude_all ? "exclude_all" : "exclude_train";
}

/// Parse the names above; ConfigError lists the allowed ones.
inline void parse(std::string_view text, Variant& out) {
  if (text == "reference")
    out = Variant::reference;
  else if (text == "paper")
    out = Variant::paper;
  else
    throw ConfigError(detail::message("variant = '", text, "': must be reference or paper"));
}
inline void parse(std::string_view text, Features& out) {
  if (text == "trainable")
    out = Features::trainable;
  else if (text == "frozen")
    out = Features::frozen;
  else if (text == "residual")
    out = Features::residual;
  else
    throw ConfigError(detail::message("features = '", text, "': must be trainable, frozen or residual"));
}
inline void parse(std::string_view text, Negatives& out) {
  if (text == "exclude_all")
    out = Negatives::exclude_all;
  else if (text == "exclude_train")
    out = Negatives::exclude_train;
  else
    throw ConfigError(detail::message("negatives = '", text, "': must be exclude_all or exclude_train"));
}

/// The settings of a model and of its training. Defaults are the published ones for Baby.
struct Config {
  // model
  Variant variant = Variant::reference;
  Features features = Features::trainable;
  int embedding_dim = 64;
  int n_ui_layers = 4;  ///< LightGCN layers
  int n_uu_layers = 1;  ///< user homograph layers
  int n_ii_layers = 1;  ///< item homograph layers
  int rank = 3;         ///< meta network's k
  double dropout_self = 0.4;
  double dropout_cross = 0.6;
  // graphs
  int user_knn_k = 40;
  int item_knn_k = 10;
  double uu_co_weight = 0.4;  ///< weight of co-occurrence in the user homograph, the rest is similarity
  double ii_co_weight = 0.2;
  std::vector<double> user_modality_weights;  ///< one a modality of the data set in declared order; empty: equal
  std::vector<double> item_modality_weights;
  bool use_precomputed_knn = true;  ///< take <modality>_knn<k>_{idx,cos}.npy for the item graphs where there
  // ablations (paper, Table 3); all on is the whole model
  bool use_uu = true;                   ///< user homograph (w/o uu)
  bool use_ii = true;                   ///< item homograph (w/o ii)
  bool use_co = true;                   ///< co-occurrence part of both (w/o co)
  bool use_sim = true;                  ///< similarity part of both (w/o sim)
  bool use_meta = true;                 ///< meta network (w/o meta)
  bool use_orthogonal = true;           ///< orthogonal constraint (w/o ort)
  std::vector<std::string> modalities;  ///< train with these alone (paper, Figure 4); empty: all of the data set
  // losses
  double cl_weight = 5e-6;
  double cl_temperature = 0.6;
  double ort_weight = 5e-5;
  double l2_weight = 0.0;  ///< paper variant: lambda_p of the loss
  // training
  Negatives negatives = Negatives::exclude_all;
  int batch_size = 2048;
  double learning_rate = 5e-5;
  double weight_decay = 5e-4;               ///< decoupled (AdamW), reference variant
  double residual_learning_rate_scale = 1;  ///< of the residual embeddings, relative to learning_rate
  bool bfloat16_tables = false;             ///< raw features in bfloat16; trainable ones are rounded at random
  bool bfloat16_moments = false;            ///< the optimiser's moments in bfloat16, rounded at random
  double lr_decay = 1.0;                    ///< learning rate times lr_decay^epoch
  int epochs = 2000;
  int patience = 20;  ///< stop at the (patience + 1)-th epoch without improvement
  int eval_every = 1;
  bool round_validation_metric = false;  ///< compare R@20 rounded to 4 decimals, as the authors' program does
  std::uint64_t seed = 2025;

  friend bool operator==(const Config&, const Config&) = default;
};

/// Calls visitor(name, help, field) for every field: the one list from which flags, TOML, JSON and comparisons are
/// made.
template <class C, class Visitor>
void visit_fields(C& c, Visitor&& visit) {
  visit("variant", "reference (the authors' program) or paper (the printed equations)", c.variant);
  visit("features", "trainable, frozen or residual", c.features);
  visit("embedding_dim", "width of every embedding", c.embedding_dim);
  visit("n_ui_layers", "LightGCN layers", c.n_ui_layers);
  visit("n_uu_layers", "user homograph layers", c.n_uu_layers);
  visit("n_ii_layers", "item homograph layers", c.n_ii_layers);
  visit("rank", "rank of the meta network's transformations", c.rank);
  visit("dropout_self", "dropout of the self-attention weights", c.dropout_self);
  visit("dropout_cross", "dropout of the cross-attention weights", c.dropout_cross);
  visit("user_knn_k", "neighbours a user keeps", c.user_knn_k);
  visit("item_knn_k", "neighbours an item keeps", c.item_knn_k);
  visit("uu_co_weight", "weight of co-occurrence in the user homograph", c.uu_co_weight);
  visit("ii_co_weight", "weight of co-occurrence in the item homograph", c.ii_co_weight);
  visit("user_modality_weights", "weights of the modalities in the user similarity graph, sum 1",
        c.user_modality_weights);
  visit("item_modality_weights", "weights of the modalities in the item similarity graph, sum 1",
        c.item_modality_weights);
  visit("use_precomputed_knn", "use <modality>_knn<k>_{idx,cos}.npy where the folder has them", c.use_precomputed_knn);
  visit("use_uu", "user homograph", c.use_uu);
  visit("use_ii", "item homograph", c.use_ii);
  visit("use_co", "co-occurrence part of the homographs", c.use_co);
  visit("use_sim", "similarity part of the homographs", c.use_sim);
  visit("use_meta", "meta network", c.use_meta);
  visit("use_orthogonal", "orthogonal constraint", c.use_orthogonal);
  visit("modalities", "train with these modalities alone", c.modalities);
  visit("cl_weight", "weight of the contrastive loss", c.cl_weight);
  visit("cl_temperature", "temperature of the contrastive loss", c.cl_temperature);
  visit("ort_weight", "weight of the orthogonality loss", c.ort_weight);
  visit("l2_weight", "weight of the squared norm of all parameters (paper variant)", c.l2_weight);
  visit("negatives", "exclude_all or exclude_train", c.negatives);
  visit("batch_size", "pairs a batch", c.batch_size);
  visit("learning_rate", "learning rate", c.learning_rate);
  visit("weight_decay", "decoupled weight decay (reference variant)", c.weight_decay);
  visit("residual_learning_rate_scale", "learning rate of the residual embeddings, as a multiple",
        c.residual_learning_rate_scale);
  visit("bfloat16_tables", "keep raw features in bfloat16, trainable ones rounded at random", c.bfloat16_tables);
  visit("bfloat16_moments", "keep the optimiser's moments in bfloat16, rounded at random", c.bfloat16_moments);
  visit("lr_decay", "factor on the learning rate after each epoch", c.lr_decay);
  visit("epochs", "most epochs", c.epochs);
  visit("patience", "epochs without improvement that are borne", c.patience);
  visit("eval_every", "validate every that many epochs", c.eval_every);
  visit("round_validation_metric", "compare validation recall at 4 decimals", c.round_validation_metric);
  visit("seed", "seed of every random number", c.seed);
}

namespace detail {
template <class T>
void require_config(bool ok, std::string_view field, const T& value, std::string_view rule) {
  if (!ok) throw ConfigError(message(field, " = ", value, ": must be ", rule));
}
inline void require_weights(const std::vector<double>& weights, int n_modalities, std::string_view field) {
  if (weights.empty()) return;
  if (static_cast<int>(weights.size()) != n_modalities)
    throw ConfigError(message(field, " has ", weights.size(), " entries but there are ", n_modalities,
                              " modalities; give one each, or none for equal weights"));
  double sum = 0;
  for (const double w : weights) {
    require_config(w >= 0 && w <= 1, field, w, "between 0 and 1");
    sum += w;
  }
  require_config(std::abs(sum - 1) < 1e-9, field, sum, "weights that sum to 1");
}
}  // namespace detail

/// Throws ConfigError naming the first field that is out of range or does not go with another.
inline void validate(const Config& c, int n_modalities) {
  using detail::require_config;
  if (n_modalities < 1) throw ConfigError("modalities: REARM needs at least one modality");
  require_config(c.embedding_dim >= 1 && c.embedding_dim <= 1024, "embedding_dim", c.embedding_dim, "1 to 1024");
  require_config(c.rank >= 1 && c.rank < c.embedding_dim, "rank", c.rank, "at least 1 and below embedding_dim");
  require_config(c.n_ui_layers >= 0 && c.n_ui_layers <= 100, "n_ui_layers", c.n_ui_layers, "0 to 100");
  require_config(c.n_uu_layers >= 0 && c.n_uu_layers <= 100, "n_uu_layers", c.n_uu_layers, "0 to 100");
  require_config(c.n_ii_layers >= 0 && c.n_ii_layers <= 100, "n_ii_layers", c.n_ii_layers, "0 to 100");
  require_config(c.dropout_self >= 0 && c.dropout_self <= 1, "dropout_self", c.dropout_self, "0 to 1");
  require_config(c.dropout_cross >= 0 && c.dropout_cross <= 1, "dropout_cross", c.dropout_cross, "0 to 1");
  require_config(c.user_knn_k >= 1, "user_knn_k", c.user_knn_k, "at least 1");
  require_config(c.item_knn_k >= 1, "item_knn_k", c.item_knn_k, "at least 1");
  require_config(c.uu_co_weight >= 0 && c.uu_co_weight <= 1, "uu_co_weight", c.uu_co_weight, "0 to 1");
  require_config(c.ii_co_weight >= 0 && c.ii_co_weight <= 1, "ii_co_weight", c.ii_co_weight, "0 to 1");
  detail::require_weights(c.user_modality_weights, n_modalities, "user_modality_weights");
  detail::require_weights(c.item_modality_weights, n_modalities, "item_modality_weights");
  require_config(c.cl_weight >= 0, "cl_weight", c.cl_weight, "0 or more");
  require_config(c.cl_temperature > 0, "cl_temperature", c.cl_temperature, "above 0");
  require_config(c.ort_weight >= 0, "ort_weight", c.ort_weight, "0 or more");
  require_config(c.l2_weight >= 0, "l2_weight", c.l2_weight, "0 or more");
  require_config(c.batch_size >= 1, "batch_size", c.batch_size, "at least 1");
  require_config(c.learning_rate > 0, "learning_rate", c.learning_rate, "above 0");
  require_config(c.weight_decay >= 0, "weight_decay", c.weight_decay, "0 or more");
  require_config(c.residual_learning_rate_scale > 0, "residual_learning_rate_scale", c.residual_learning_rate_scale,
                 "above 0");
  require_config(c.lr_decay > 0 && c.lr_decay <= 1, "lr_decay", c.lr_decay, "above 0, at most 1");
  require_config(c.epochs >= 1, "epochs", c.epochs, "at least 1");
  require_config(c.patience >= 0, "patience", c.patience, "0 or more");
  require_config(c.eval_every >= 1, "eval_every", c.eval_every, "at least 1");
  if (!c.use_co && !c.use_sim && (c.use_uu || c.use_ii))
    throw ConfigError(
        "use_co = false with use_sim = false leaves the homographs empty; for no homographs set use_uu = false and "
        "use_ii = false");
  if (c.variant == Variant::reference && c.l2_weight != 0)
    throw ConfigError(detail::message("l2_weight = ", c.l2_weight,
                                      ": the reference variant decays its weights (weight_decay); l2_weight belongs "
                                      "to variant = paper"));
  if (c.variant == Variant::paper && c.features == Features::trainable)
    throw ConfigError(
        "variant = paper with features = trainable: the paper's raw features are fixed; use frozen or residual");
}

/// Published settings (spec: the authors' program). `name` is baby, sports or clothing.
inline Config preset(std::string_view name) {
  Config c;
  if (name == "baby") {
    c.user_modality_weights = {0.2, 0.8};
    c.item_modality_weights = {0.0, 1.0};
    return c;
  }
  if (name == "sports") {
    c.n_ui_layers = 5;
    c.rank = 7;
    c.weight_decay = 5e-2;
    c.dropout_self = 1.0;
    c.dropout_cross = 0.2;
    c.user_modality_weights = {0.0, 1.0};
    c.item_modality_weights = {0.2, 0.8};
    c.uu_co_weight = 0.9;
    c.ii_co_weight = 0.2;
    c.user_knn_k = 25;
    c.item_knn_k = 5;
    c.n_uu_layers = 2;
    c.n_ii_layers = 2;
    c.cl_temperature = 1.5;
    c.cl_weight = 1e-3;
    c.ort_weight = 5e-4;
    return c;
  }
  if (name == "clothing") {
    c.weight_decay = 1e-5;
    c.dropout_self = 0.4;
    c.dropout_cross = 0.1;
    c.user_modality_weights = {0.1, 0.9};
    c.item_modality_weights = {0.1, 0.9};
    c.uu_co_weight = 0.7;
    c.ii_co_weight = 0.1;
    c.user_knn_k = 45;
    c.item_knn_k = 10;
    c.cl_temperature = 0.03;
    c.cl_weight = 1e-6;
    c.ort_weight = 1e-5;
    return c;
  }
  throw ConfigError(detail::message("preset '", name, "': must be baby, sports or clothing"));
}

}  // namespace rearm
