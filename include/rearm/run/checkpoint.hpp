#pragma once
/// @file checkpoint.hpp
/// Everything a run needs to continue as if uninterrupted: weights, moments, counters, early stopping.

#include <rearm/run/model_file.hpp>
#include <rearm/train/recommender.hpp>
#include <rearm/train/store.hpp>

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// What `format` says in the metadata: now, and in earlier files, which had no checksums and no middle of an epoch.
inline constexpr const char* checkpoint_format = "rearm-checkpoint-3";
inline constexpr const char* former_checkpoint_formats[] = {"rearm-checkpoint-2", "rearm-checkpoint-1"};

namespace detail {
/// What the names of its tensors begin with.
template <Backend B>
std::string checkpoint_prefix(const Trained<B>& trained) {
  return trained.name.empty() ? "" : trained.name + "/";
}
}  // namespace detail

/// Writes the checkpoint atomically: an older one stays intact until the new one is complete. It is the same whatever
/// the number of ranks, of which all must call it; rank 0 writes.
template <Backend B>
void save_checkpoint(const std::filesystem::path& path, std::span<const Trained<B>> trained,
                     const SettingsRecord& settings, const TrainState& state, const Communicator* ranks = nullptr) try {
  detail::TensorList<typename B::Memory> list;
  nlohmann::json updates = nlohmann::json::object();
  for (const Trained<B>& t : trained) {
    const std::string prefix = detail::checkpoint_prefix(t);
    std::as_const(*t.parameters).for_each([&](const auto& x) {
      if (x.persistent)
        x.with_values([&](auto values) { list.add(prefix + "value/" + x.name, values, x.blocks().get()); });
    });
    if (t.optimizer == nullptr) continue;
    t.optimizer->for_each_moment(*t.parameters, [&](const auto& x, auto moment1, auto moment2) {
      if (!x.persistent) return;
      list.add(prefix + "moment1/" + x.name, moment1, x.blocks().get());
      list.add(prefix + "moment2/" + x.name, moment2, x.blocks().get());
    });
    if (!t.name.empty()) updates[t.name] = t.optimizer->step_count();  // the model's own are the run's steps
  }
  if (ranks != nullptr && ranks->rank() != 0) return give_pieces(list.tensors());
  auto progress = nlohmann::json::object();
  progress["epoch"] = state.epoch;
  progress["step"] = state.step;
  progress["epoch_step"] = state.epoch_step;
  progress["epoch_losses"] = state.epoch_losses;
  progress["epoch_seconds"] = state.epoch_seconds;
  progress["best_value"] = state.stopping.best_value;
  progress["best_epoch"] = state.stopping.best_epoch;
  progress["stale_epochs"] = state.stopping.stale_epochs;
  progress["best_valid"] = state.best_valid;
  progress["updates"] = updates;
  progress["step_seconds"] = state.step_seconds;
  TensorMetadata metadata = {{"format", checkpoint_format},
                             {"model", settings.model},
                             {"settings", settings.settings.dump()},
                             {"state", progress.dump()}};
  if (!settings.data.is_null()) metadata["data"] = settings.data.dump();
  write_safetensors(path, list.tensors(), metadata);
} catch (const std::bad_alloc&) {
  detail::throw_out_of_memory("saving a checkpoint");
}

namespace detail {

/// The fields of `state` in a checkpoint's metadata, each of which must be there and within limits. Throws DataError
/// naming the field.
class StateFields {
 public:
  StateFields(const SafetensorsFile& file, const std::filesystem::path& path)
      : path_(path), json_(parse_metadata(require_metadata(file, path, "state"), path, "state")) {}
  bool has(const char* name) const { return json_.contains(name); }
  const nlohmann::json& at(const char* name) const {
    if (!has(name)) throw DataError(message(path_.string(), ": state in the metadata has no '", name, "'"));
    return json_.at(name);
  }
  /// A whole number from `least` to `most`.
  template <class T>
  T count(const char* name, T least, T most) const {
    return whole(name, at(name), least, most);
  }
  template <class T>
  T whole(const std::string& name, const nlohmann::json& json, T least, T most) const {
    const bool fits = json.is_number_integer() &&
                      (!json.is_number_unsigned() || std::in_range<std::int64_t>(json.get<std::uint64_t>()));
    if (!fits || json.get<std::int64_t>() < least || json.get<std::int64_t>() > most)
      refuse(name, json, message("a whole number from ", least, " to ", most));
    return json.get<T>();
  }
  /// A number of at least `least`.
  double number(const std::string& name, const nlohmann::json& json, double least) const {
    if (!json.is_number() || !std::isfinite(json.get<double>()) || json.get<double>() < least)
      refuse(name, json, least == 0 ? "a number, 0 or more" : "a finite number");
    return json.get<double>();
  }
  /// A list of up to `most` of them.
  std::vector<double> numbers(const char* name, double least, std::size_t most) const {
    const nlohmann::json& json = at(name);
    if (!json.is_array() || json.size() > most) refuse(name, json, message("a list of up to ", most, " numbers"));
    std::vector<double> out;
    for (const auto& entry : json) out.push_back(number(name, entry, least));
    return out;
  }
  [[noreturn]] void refuse(const std::string& name, const nlohmann::json& json, const std::string& needed) const {
    throw DataError(message(path_.string(), ": ", name, " = ", json.dump(), " in the state is not ", needed,
                            "; the checkpoint is damaged"));
  }

