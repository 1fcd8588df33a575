#pragma once
/// @file result.hpp
/// What a run writes for people and scripts: metrics.jsonl, a line an epoch, and result.json at the end.

#include <rearm/data/dataset.hpp>
#include <rearm/io/atomic_file.hpp>
#include <rearm/run/settings.hpp>
#include <rearm/train/trainer.hpp>

#include <nlohmann/json.hpp>

#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <ostream>
#include <string>
#include <string_view>

namespace rearm {

/// metrics.jsonl: a line an epoch, written when the epoch ends.
class MetricsLog {
 public:
  /// Keeps the lines of epochs up to `last_epoch` (-1: none). Throws IoError.
  MetricsLog(const std::filesystem::path& path, int last_epoch) : path_(path) {
    std::string kept;
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) {
      const auto json = nlohmann::json::parse(line, nullptr, false);
      if (json.is_object() && json.value("epoch", last_epoch + 1) <= last_epoch) kept += line + '\n';
    }
    detail::require_read(in, path);
    in.close();
    write_file_atomically(path, [&](std::ostream& out) { out << kept; });
    out_.open(path, std::ios::app);
  }
  void write(const EpochReport& r) {
    nlohmann::ordered_json losses = {{"total", r.losses.total}};
    for (const auto& part : r.losses.parts()) losses[std::string(part.name)] = part.value;
    const nlohmann::ordered_json line = {
        {"epoch", r.epoch}, {"losses", losses}, {"valid", r.valid}, {"seconds", r.train_seconds + r.valid_seconds}};
    out_ << line.dump() << '\n' << std::flush;
    if (!out_) throw IoError(path_.string() + ": writing failed (is the disk full?)");
  }

 private:
  std::filesystem::path path_;
  std::ofstream out_;
};

/// Most memory the process has held.
inline long peak_rss_bytes() {
  struct rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024L;
}

/// Of a run whose negatives avoid what is held out.
inline constexpr const char* leaking_negatives =
    "negatives are drawn outside train, valid and test, as the authors' program does, which tells the model what is "
    "held "
    "out; negatives = exclude_train draws them outside train alone";

/// Writes result.json; `extra` follows the fields that every run has.
inline void write_result(const std::filesystem::path& dir, const Dataset& data, const SettingsRecord& record,
                         std::string_view backend, int threads, const TrainResult& r,
                         const nlohmann::ordered_json& extra) {
  const auto& train = record.settings.at("train");
  nlohmann::ordered_json json = {{"dataset", data.name},
                                 {"features_are", data.features_are},
                                 {"model", record.model},
                                 {"negatives", train.at("negatives")},
                                 {"backend", backend},
                                 {"seed", train.at("seed")},
                                 {"threads", threads},
                                 {"epochs", r.epochs},
                                 {"best_epoch", r.best_epoch},
                                 {"valid", r.valid},
                                 {"test", r.test},
                                 {"step_seconds_median", r.step_seconds_median},
                                 {"peak_rss_bytes", peak_rss_bytes()},
                                 {"estimated_peak_bytes", r.estimated_peak_bytes},
                                 {"settings", record.settings}};
  if (train.at("negatives") == "exclude_all") json["note"] = leaking_negatives;
  json.update(extra);
  write_file_atomically(dir / "result.json", [&](std::ostream& out) { out << json.dump(2) << '\n'; });
}

}  // namespace rearm
