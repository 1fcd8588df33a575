#pragma once
/// @file run_files.hpp
/// The folder of a run: what is in it, who may write there, and its config.toml, metrics.jsonl and result.json.

#include "settings.hpp"

#include <rearm/io/atomic_file.hpp>
#include <rearm/train/trainer.hpp>

#include <nlohmann/json.hpp>

#include <sys/resource.h>

#include <cctype>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

namespace rearm::support {

/// "TikTok (visual, acoustic)" -> "tiktok-visual-acoustic"
inline std::string slug(std::string_view name) {
  std::string out;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0)
      out += static_cast<char>(std::tolower(byte));
    else if (!out.empty() && out.back() != '-')
      out += '-';
  }
  while (out.ends_with('-')) out.pop_back();
  return out.empty() ? "run" : out;
}

/// Files by which a folder is known to hold a run.
inline constexpr const char* run_files[] = {"result.json", "checkpoint.safetensors", "model.safetensors",
                                            "metrics.jsonl"};

inline bool holds_run(const std::filesystem::path& dir) {
  return std::ranges::any_of(run_files, [&](const char* name) {
    return std::filesystem::exists(dir / name) && !std::filesystem::is_empty(dir / name);
  });
}

/// `base`, or the first of base-2, base-3, ... that holds no run.
inline std::filesystem::path unused_folder(const std::filesystem::path& base) {
  std::filesystem::path dir = base;
  for (int i = 2; holds_run(dir); ++i) dir = base.string() + "-" + std::to_string(i);
  return dir;
}

/// Makes the folder and proves that it can be written, before anything costly. Throws IoError; ConfigError when it
/// holds a run that is neither to be resumed nor to be overwritten, or nothing to resume.
inline void open_run_folder(const std::filesystem::path& dir, bool resume, bool overwrite) {
  const bool used = holds_run(dir);
  if (resume && used && !std::filesystem::exists(dir / "checkpoint.safetensors"))
    throw ConfigError(dir.string() + ": holds a run without checkpoint.safetensors, which --resume needs; choose " +
                      "another folder with --out, or replace the run with --overwrite");
  if (used && !resume && !overwrite)
    throw ConfigError(dir.string() + ": holds a run already; continue it with --resume, choose another folder with " +
                      "--out, or replace it with --overwrite");
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  if (error) throw IoError(dir.string() + ": cannot be made: " + error.message() + "; choose another --out");
  const std::filesystem::path probe = dir / ".writable";
  write_file_atomically(probe, [](std::ostream&) {});
  std::filesystem::remove(probe, error);
}

/// Deletes the files of an earlier run.
inline void remove_run(const std::filesystem::path& dir) {
  for (const char* name : run_files) std::filesystem::remove(dir / name);
}

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
    in.close();
    write_file_atomically(path, [&](std::ostream& out) { out << kept; });
    out_.open(path, std::ios::app);
  }
  void write(const EpochReport& r) {
    const nlohmann::ordered_json line = {{"epoch", r.epoch},
                                         {"losses",
                                          {{"total", r.losses.total},
                                           {"bpr", r.losses.bpr},
                                           {"contrast", r.losses.contrast},
                                           {"orthogonal", r.losses.orthogonal},
                                           {"l2", r.losses.l2}}},
                                         {"valid", r.valid},
                                         {"seconds", r.train_seconds + r.valid_seconds}};
    out_ << line.dump() << '\n' << std::flush;
    if (!out_) throw IoError(path_.string() + ": writing failed (is the disk full?)");
  }

 private:
  std::filesystem::path path_;
  std::ofstream out_;
};

inline void write_config(const std::filesystem::path& dir, const Config& config) {
  write_file_atomically(dir / "config.toml", [&](std::ostream& out) { out << to_toml(config); });
}

/// Most memory the process has held.
inline long peak_rss_bytes() {
  struct rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024L;
}

/// Writes result.json; `extra` follows the fields that every run has, or replaces one.
inline void write_result(const std::filesystem::path& dir, const Dataset& data, const Config& config,
                         std::string_view variant, std::string_view backend, int threads, const TrainResult& r,
                         const nlohmann::ordered_json& extra) {
  nlohmann::ordered_json test;
  for (const char* metric : {"recall@10", "recall@20", "ndcg@10", "ndcg@20"}) test[metric] = r.test.at(metric);
  nlohmann::ordered_json json = {{"dataset", data.name},
                                 {"features_are", data.features_are},
                                 {"variant", variant},
                                 {"features", to_string(config.features)},
                                 {"negatives", to_string(config.negatives)},
                                 {"backend", backend},
                                 {"seed", config.seed},
                                 {"threads", threads},
                                 {"epochs", r.epochs},
                                 {"best_epoch", r.best_epoch},
                                 {"valid", r.valid},
                                 {"test", test},
                                 {"step_seconds_median", r.step_seconds_median},
                                 {"peak_rss_bytes", peak_rss_bytes()}};
  json.update(extra);
  write_file_atomically(dir / "result.json", [&](std::ostream& out) { out << json.dump(2) << '\n'; });
}

}  // namespace rearm::support
