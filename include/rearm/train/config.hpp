#pragma once
/// @file config.hpp
/// The settings of training, the same for every model, and those of a run: training's together with a model's.

#include <rearm/core/fields.hpp>
#include <rearm/data/edge_sampling.hpp>
#include <rearm/eval/metrics.hpp>

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// Where negatives may come from: outside the user's train, valid and test items, or outside its train items only.
enum class Negatives { exclude_all, exclude_train };
template <>
struct EnumNames<Negatives> {
  static constexpr std::pair<Negatives, std::string_view> values[] = {{Negatives::exclude_all, "exclude_all"},
                                                                      {Negatives::exclude_train, "exclude_train"}};
};

namespace detail {
inline std::vector<std::string> metric_names() {
  std::vector<std::string> out;
  for (const MetricRule& rule : metric_rules) out.emplace_back(rule.name);
  return out;
}
}  // namespace detail

struct TrainConfig {
  Negatives negatives = Negatives::exclude_train;
  int batch_size = 2048;
  double learning_rate = 1e-3;
  double weight_decay = 0;
  double l2 = 0;
  double lr_decay = 1.0;
  double warmup_epochs = 0;
  bool bfloat16_moments = false;
  int epochs = 1000;
  int patience = 20;
  double edge_keep = 1.0;
  EdgeSampling edge_sampling = EdgeSampling::uniform;
  int eval_every = 1;
  std::vector<std::string> metrics = detail::metric_names();
  std::vector<int> cutoffs = {10, 20};
  std::string watch = "recall@20";
  bool round_validation_metric = false;
  bool count_cold_users = true;
  std::uint64_t seed = 2025;

  friend bool operator==(const TrainConfig&, const TrainConfig&) = default;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"negatives",
            "exclude_train: items outside of a user's train items; exclude_all: outside of its valid and test items "
            "as well, as in the authors' program"},
      c.negatives);
    f(Field{"batch_size", "batch size: train pairs in a training step", at_least(1)}, c.batch_size);
    f(Field{"learning_rate", "learning rate", above(0)}, c.learning_rate);
    f(Field{"weight_decay", "weight decay, decoupled from the gradient (AdamW)", at_least(0)}, c.weight_decay);
    f(Field{"l2", "L2 regularization: this times a parameter is added to its gradient (weight_decay of PyTorch's Adam)",
            at_least(0)},
      c.l2);
    f(Field{"lr_decay", "the learning rate is multiplied by this after every epoch", above_up_to(0, 1)}, c.lr_decay);
    f(Field{"warmup_epochs", "epochs in which the learning rate first rises to its full value, step by step",
            at_least(0)},
      c.warmup_epochs);
    f(Field{"bfloat16_moments",
            "keep the optimizer's moments in bfloat16, which halves their memory (stochastic rounding)"},
      c.bfloat16_moments);
    f(Field{"epochs", "train for at most this many epochs", at_least(1), OnResume::may_differ}, c.epochs);
    f(Field{"patience",
            "stop early after more than this many epochs in a row without improvement (validations, if eval_every is "
            "above 1)",
            at_least(0), OnResume::may_differ},
      c.patience);
    f(Field{"edge_keep",
            "share of the train pairs that are kept in the graph, drawn anew for every epoch; evaluation uses all",
            above_up_to(0, 1)},
      c.edge_keep);
    f(Field{"edge_sampling",
            "how they are drawn: uniform, or degree (pairs of active users and popular items less often)"},
      c.edge_sampling);
    f(Field{"eval_every", "validate every this many epochs", at_least(1)}, c.eval_every);
    f(Field{"metrics", "metrics of validation and test, any of recall, ndcg, precision, map, hit_rate, mrr"},
      c.metrics);
    f(Field{"cutoffs", "list lengths K at which each metric is computed", at_least(1)}, c.cutoffs);
    f(Field{"watch", "validation metric that chooses the best epoch, such as recall@20"}, c.watch);
    f(Field{"round_validation_metric",
            "round the watched metric to 4 decimals before epochs are compared, as the authors' program does"},
      c.round_validation_metric);
    f(Field{"count_cold_users", "average metrics also over users without train pairs (MMRec leaves them out)"},
      c.count_cold_users);
    f(Field{"seed", "seed of all random numbers; the same seed gives the same result"}, c.seed);
  }
};

/// What warm-up multiplies the learning rate of a step by: min(1, (step + 1) / (warmup_epochs * steps_per_epoch)).
/// `step` counts from 0 over all epochs, so that a resumed run goes on where it was.
inline double warmup_factor(const TrainConfig& config, std::int64_t step, Index steps_per_epoch) {
  const double n = config.warmup_epochs * static_cast<double>(steps_per_epoch);
  const auto begun = static_cast<double>(step + 1);
  return begun >= n ? 1 : begun / n;
}
/// learning_rate * lr_decay^epoch * warmup_factor.
inline double learning_rate(const TrainConfig& config, int epoch, std::int64_t step, Index steps_per_epoch) {
  return config.learning_rate * std::pow(config.lr_decay, epoch) * warmup_factor(config, step, steps_per_epoch);
}

/// The settings of a model `C` and of its training. A model whose published results were trained with other settings
/// than the defaults of TrainConfig says so in `C::train_defaults()`.
template <FieldStruct C>
struct Settings {
  TrainConfig train = train_defaults();
  C model;

  friend bool operator==(const Settings&, const Settings&) = default;

 private:
  static TrainConfig train_defaults() {
    if constexpr (requires { C::train_defaults(); })
      return C::train_defaults();
    else
      return {};
  }
};

}  // namespace rearm::REARM_ABI
