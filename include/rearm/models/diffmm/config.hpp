#pragma once
/// @file config.hpp
/// Settings of DiffMM.

#include <rearm/train/config.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// How features become f_m: leaky_relu_0.2(X W^T), X W^T + b, or the first for the modality `image` and the second for
/// the others.
enum class DiffMmProjection { activated, linear, activated_image };
template <>
struct EnumNames<DiffMmProjection> {
  static constexpr std::pair<DiffMmProjection, std::string_view> values[] = {
      {DiffMmProjection::activated, "activated"},
      {DiffMmProjection::linear, "linear"},
      {DiffMmProjection::activated_image, "activated_image"}};
};

/// What is contrasted: the modalities' views with each other, or each with the final embeddings.
enum class DiffMmContrast { modalities, embeddings };
template <>
struct EnumNames<DiffMmContrast> {
  static constexpr std::pair<DiffMmContrast, std::string_view> values[] = {{DiffMmContrast::modalities, "modalities"},
                                                                           {DiffMmContrast::embeddings, "embeddings"}};
};

struct DiffMmConfig {
  std::vector<std::string> modalities;
  int embedding_dim = 64;
  int n_layers = 1;
  DiffMmProjection projection = DiffMmProjection::activated;
  double modal_graph_weight = 0.2;
  double residual_weight = 0.5;
  DiffMmContrast contrast = DiffMmContrast::modalities;
  double cl_weight = 0.1;
  double cl_temperature = 0.5;
  double reg_weight = 1e-5;
  int bpr_batch_size = 1024;
  int rebuild_k = 1;
  double keep_rate = 1;
  int n_steps = 5;
  double noise_scale = 0.1;
  double noise_min = 1e-4;
  double noise_max = 0.02;
  std::vector<int> hidden_dims = {1000};
  int time_dim = 10;
  bool normalize_input = false;
  double dropout = 0.5;
  double content_weight = 0.01;
  int denoiser_batch_size = 1024;
  double denoiser_learning_rate = 1e-3;

  friend bool operator==(const DiffMmConfig&, const DiffMmConfig&) = default;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"modalities", "use only these modalities; empty: all that the data set has"}, c.modalities);
    f(Field{"embedding_dim", "width of every embedding", between(1, 1024)}, c.embedding_dim);
    f(Field{"n_layers", "propagation layers between users and items", between(0, 100)}, c.n_layers);
    f(Field{"projection", "map of features: activated, linear, or activated_image (the others linear)"}, c.projection);
    f(Field{"modal_graph_weight", "weight of what the generated graphs propagate", at_least(0)}, c.modal_graph_weight);
    f(Field{"residual_weight", "weight of the normalized embeddings before propagation", at_least(0)},
      c.residual_weight);
    f(Field{"contrast", "modalities (with each other) or embeddings (each with the final embeddings)"}, c.contrast);
    f(Field{"cl_weight", "weight of the contrastive loss", at_least(0)}, c.cl_weight);
    f(Field{"cl_temperature", "its temperature", above(0)}, c.cl_temperature);
    f(Field{"reg_weight", "weight of the squared norms of both tables", at_least(0)}, c.reg_weight);
    f(Field{"bpr_batch_size",
            "what the BPR of a batch is divided by, whatever its size (the authors' program: the configured one); 0: "
            "the pairs in the batch",
            at_least(0)},
      c.bpr_batch_size);
    f(Field{"rebuild_k", "items of a user in each generated graph", at_least(1)}, c.rebuild_k);
    f(Field{"keep_rate", "share of a generated graph's entries that an epoch keeps", above_up_to(0, 1)}, c.keep_rate);
    f(Field{"n_steps", "steps of the diffusion", between(1, 10000)}, c.n_steps);
    f(Field{"noise_scale", "factor on noise_min and noise_max", above(0)}, c.noise_scale);
    f(Field{"noise_min", "variance of the noise after the first step, times noise_scale", above(0)}, c.noise_min);
    f(Field{"noise_max", "after the last", above(0)}, c.noise_max);
    f(Field{"hidden_dims", "widths of a denoiser's hidden layers, on the way in; on the way out in reverse",
            between(1, 1 << 20)},
      c.hidden_dims);
    f(Field{"time_dim", "width of the code of a diffusion step", between(2, 1024)}, c.time_dim);
    f(Field{"normalize_input", "rows that a denoiser reads are given length 1"}, c.normalize_input);
    f(Field{"dropout", "share of a denoiser's input that is zeroed in its training", between(0, 1)}, c.dropout);
    f(Field{"content_weight", "weight of the distance between users' content and behavior in a denoiser's loss",
            at_least(0)},
      c.content_weight);
    f(Field{"denoiser_batch_size", "users in a batch of the denoisers", at_least(1)}, c.denoiser_batch_size);
    f(Field{"denoiser_learning_rate", "learning rate of the denoisers", above(0)}, c.denoiser_learning_rate);
  }
  /// The program's: batches of 1024, 50 epochs and no early stopping.
  static TrainConfig train_defaults() {
    TrainConfig train;
    train.negatives = Negatives::exclude_train;
    train.batch_size = 1024;
    train.epochs = 50;
    train.patience = 50;
    return train;
  }
};

}  // namespace rearm::REARM_ABI
