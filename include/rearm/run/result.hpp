#pragma once
/// @file result.hpp
/// What a run writes for people and scripts: metrics.jsonl, one line per epoch, and result.json at the end.

#include <rearm/data/dataset.hpp>
#include <rearm/io/atomic_file.hpp>
#include <rearm/run/settings.hpp>
#include <rearm/train/trainer.hpp>

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <ostream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

namespace rearm::REARM_ABI {

/// metrics.jsonl: one line per epoch, written when the epoch ends.
class MetricsLog {
 public:
  /// Keeps the lines of epochs up to `last_epoch` (-1: none). If the file will be moved later, `name` is its final
  /// path, for messages. Throws IoError.
  MetricsLog(const std::filesystem::path& path, int last_epoch, const std::filesystem::path& name = {})
      : name_(name.empty() ? path : name) {
    std::string kept;
    if (detail::with_io_errors([&] { return std::filesystem::exists(path); })) {
      std::istringstream in(detail::read_text(path));
      for (std::string line; std::getline(in, line);) {
        const auto json = nlohmann::json::parse(line, nullptr, false);
        const auto epoch = json.is_object() ? json.find("epoch") : json.end();
        if (epoch != json.end() && epoch->is_number_integer() && *epoch <= last_epoch) kept += line + '\n';
      }
    }
    write_file_atomically(path, [&](std::ostream& out) { out << kept; });
    file_ = std::make_unique<detail::FileDescriptor>(::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    if (file_->get() < 0) detail::throw_io(path, "cannot be opened for writing", errno);
  }
  /// Adds the line of an epoch, whole or not at all. Throws IoError.
  void write(const EpochReport& r) {
    // Objects from the first, member by member: when memory ends, a list of values leaks them, and a null that is to
    // become an object ends the program.
    auto line = nlohmann::ordered_json::object(), losses = line;
    losses["total"] = r.losses.total;
    for (const auto& part : r.losses.parts()) losses[std::string(part.name)] = part.value;
    line["epoch"] = r.epoch;
    line["losses"] = std::move(losses);
    line["valid"] = r.valid;
    line["seconds"] = r.train_seconds + r.valid_seconds;
    line["valid_seconds"] = r.valid_seconds;
    const std::string text = line.dump() + '\n';
    const ::off_t end = ::lseek(file_->get(), 0, SEEK_END);
    errno = 0;
    if (::write(file_->get(), text.data(), text.size()) == static_cast<::ssize_t>(text.size())) return;
    const int failed = errno;
    static_cast<void>(::ftruncate(file_->get(), end));  // a part of a line is of no use
    detail::throw_io(name_, "writing failed (is the disk full?)", failed);
  }

 private:
  std::filesystem::path name_;
  std::unique_ptr<detail::FileDescriptor> file_;
};

/// Peak resident memory of the process.
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

/// Writes result.json; `extra` comes after the fields that every run has.
inline void write_result(const std::filesystem::path& dir, const Dataset& data, const SettingsRecord& record,
                         std::string_view backend, int threads, const TrainResult& r,
                         const nlohmann::ordered_json& extra) {
  const auto& train = record.settings.at("train");
  auto json = nlohmann::ordered_json::object();  // member by member, as above
  json["dataset"] = data.name;
  json["features_are"] = data.features_are;
  json["model"] = record.model;
  json["negatives"] = train.at("negatives");
  json["backend"] = backend;
  json["seed"] = train.at("seed");
  json["threads"] = threads;
  json["epochs"] = r.epochs;
  json["best_epoch"] = r.best_epoch;
  json["valid"] = r.valid;
  json["test"] = r.test;
  json["step_seconds_median"] = r.step_seconds_median;
  json["peak_rss_bytes"] = peak_rss_bytes();
  json["estimated_peak_bytes"] = r.estimated_peak_bytes;
  json["settings"] = record.settings;
  if (train.at("negatives") == "exclude_all") json["note"] = leaking_negatives;
  if (r.estimated_peak_bytes > 0) {
    auto bytes = nlohmann::ordered_json::object();
    bytes["before"] = r.memory.held;
    bytes["gradients_moments_weights"] = r.memory.arrays;
    bytes["step"] = r.memory.step;
    bytes["ranking"] = r.memory.ranking;
    json["estimated_bytes"] = std::move(bytes);
  }
  json.update(extra);
  write_file_atomically(dir / "result.json", [&](std::ostream& out) { out << json.dump(2) << '\n'; });
}

}  // namespace rearm::REARM_ABI
