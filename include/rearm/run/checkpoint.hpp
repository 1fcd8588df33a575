#pragma once
/// @file checkpoint.hpp
/// Everything a run needs to go on as if it had not been cut off: weights, moments, counters, early stopping.

#include <rearm/run/model_file.hpp>
#include <rearm/train/store.hpp>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

namespace rearm {

inline constexpr const char* checkpoint_format = "rearm-checkpoint-2";
inline constexpr const char* checkpoint_format_1 = "rearm-checkpoint-1";

/// Writes the checkpoint atomically: an older one stays whole until the new one is.
template <Backend B>
void save_checkpoint(const std::filesystem::path& path, const ParameterStore<B>& parameters,
                     const SettingsRecord& settings, const TrainState& state) {
  detail::TensorList<typename B::Memory> list;
  for (const Parameter<B>& p : parameters) {
    if (!p.persistent) continue;
    p.with_values([&](const auto& values) { list.add("value/" + p.name, values.view()); });
    const auto add = [&](const std::string& name, const auto& moment) {
      if (!moment.empty()) list.add(name + p.name, moment.view());
    };
    add("moment1/", p.moment1);
    add("moment2/", p.moment2);
    add("moment1/", p.rounded_moment1);
    add("moment2/", p.rounded_moment2);
  }
  const nlohmann::json progress = {{"epoch", state.epoch},
                                   {"step", state.step},
                                   {"best_value", state.stopping.best_value},
                                   {"best_epoch", state.stopping.best_epoch},
                                   {"stale_epochs", state.stopping.stale_epochs},
                                   {"best_valid", state.best_valid},
                                   {"step_seconds", state.step_seconds}};
  write_safetensors(path, list.tensors(),
                    {{"format", checkpoint_format},
                     {"model", settings.model},
                     {"settings", settings.settings.dump()},
                     {"state", progress.dump()}});
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

/// What a checkpoint says of its run, without the tensors. Throws IoError and DataError; ConfigError naming the model
/// or the setting that is another now and must not be.
inline TrainState read_train_state(const std::filesystem::path& path, const SettingsRecord& settings) {
  const SafetensorsFile file(path);
  detail::require_format(file, path, checkpoint_format, checkpoint_format_1);
  detail::require_settings(settings, file, path, {"train.", "model."});
  return detail::read_train_state(file, path);
}

/// Restores parameters and moments and returns where the run stood. Throws as `read_train_state`, and ShapeError;
/// nothing is changed when anything is wrong with the file.
template <Backend B>
TrainState load_checkpoint(const std::filesystem::path& path, ParameterStore<B>& parameters,
                           const SettingsRecord& settings) {
  SafetensorsFile file(path);
  detail::require_format(file, path, checkpoint_format, checkpoint_format_1);
  detail::require_settings(settings, file, path, {"train.", "model."});
  const bool rounded = settings.settings.at("train").at("bfloat16_moments").template get<bool>();
  TrainState state = detail::read_train_state(file, path);
  for (Parameter<B>& p : parameters)
    for (const char* moment : {"moment1/", "moment2/"}) {
      if (!file.contains(moment + p.name)) continue;
      const TensorInfo& tensor = file.info(moment + p.name);
      if (tensor.shape != std::vector<Index>{p.rows(), p.cols()})
        throw ShapeError(detail::message(path.string(), ": tensor '", tensor.name, "' is ", shape_string(tensor.shape),
                                         " but must be ", shape_string(p.rows(), p.cols())));
      if ((tensor.type == TensorType::bf16) != rounded)
        throw DataError(detail::message(path.string(), ": tensor '", tensor.name, "' is ", to_string(tensor.type),
                                        ", which bfloat16_moments in its own config contradicts"));
    }
  detail::read_parameters(file, path, "value/", parameters);
  for (Parameter<B>& p : parameters) {
    p.has_grad = false;
    const auto read = [&](const std::string& name, auto& moment, bool here) {
      moment = std::decay_t<decltype(moment)>();
      if (!here || !file.contains(name + p.name)) return;
      moment = std::decay_t<decltype(moment)>(p.rows(), p.cols());
      detail::read_matrix(file, name + p.name, moment);
    };
    read("moment1/", p.moment1, !rounded);
    read("moment2/", p.moment2, !rounded);
    read("moment1/", p.rounded_moment1, rounded);
    read("moment2/", p.rounded_moment2, rounded);
  }
  return state;
}

}  // namespace rearm
