// The entries of the models in rearm/models/all.hpp.
#include "make_model.hpp"
#include "model_entry.hpp"

#include <type_traits>

namespace rearm::cli {
namespace {

template <template <class> class M>
class TypedEntry final : public ModelEntry {
 public:
  using Config = ModelConfig<M>;

  std::string_view name() const override { return model_name<M>; }
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
  std::string choose_settings(Context<Cpu>& ctx, const Dataset& data, const std::set<std::string>& set) override {
    return cli::choose_settings<M>(ctx, data, settings_.model, set);
  }
  void check(const Dataset& data) const override {
    check_limits(settings_.train);
    check_limits(settings_.model);
    if constexpr (requires { M<NoBackend>::check(settings_.model, data); }) M<NoBackend>::check(settings_.model, data);
  }
  const TrainConfig& train() const override { return settings_.train; }
  AnyRecommender<Cpu> make(Context<Cpu>& ctx, const Dataset& data, const GraphOptions& options) const override {
    return make_model<M>(ctx, data, settings_.model, options);
  }

 private:
  Settings<Config> settings_;
  SettingList list_ = list_settings(settings_);
};

}  // namespace

std::unique_ptr<ModelEntry> make_entry(std::string_view name) {
  return with_model<AllModels>(name, []<template <class> class M>() -> std::unique_ptr<ModelEntry> {
    return std::make_unique<TypedEntry<M>>();
  });
}

}  // namespace rearm::cli