 private:
  const std::filesystem::path& path_;
  nlohmann::json json_;
};

inline TrainState read_train_state(const SafetensorsFile& file, const std::filesystem::path& path) {
  constexpr double any = -std::numeric_limits<double>::infinity();
  const StateFields fields(file, path);
  TrainState state;
  // One less than the largest: the next epoch and the next step have a number, too.
  state.epoch = fields.count("epoch", -1, std::numeric_limits<int>::max() - 1);
  state.step = fields.count<std::int64_t>("step", 0, std::numeric_limits<std::uint32_t>::max() - 1);
  if (fields.has("epoch_step")) {  // earlier files are of the end of an epoch
    state.epoch_step = fields.count<Index>("epoch_step", 0, state.step);
    state.epoch_losses = fields.numbers("epoch_losses", any, 1 + max_loss_parts);
    if (state.epoch_losses.empty() != (state.epoch_step == 0))
      fields.refuse("epoch_losses", fields.at("epoch_losses"), message("of ", state.epoch_step, " steps"));
    state.epoch_seconds = fields.number("epoch_seconds", fields.at("epoch_seconds"), 0);
  }
  state.stopping.best_epoch = fields.count("best_epoch", -1, state.epoch);
  const bool any_best = state.stopping.best_epoch >= 0;
  state.stopping.stale_epochs = fields.count("stale_epochs", 0, any_best ? state.epoch - state.stopping.best_epoch : 0);
  const nlohmann::json& best = fields.at("best_value");
  if (any_best)
    state.stopping.best_value = fields.number("best_value", best, any);
  else if (!best.is_null())
    fields.refuse("best_value", best, "null, as there is no best epoch");
  const nlohmann::json& valid = fields.at("best_valid");
  if (!valid.is_object() || valid.empty() == any_best)
    fields.refuse("best_valid", valid, any_best ? "a list of metrics" : "empty, as there is no best epoch");
  for (const auto& [name, value] : valid.items())
    state.best_valid[name] = fields.number("best_valid." + name, value, any);
  state.step_seconds = fields.numbers("step_seconds", 0, static_cast<std::size_t>(state.epoch) + 1);
  return state;
}

/// How many steps the optimizer of that name had taken.
inline std::int64_t read_updates(const SafetensorsFile& file, const std::filesystem::path& path,
                                 const std::string& name) {
  const StateFields fields(file, path);
  const nlohmann::json& updates = fields.at("updates");
  if (!updates.is_object() || !updates.contains(name))
    throw DataError(message(path.string(), ": does not say how far the optimizer of '", name, "' was"));
  return fields.whole<std::int64_t>("updates." + name, updates.at(name), 0,
                                    std::numeric_limits<std::uint32_t>::max() - 1);
}

}  // namespace detail

/// What a checkpoint says of its run, without the tensors. Throws IoError; DataError naming a field that is not what it
/// can be; ConfigError naming the model, the setting or the part of the data that is another now and must not be.
inline TrainState read_train_state(const std::filesystem::path& path, const SettingsRecord& settings) try {
  const SafetensorsFile file(path);
  detail::require_format(file, path, checkpoint_format, former_checkpoint_formats);
  detail::require_settings(settings, file, path, {"train.", "model."});
  require_same_data(settings, detail::read_data_digests(file, path), path.string());
  return detail::read_train_state(file, path);
} catch (const std::bad_alloc&) {
  detail::throw_out_of_memory("reading a checkpoint");
}

/// Restores parameters and optimizers and returns the state of the run. Throws what `read_train_state` throws, and
/// ShapeError; if anything is wrong with the file, nothing is changed.
template <Backend B>
TrainState load_checkpoint(const std::filesystem::path& path, std::span<const Trained<B>> trained,
                           const SettingsRecord& settings) try {
  SafetensorsFile file(path);
  detail::require_format(file, path, checkpoint_format, former_checkpoint_formats);
  detail::require_settings(settings, file, path, {"train.", "model."});
  require_same_data(settings, detail::read_data_digests(file, path), path.string());
  TrainState state = detail::read_train_state(file, path);
  // All is looked at before anything is written.
  std::vector<std::int64_t> updates;
  for (const Trained<B>& t : trained) {
    const std::string prefix = detail::checkpoint_prefix(t);
    if (t.optimizer != nullptr)
      updates.push_back(t.name.empty() ? state.step : detail::read_updates(file, path, t.name));
    detail::require_parameters(file, path, prefix + "value/", *t.parameters);
    if (t.optimizer == nullptr) continue;
    const bool rounded = t.optimizer->settings().bfloat16_moments;
    t.parameters->for_each([&](const auto& x) {
      for (const char* moment : {"moment1/", "moment2/"})
        if (file.contains(prefix + moment + x.name))
          detail::require_tensor(file, path, prefix + moment + x.name, x.rows(), x.cols(), rounded, "bfloat16_moments");
    });
  }
  file.require_whole();
  std::size_t i = 0;
  for (const Trained<B>& t : trained) {
    const std::string prefix = detail::checkpoint_prefix(t);
    detail::read_parameters(file, prefix + "value/", *t.parameters);
    t.parameters->clear_gradients();
    if (t.optimizer == nullptr) continue;
    *t.optimizer = AdamW<B>(t.optimizer->settings());
    t.optimizer->set_step_count(updates[i++]);
    t.optimizer->prepare(*t.parameters);
    t.optimizer->for_each_moment(*t.parameters, [&](const auto& x, auto moment1, auto moment2) {
      const auto read = [&](const std::string& name, auto moment) {
        if (file.contains(name)) detail::read_matrix<typename B::Memory>(file, name, moment, x.blocks().get());
      };
      read(prefix + "moment1/" + x.name, moment1);
      read(prefix + "moment2/" + x.name, moment2);
    });
  }
  return state;
} catch (const std::bad_alloc&) {
  detail::throw_out_of_memory("reading a checkpoint");
}

}  // namespace rearm::REARM_ABI
