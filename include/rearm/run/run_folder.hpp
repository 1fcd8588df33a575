#pragma once
/// @file run_folder.hpp
/// The folder of a run: its best model and its checkpoint.

#include <rearm/run/checkpoint.hpp>
#include <rearm/run/model_file.hpp>
#include <rearm/train/store.hpp>

#include <filesystem>
#include <optional>
#include <span>
#include <utility>

namespace rearm {

/// model.safetensors (best weights) and checkpoint.safetensors in a folder.
template <Backend B>
class RunFolder final : public TrainStore<B> {
 public:
  using T = Real<B>;
  /// With `resume` the run goes on from the folder's checkpoint if there is one.
  RunFolder(std::filesystem::path folder, SettingsRecord settings, ModelOrigin origin, bool resume = false)
      : folder_(std::move(folder)), settings_(std::move(settings)), origin_(std::move(origin)), resume_(resume) {}

  std::filesystem::path model_file() const { return folder_ / "model.safetensors"; }
  std::filesystem::path checkpoint_file() const { return folder_ / "checkpoint.safetensors"; }

  std::optional<TrainState> restore(std::span<const Trained<B>> trained) override {
    if (!resume_ || !std::filesystem::exists(checkpoint_file())) return std::nullopt;
    return load_checkpoint<B>(checkpoint_file(), trained, settings_);
  }
  void save_checkpoint(std::span<const Trained<B>> trained, const TrainState& state) override {
    rearm::save_checkpoint<B>(checkpoint_file(), trained, settings_, state);
  }
  void save_best(const ParameterStore<B>& parameters, int epoch, ConstView<T> users, ConstView<T> items) override {
    save_model<B>(model_file(), parameters, settings_, origin_, epoch, users, items);
  }
  void load_best(ParameterStore<B>& parameters) override { load_parameters<B>(model_file(), parameters, settings_); }

 private:
  std::filesystem::path folder_;
  SettingsRecord settings_;
  ModelOrigin origin_;
  bool resume_;
};

}  // namespace rearm
