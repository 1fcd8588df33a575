#pragma once
/// @file model_entry.hpp
/// A model as the program sees it: its settings by name, and how it is made.

#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/data/dataset.hpp>
#include <rearm/graph/options.hpp>
#include <rearm/run/settings.hpp>
#include <rearm/train/recommender.hpp>

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace rearm::cli {

using Cpu = CpuBackend<float>;

/// A model's settings as they stand, and the model.
class ModelEntry {
 public:
  virtual ~ModelEntry() = default;
  virtual std::string_view name() const = 0;
  virtual const SettingList& settings() const = 0;
  /// Takes published settings. Throws ConfigError for a name that the model has none for.
  virtual void take_preset(const std::string& preset) = 0;
  virtual bool has_presets() const = 0;
  /// Leaves the modalities in the data set that the settings choose, and fits settings that are one number a modality;
  /// `set` are the full names of those that the user gave. Returns a sentence when something had to be changed.
  virtual std::string choose_modalities(Dataset& data, const std::set<std::string>& set) = 0;
  /// Fits settings that were not given to the data, for a model that can; returns a sentence that says what was chosen.
  virtual std::string choose_settings(Context<Cpu>&, const Dataset&, const std::set<std::string>& /*set*/) {
    return {};
  }
  /// Throws ConfigError or DataError for settings that are out of range or cannot be used with that data.
  virtual void check(const Dataset& data) const = 0;
  virtual const TrainConfig& train() const = 0;
  virtual AnyRecommender<Cpu> make(Context<Cpu>& ctx, const Dataset& data, const GraphOptions& options) const = 0;
  virtual bool runs_on_cuda() const = 0;
};

/// Throws ConfigError listing the models when there is none of that name.
std::unique_ptr<ModelEntry> make_entry(std::string_view name);
/// Of the library's models, and of those that the program adds (own_models.hpp).
std::vector<std::string> entry_names();

}  // namespace rearm::cli
