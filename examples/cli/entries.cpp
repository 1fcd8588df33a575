// The entries of the models in rearm/models/all.hpp, and of those that a program adds.
#include "make_model.hpp"
#include "own_models.hpp"
#include "typed_entry.hpp"

#include <rearm/models/all.hpp>

#include <algorithm>

namespace rearm::cli {
namespace {

template <template <class> class M>
class ListedEntry final : public TypedEntry<M<NoBackend>> {
 public:
  bool runs_on_cuda() const override { return true; }
  std::string choose_settings(Context<Cpu>& ctx, const Dataset& data, const std::set<std::string>& set) override {
    return cli::choose_settings<M>(ctx, data, this->settings_.model, set);
  }
  AnyRecommender<Cpu> make(Context<Cpu>& ctx, const Dataset& data, const GraphOptions& options) const override {
    return make_model<M>(ctx, data, this->settings_.model, options);
  }
};

}  // namespace

std::vector<OwnModel>& own_models() {
  static std::vector<OwnModel> models;
  return models;
}

std::vector<std::string> entry_names() {
  std::vector<std::string> names = model_names();
  for (const OwnModel& own : own_models()) names.emplace_back(own.name);
  return names;
}

std::unique_ptr<ModelEntry> make_entry(std::string_view name) {
  const auto own = std::ranges::find(own_models(), name, &OwnModel::name);
  if (own != own_models().end()) return own->make();
  const std::vector<std::string> names = entry_names();
  if (std::ranges::find(names, name) == names.end()) {
    std::string all;
    for (const std::string& known : names) all += (all.empty() ? "" : ", ") + known;
    throw ConfigError(
        rearm::detail::message("model = '", name, "': must be one of ", all,
                               "; a model of your own is known to the program that it was built into alone"));
  }
  return with_model<AllModels>(name, []<template <class> class M>() -> std::unique_ptr<ModelEntry> {
    return std::make_unique<ListedEntry<M>>();
  });
}

}  // namespace rearm::cli
