#include "run_files.hpp"

#include "settings_file.hpp"

#include <rearm/io/atomic_file.hpp>
#include <rearm/io/json.hpp>
#include <rearm/run/folder.hpp>

#include <algorithm>
#include <set>
#include <sstream>
#include <utility>

namespace rearm::cli {
namespace {

namespace fs = std::filesystem;
using rearm::detail::message;

/// The numbers of an object; what is none is left out.
std::map<std::string, double> numbers(const nlohmann::json& line, const char* key) {
  std::map<std::string, double> out;
  if (const auto found = line.find(key); found != line.end() && found->is_object())
    for (const auto& [name, value] : found->items())
      if (value.is_number()) out[name] = value.get<double>();
  return out;
}

std::vector<EpochLine> read_epochs(const fs::path& path) {
  std::vector<EpochLine> out;
  if (!fs::exists(path)) return out;
  std::istringstream in(rearm::detail::read_text(path));
  int number = 0;
  for (std::string text; std::getline(in, text);) {
    ++number;
    if (in.eof() && !nlohmann::json::accept(text)) break;  // one that is being written
    const nlohmann::json line = parse_json_object(text, message(path.string(), ": line ", number));
    if (!line.contains("epoch") || !line["epoch"].is_number_integer())
      throw DataError(message(path.string(), ": line ", number, " has no epoch"));
    EpochLine& epoch = out.emplace_back();
    epoch.epoch = line["epoch"].get<int>();
    epoch.losses = numbers(line, "losses");
    epoch.valid = numbers(line, "valid");
    if (const auto found = line.find("seconds"); found != line.end() && found->is_number())
      epoch.seconds = found->get<double>();
    if (const auto found = line.find("valid_seconds"); found != line.end() && found->is_number())
      epoch.valid_seconds = found->get<double>();
  }
  return out;
}

RunFiles read_run(const fs::path& folder) {
  const fs::path settings = StagedFiles::current(folder, "config.toml");
  if (!fs::exists(settings))
    throw DataError(folder.string() + ": holds no run (it has no config.toml); name the folder given to --out");
  RunFiles out;
  out.folder = folder;
  out.entry = make_entry(model_in(settings).value_or("rearm"));
  std::set<std::string> set;
  read_settings(settings, *out.entry, set);
  // Of a run whose first epoch has not ended they are not in their place yet.
  out.epochs = read_epochs(StagedFiles::current(folder, "metrics.jsonl"));
  const fs::path result = StagedFiles::current(folder, "result.json");
  out.result = fs::exists(result) ? parse_json_object(rearm::detail::read_text(result), result.string())
                                  : nlohmann::json::object();
  return out;
}

/// The last `n` parts of a path.
std::string tail(const fs::path& path, int n) {
  fs::path out;
  for (auto part = path.end(); part != path.begin() && n > 0; --n) {
    --part;
    out = out.empty() ? *part : *part / out;
  }
  return out.string();
}

}  // namespace

std::vector<RunFiles> read_runs(const std::vector<fs::path>& folders) {
  return rearm::detail::with_io_errors([&] {
    std::vector<RunFiles> out;
    std::vector<fs::path> paths;
    for (const fs::path& folder : folders) {
      out.push_back(read_run(folder));
      fs::path path = fs::weakly_canonical(folder);
      paths.push_back(path);
    }
    for (int n = 1;; ++n) {
      std::set<std::string> names;
      for (std::size_t i = 0; i < out.size(); ++i) names.insert(out[i].name = tail(paths[i], n));
      if (names.size() == std::set<fs::path>(paths.begin(), paths.end()).size()) break;
    }
    return out;
  });
}

}  // namespace rearm::cli
