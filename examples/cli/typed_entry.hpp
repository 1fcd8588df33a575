#pragma once
/// @file typed_entry.hpp
/// The entry of a model whose class is known.

#include "model_entry.hpp"

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace rearm::cli {

/// All but making it. `Model` names settings and limits alone, so it need not have a backend.
template <class Model>
class TypedEntry : public ModelEntry {
 public:
  using Config = typename Model::Config;

  std::string_view name() const override { return Model::name; }
  const SettingList& settings() const override { return list_; }
  bool has_presets() const override {
    return requires { Config::preset(std::string_view()); };
  }
  void take_preset([[maybe_unused]] const std::string& preset) override {
    if constexpr (requires { Config::preset(preset); })
      settings_ = Config::preset(preset);
    else
      throw ConfigError(
          rearm::detail::message("preset '", preset, "': the model ", name(), " has none; leave --preset out"));
  }
  std::string choose_modalities(Dataset& data, [[maybe_unused]] const std::set<std::string>& set) override {
    std::vector<std::string> all;
    for (const Modality& m : data.modalities) all.push_back(m.name);
    if constexpr (requires { settings_.model.features.modalities; })
      if (!settings_.model.features.modalities.empty()) select_modalities(data, settings_.model.features.modalities);
    std::vector<std::string> chosen;
    for (const Modality& m : data.modalities) chosen.push_back(m.name);
    if constexpr (requires { settings_.model.fit_modalities(all, chosen, set); })
      return settings_.model.fit_modalities(all, chosen, set);
    else
      return {};
  }
  void check(const Dataset& data) const override {
    check_limits(settings_.train);
    check_limits(settings_.model);
    if constexpr (requires { Model::check(settings_.model, data); }) Model::check(settings_.model, data);
  }
  const TrainConfig& train() const override { return settings_.train; }

 protected:
  Settings<Config> settings_;

 private:
  SettingList list_ = list_settings(settings_);
};

}  // namespace rearm::cli
