#pragma once
/// @file checkpoint.hpp
/// Everything a run needs to continue as if uninterrupted: weights, moments, counters, early stopping.

#include <rearm/run/model_file.hpp>
#include <rearm/train/store.hpp>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

inline constexpr const char* checkpoint_format = "rearm-checkpoint-2";
inline constexpr const char* checkpoint_format_1 = "rearm-checkpoint-1";

namespace detail {
/// What the names of its tensors begin with.
template <Backend B>
std::string checkpoint_prefix(const Trained<B>& trained) {
  return trained.name.empty() ? "" : trained.name + "/";
}
}  // namespace detail

/// Writes the checkpoint atomically: an older one stays intact until the new one is complete.
template <Backend B>
void save_checkpoint(const std::filesystem::path& path, std::span<const Trained<B>> trained,
                     const SettingsRecord& settings, const TrainState& state) {
  detail::TensorList<typename B::Memory> list;
  nlohmann::json updates = nlohmann::json::object();
  for (const Trained<B>& t : trained) {
    const std::string prefix = detail::checkpoint_prefix(t);
    std::as_const(*t.parameters).for_each([&](const auto& x) {
      if (x.persistent) x.with_values([&](auto values) { list.add(prefix + "value/" + x.name, values); });
    });
    t.optimizer->for_each_moment(*t.parameters, [&](const auto& x, auto moment1, auto moment2) {
      if (!x.persistent) return;
      list.add(prefix + "moment1/" + x.name, moment1);
      list.add(prefix + "moment2/" + x.name, moment2);
    });
    if (!t.name.empty()) updates[t.name] = t.optimizer->step_count();  // the model's own are the run's steps
  }
  const nlohmann::json progress = {{"epoch", state.epoch},
                                   {"step", state.step},
                                   {"best_value", state.stopping.best_value},
                                   {"best_epoch", state.stopping.best_epoch},
                                   {"stale_epochs", state.stopping.stale_epochs},
                                   {"best_valid", state.best_valid},
                                   {"updates", updates},
                                   {"step_seconds", state.step_seconds}};
  TensorMetadata metadata = {{"format", checkpoint_format},
                             {"model", settings.model},
                             {"settings", settings.settings.dump()},
                             {"state", progress.dump()}};
  if (!settings.data.is_null()) metadata["data"] = settings.data.dump();
  write_safetensors(path, list.tensors(), metadata);
}

namespace detail {

/// Whether one more than the count is one, too.
template <class T>
constexpr bool is_count(T n) {
  return n >= 0 && n < std::numeric_limits<T>::max();
}

inline TrainState read_train_state(const SafetensorsFile& file, const std::filesystem::path& path) {
  TrainState state;
  EarlyStoppingState& stopping = state.stopping;
  const auto damaged = [&](std::string_view why) {
    return DataError(message(path.string(), ": state in the metadata is damaged (", why, ")"));
  };
  const auto json = parse_metadata(require_metadata(file, path, "state"), path, "state");
  try {
    assign("epoch", json.at("epoch"), state.epoch);
    assign("step", json.at("step"), state.step);
    assign("best_epoch", json.at("best_epoch"), stopping.best_epoch);
    assign("stale_epochs", json.at("stale_epochs"), stopping.stale_epochs);
    if (!json.at("best_value").is_null()) assign("best_value", json.at("best_value"), stopping.best_value);
    json.at("best_valid").get_to(state.best_valid);
    assign("step_seconds", json.at("step_seconds"), state.step_seconds);
  } catch (const nlohmann::json::exception& e) {
    throw damaged(e.what());
  } catch (const ConfigError& e) {
    throw damaged(e.what());
  }
  if (!(state.epoch == -1 || is_count(state.epoch)) || !is_count(state.step) || stopping.best_epoch < -1 ||
      stopping.best_epoch > state.epoch || stopping.stale_epochs < 0 ||
      stopping.stale_epochs > state.epoch - stopping.best_epoch)
    throw damaged(message("epoch ", state.epoch, ", step ", state.step, ", best epoch ", stopping.best_epoch, ", ",
                          stopping.stale_epochs, " epochs without a better one"));
  return state;
}

/// How many steps the optimizer of that name had taken.
inline std::int64_t read_updates(const SafetensorsFile& file, const std::filesystem::path& path,
                                 const std::string& name) {
  const auto json = parse_metadata(require_metadata(file, path, "state"), path, "state");
  std::int64_t updates = -1;
  try {
    assign(name, json.at("updates").at(name), updates);
  } catch (const nlohmann::json::exception&) {
  } catch (const ConfigError&) {
  }
  if (!is_count(updates))
    throw DataError(message(path.string(), ": does not say how far the optimizer of '", name, "' was"));
  return updates;
}

}  // namespace detail

/// The state of a checkpoint's run, without the tensors. Throws IoError and DataError, and ConfigError naming the
/// model, the setting or the part of the data that differs now and must not.
inline TrainState read_train_state(const std::filesystem::path& path, const SettingsRecord& settings) {
  const SafetensorsFile file(path);
  detail::require_format(file, path, checkpoint_format, checkpoint_format_1);
  detail::require_settings(settings, file, path, {"train.", "model."});
  require_same_data(settings, detail::read_data_digests(file, path), path.string());
  return detail::read_train_state(file, path);
}

/// Restores parameters and optimizers and returns the state of the run. Throws what `read_train_state` throws, and
/// ShapeError; if anything is wrong with the file, nothing is changed.
template <Backend B>
TrainState load_checkpoint(const std::filesystem::path& path, std::span<const Trained<B>> trained,
                           const SettingsRecord& settings) {
  SafetensorsFile file(path);
  detail::require_format(file, path, checkpoint_format, checkpoint_format_1);
  detail::require_settings(settings, file, path, {"train.", "model."});
  require_same_data(settings, detail::read_data_digests(file, path), path.string());
  TrainState state = detail::read_train_state(file, path);
  // All is looked at before anything is written.
  std::vector<std::int64_t> updates;
  for (const Trained<B>& t : trained) {
    const std::string prefix = detail::checkpoint_prefix(t);
    updates.push_back(t.name.empty() ? state.step : detail::read_updates(file, path, t.name));
    detail::require_parameters(file, path, prefix + "value/", *t.parameters);
    const bool rounded = t.optimizer->settings().bfloat16_moments;
    t.parameters->for_each([&](const auto& x) {
      for (const char* moment : {"moment1/", "moment2/"})
        if (file.contains(prefix + moment + x.name))
          detail::require_tensor(file, path, prefix + moment + x.name, x.rows(), x.cols(), rounded, "bfloat16_moments");
    });
  }
  std::size_t i = 0;
  for (const Trained<B>& t : trained) {
    const std::string prefix = detail::checkpoint_prefix(t);
    detail::read_parameters(file, prefix + "value/", *t.parameters);
    t.parameters->clear_gradients();
    *t.optimizer = AdamW<B>(t.optimizer->settings());
    t.optimizer->set_step_count(updates[i++]);
    t.optimizer->prepare(*t.parameters);
    t.optimizer->for_each_moment(*t.parameters, [&](const auto& x, auto moment1, auto moment2) {
      const auto read = [&](const std::string& name, auto moment) {
        if (file.contains(name)) detail::read_matrix<typename B::Memory>(file, name, moment);
      };
      read(prefix + "moment1/" + x.name, moment1);
      read(prefix + "moment2/" + x.name, moment2);
    });
  }
  return state;
}

}  // namespace rearm::REARM_ABI
