#pragma once
/// @file checkpoint.hpp
/// Everything a run needs to go on as if it had not been cut off: weights, moments, counters, early stopping.

#include <rearm/model/model_file.hpp>
#include <rearm/optim/adamw.hpp>
#include <rearm/train/early_stopping.hpp>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace rearm {

inline constexpr const char* checkpoint_format = "rearm-checkpoint-1";

/// Where a run stands after an epoch.
struct TrainState {
  int epoch = -1;  ///< last finished epoch
  std::int64_t step = 0;
  EarlyStoppingState stopping;
  std::map<std::string, double> best_valid;
  std::vector<double> step_seconds;  ///< median of each epoch
};

/// Writes the checkpoint atomically: an older one stays whole until the new one is.
template <Backend B>
void save_checkpoint(const std::filesystem::path& path, const ParameterStore<B>& parameters, const Config& config,
                     const TrainState& state) {
  std::vector<TensorView> tensors;
  for (const Parameter<B>& p : parameters) {
    if (!p.persistent) continue;
    tensors.push_back(tensor_view("value/" + p.name, p.value.view()));
    if (p.moment1.empty()) continue;
    tensors.push_back(tensor_view("moment1/" + p.name, p.moment1.view()));
    tensors.push_back(tensor_view("moment2/" + p.name, p.moment2.view()));
  }
  const nlohmann::json progress = {{"epoch", state.epoch},
                                   {"step", state.step},
                                   {"best_value", state.stopping.best_value},
                                   {"best_epoch", state.stopping.best_epoch},
                                   {"stale_epochs", state.stopping.stale_epochs},
                                   {"best_valid", state.best_valid},
                                   {"step_seconds", state.step_seconds}};
  write_safetensors(path, tensors,
                    {{"format", checkpoint_format}, {"config", to_json(config).dump()}, {"state", progress.dump()}});
}

namespace detail {

inline TrainState read_train_state(const SafetensorsFile& file, const std::filesystem::path& path) {
  TrainState state;
  try {
    const auto json = nlohmann::json::parse(require_metadata(file, path, "state"));
    state.epoch = json.at("epoch");
    state.step = json.at("step");
    state.stopping.best_epoch = json.at("best_epoch");
    state.stopping.stale_epochs = json.at("stale_epochs");
    if (!json.at("best_value").is_null()) state.stopping.best_value = json.at("best_value");
    json.at("best_valid").get_to(state.best_valid);
    json.at("step_seconds").get_to(state.step_seconds);
  } catch (const nlohmann::json::exception& e) {
    throw DataError(message(path.string(), ": state in the metadata is damaged (", e.what(), ")"));
  }
  return state;
}

}  // namespace detail

/// What a checkpoint says of its run, without the tensors. Throws IoError and DataError; ConfigError naming the field
/// when its config is not `config` but for epochs and patience.
inline TrainState read_train_state(const std::filesystem::path& path, const Config& config) {
  const SafetensorsFile file(path);
  detail::require_format(file, path, checkpoint_format);
  require_same_config(config, detail::read_config(file, path), path.string(), {"epochs", "patience"});
  return detail::read_train_state(file, path);
}

/// Restores parameters and moments and returns where the run stood. The config must be the same but for epochs and
/// patience (ConfigError names the field); nothing is changed when anything is wrong with the file.
template <Backend B>
TrainState load_checkpoint(const std::filesystem::path& path, ParameterStore<B>& parameters, const Config& config) {
  using Moments = Matrix<typename B::Scalar, typename B::Memory>;
  SafetensorsFile file(path);
  detail::require_format(file, path, checkpoint_format);
  require_same_config(config, detail::read_config(file, path), path.string(), {"epochs", "patience"});
  TrainState state = detail::read_train_state(file, path);
  for (Parameter<B>& p : parameters)
    for (const char* moment : {"moment1/", "moment2/"})
      if (file.contains(moment + p.name) && file.info(moment + p.name).shape != std::vector<Index>{p.rows(), p.cols()})
        throw ShapeError(detail::message(path.string(), ": tensor '", moment, p.name, "' is ",
                                         shape_string(file.info(moment + p.name).shape), " but must be ",
                                         shape_string(p.rows(), p.cols())));
  detail::read_parameters(file, path, "value/", parameters);
  for (Parameter<B>& p : parameters) {
    p.has_grad = false;
    p.moment1 = Moments();
    p.moment2 = Moments();
    if (!file.contains("moment1/" + p.name) || !file.contains("moment2/" + p.name)) continue;
    p.moment1 = Moments(p.rows(), p.cols());
    p.moment2 = Moments(p.rows(), p.cols());
    file.read("moment1/" + p.name, p.moment1.view());
    file.read("moment2/" + p.name, p.moment2.view());
  }
  return state;
}

}  // namespace rearm
