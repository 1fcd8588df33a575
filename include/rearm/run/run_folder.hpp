#pragma once
/// @file run_folder.hpp
/// The folder of a run: its best model and its checkpoint.

#include <rearm/run/checkpoint.hpp>
#include <rearm/run/folder.hpp>
#include <rearm/run/model_file.hpp>
#include <rearm/train/store.hpp>

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

namespace rearm::REARM_ABI {

/// model.safetensors (best weights) and checkpoint.safetensors in a folder. They change together, so the weights are
/// always those of the checkpoint's best epoch, whenever the process is killed. No other process can use the folder
/// meanwhile. Of several ranks rank 0 holds it and writes, what they share included; all read it.
template <Backend B>
class RunFolder final : public TrainStore<B> {
 public:
  using T = Real<B>;
  /// With `resume` the run continues from the folder's checkpoint if there is one. `held` is the folder if the caller
  /// holds it already; `ranks`, null for none, are the context's. Throws IoError if it cannot be written to,
  /// ConfigError if another process holds it.
  RunFolder(std::filesystem::path folder, SettingsRecord settings, ModelOrigin origin, bool resume = false,
            std::shared_ptr<HeldFolder> held = nullptr, Communicator* ranks = nullptr)
      : folder_(std::move(folder)),
        settings_(std::move(settings)),
        origin_(std::move(origin)),
        resume_(resume),
        ranks_(ranks) {
    settings_.data = origin_.data;
    if (!first()) return;
    held_ = held != nullptr ? std::move(held) : std::make_shared<HeldFolder>(folder_);
    replaces_ = !resume_ && exists(model_file());
  }

  std::filesystem::path model_file() const { return folder_ / model_name; }
  std::filesystem::path checkpoint_file() const { return folder_ / checkpoint_name; }

  std::optional<TrainState> read_state() override {
    char there = first() && resume_ && exists(checkpoint_file()) ? 1 : 0;
    if (ranks_ != nullptr) ranks_->broadcast(0, std::span<char>(&there, 1));
    if (there == 0) return std::nullopt;
    return read_train_state(checkpoint_file(), settings_);
  }
  void restore(std::span<const Trained<B>> trained) override {
    check_best(read_train_state(checkpoint_file(), settings_).stopping.best_epoch, *trained.front().parameters);
    load_checkpoint<B>(checkpoint_file(), trained, settings_);
  }
  void save_checkpoint(std::span<const Trained<B>> trained, const TrainState& state) override {
    rearm::save_checkpoint<B>(staged(checkpoint_name), trained, settings_, state, ranks_);
    if (!first()) return;
    // An earlier run's files stay until there is a model in place of theirs.
    if (replaces_ && !exists(held_->staged.path(model_name))) return;
    replaces_ = false;
    held_->staged.commit();
    resume_ = true;  // a trainer that runs again goes on from here
  }
  void save_best(const ParameterStore<B>& parameters, int epoch, const SharedView<T>& users,
                 const SharedView<T>& items) override {
    save_model<B>(staged(model_name), parameters, settings_, origin_, epoch, users, items, ranks_);
  }
  void load_best(ParameterStore<B>& parameters) override {
    if (ranks_ != nullptr) ranks_->barrier();  // rank 0 has written it
    load_parameters<B>(model_file(), parameters, settings_);
  }

 private:
  static constexpr const char* model_name = "model.safetensors";
  static constexpr const char* checkpoint_name = "checkpoint.safetensors";

  bool first() const { return ranks_ == nullptr || ranks_->rank() == 0; }
  std::filesystem::path staged(const char* name) const {
    return first() ? held_->staged.path(name) : std::filesystem::path();
  }
  static bool exists(const std::filesystem::path& path) {
    return detail::with_io_errors([&] { return std::filesystem::exists(path); });
  }
  /// Before anything is trained: the best weights so far are there, whole, and those of that epoch.
  void check_best(int best_epoch, const ParameterStore<B>& parameters) const {
    if (best_epoch < 0) return;
    SafetensorsFile file(model_file());
    detail::require_parameters(file, model_file(), "", parameters);
    file.require_whole();
    const auto said = file.metadata().find("epoch");  // version 0.1 did not say it
    if (said != file.metadata().end() && said->second != std::to_string(best_epoch))
      throw DataError(detail::message(model_file().string(), ": holds the weights of epoch ", said->second,
                                      " but the best epoch of ", checkpoint_file().string(), " is ", best_epoch,
                                      "; they are not of one run, so that it cannot go on"));
  }

  std::filesystem::path folder_;
  SettingsRecord settings_;
  ModelOrigin origin_;
  bool resume_;
  bool replaces_ = false;             ///< the folder still holds an earlier run
  std::shared_ptr<HeldFolder> held_;  ///< null at ranks that write nothing
  Communicator* ranks_;
};

}  // namespace rearm::REARM_ABI
