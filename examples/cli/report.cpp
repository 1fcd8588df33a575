// rearm report: one page about a run, or about several side by side.
#include "chart.hpp"
#include "commands.hpp"
#include "program.hpp"
#include "progress.hpp"
#include "run_files.hpp"
#include "tensorboard.hpp"
#include "text_table.hpp"

#include <rearm/run/folder.hpp>
#include <rearm/run/settings.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace rearm::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using rearm::detail::message;

struct ReportArguments {
  std::vector<fs::path> runs;
  fs::path out, tensorboard;
  std::string preset;
};

/// What settings are compared with.
struct Reference {
  std::unique_ptr<ModelEntry> entry;
  std::string called;
};
/// The preset that is asked for, else the one of the data set's name, else the defaults, which a model without that
/// preset is compared with.
Reference reference_of(const RunFiles& run, const std::string& preset) {
  Reference out{make_entry(run.entry->name()), "the defaults"};
  const std::string name = preset.empty() ? slug(run.result.value("dataset", "")) : preset;
  try {
    out.entry->take_preset(name);
    out.called = "preset " + name;
  } catch (const ConfigError&) {  // it has none of that name
  }
  return out;
}

std::string mebibytes(double bytes) {
  char text[32];
  std::snprintf(text, sizeof text, bytes < 1024.0 * 1024 * 10 ? "%.1f MiB" : "%.0f MiB", bytes / (1024.0 * 1024));
  return text;
}
/// As duration, but what takes less than ten seconds in more detail.
std::string time_text(double seconds) {
  if (seconds >= 10) return duration(seconds);
  char text[32];
  std::snprintf(text, sizeof text,
                seconds < 0.1 ? "%.2f ms"
                : seconds < 1 ? "%.0f ms"
                              : "%.2f s",
                seconds < 1 ? 1000 * seconds : seconds);
  return text;
}
std::string setting_text(const json& value) {
  std::string out = value.is_string() ? value.get<std::string>() : value.dump();
  return out.empty() ? "(empty)" : out;
}

/// A table of HTML: cells are escaped, the first of a row names it. Rows are as many as there are; `strong` marks
/// cells.
class Rows {
 public:
  explicit Rows(const std::vector<std::string>& head) { add("th", head, {}); }
  void add(const std::vector<std::string>& cells, const std::set<std::size_t>& strong = {}) {
    add("td", cells, strong);
  }
  std::string text() const { return "<div class=\"wide\"><table>\n" + text_ + "</table></div>\n"; }

 private:
  void add(const char* kind, const std::vector<std::string>& cells, const std::set<std::size_t>& strong) {
    text_ += "<tr>";
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const std::string tag = i == 0 ? "th" : kind;
      text_ += '<' + tag + (i == 0 ? " scope=\"row\"" : "") + (strong.contains(i) ? " class=\"strong\"" : "") + '>' +
               escaped(cells[i]) + "</" + tag + '>';
    }
    text_ += "</tr>\n";
  }
  std::string text_;
};

class Page {
 public:
  Page(std::vector<RunFiles> runs, const std::string& preset) : runs_(std::move(runs)) {
    for (const RunFiles& run : runs_) references_.push_back(reference_of(run, preset));
  }

  std::string html() const {
    const std::string title = runs_.size() == 1 ? runs_[0].name : message(runs_.size(), " runs");
    return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
           "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>" +
           escaped("rearm: " + title) + "</title>\n<style>\n" + style + "</style>\n</head>\n<body>\n<main>\n<h1>" +
           escaped(title) + "</h1>\n" + results() + notes() + curves() + settings() + costs() +
           "</main>\n</body>\n</html>\n";
  }

 private:
  static constexpr const char* style =
      R"(:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #fff; --soft: #666; --rule: #ddd; --mark: #fff3cd; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --paper: #161616; --soft: #a0a0a0; --rule: #3a3a3a; --mark: #4a3f16; } }
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
main { max-width: 1240px; margin: 0 auto; padding: 16px; }
h1 { font-size: 1.5rem; margin: 0 0 12px; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 28px 0 8px; }
p { margin: 6px 0; }
.note { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 10px; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; white-space: nowrap; }
tr:first-child th { color: var(--soft); font-weight: 600; }
th[scope=row] { font-weight: 500; position: sticky; left: 0; background: var(--paper); }
.strong { background: var(--mark); }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(340px, 100%), 1fr)); gap: 12px 20px; }
figure { margin: 0; }
svg { width: 100%; height: auto; display: block; }
svg text { font: 12px system-ui, sans-serif; fill: var(--soft); }
svg .title { font-size: 13px; font-weight: 600; fill: var(--ink); }
svg .grid { stroke: var(--rule); }
svg .axis { stroke: var(--soft); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 8px 0; padding: 0; list-style: none; }
.legend li { display: flex; align-items: center; gap: 6px; overflow-wrap: anywhere; }
.legend svg { width: 28px; height: 10px; flex: none; }
details { margin: 10px 0; }
summary { cursor: pointer; }
)";

  std::vector<std::string> head(const std::string& first) const {
    std::vector<std::string> out = {first};
    for (const RunFiles& run : runs_) out.push_back(run.name);
    return out;
  }
  template <class F>
  std::vector<std::string> row(const std::string& name, const F& of_run) const {
    std::vector<std::string> out = {name};
    for (const RunFiles& run : runs_) out.push_back(of_run(run));
    return out;
  }

  std::string results() const {
    Rows rows(head(""));
    const auto text = [](const RunFiles& run, const char* key) {
      return run.result.contains(key) ? setting_text(run.result[key]) : std::string("-");
    };
    rows.add(row("model", [](const RunFiles& run) { return std::string(run.entry->name()); }));
    rows.add(row("data set", [&](const RunFiles& run) { return text(run, "dataset"); }));
    rows.add(row("features", [&](const RunFiles& run) { return text(run, "features_are"); }));
    rows.add(row("state", [](const RunFiles& run) -> std::string {
      if (run.result.empty()) return run.epochs.empty() ? "begun" : "running, or ended without a result";
      return run.result.value("interrupted", false) ? "interrupted" : "finished";
    }));
    rows.add(row("epochs", [](const RunFiles& run) { return std::to_string(run.epochs.size()); }));
    rows.add(row("best epoch", [](const RunFiles& run) {
      const auto best = best_epoch(run);
      return best ? std::to_string(run.epochs[*best].epoch) : "-";
    }));
    rows.add(row("chosen by", [](const RunFiles& run) { return "valid " + run.watch(); }));
    for (const char* split : {"valid", "test"}) {
      std::set<std::string> names;
      for (const RunFiles& run : runs_)
        if (const auto found = run.result.find(split); found != run.result.end() && found->is_object())
          for (const auto& [name, value] : found->items()) names.insert(name);
      for (const std::string& name : names) {
        std::vector<std::string> cells = row(std::string(split) + ' ' + name, [&](const RunFiles& run) {
          const auto value = metric(run, split, name);
          return value ? rounded(*value) : "-";
        });
        std::set<std::size_t> strong;
        if (runs_.size() > 1) {
          std::optional<double> most;
          for (const RunFiles& run : runs_)
            if (const auto value = metric(run, split, name)) most = std::max(most.value_or(*value), *value);
          for (std::size_t i = 0; i < runs_.size(); ++i)
            if (const auto value = metric(runs_[i], split, name); value && *value == *most) strong.insert(i + 1);
        }
        rows.add(cells, strong);
      }
    }
    return "<h2>Results</h2>\n" + rows.text();
  }
  static std::optional<double> metric(const RunFiles& run, const char* split, const std::string& name) {
    const auto found = run.result.find(split);
    if (found == run.result.end() || !found->is_object()) return std::nullopt;
    const auto value = found->find(name);
    if (value == found->end() || !value->is_number()) return std::nullopt;
    return value->get<double>();
  }
  /// The place of the best epoch: the result's, else the best of the watched metric so far.
  static std::optional<std::size_t> best_epoch(const RunFiles& run) {
    std::optional<std::size_t> best;
    for (std::size_t i = 0; i < run.epochs.size(); ++i) {
      if (run.result.contains("best_epoch")) {
        if (run.epochs[i].epoch == run.result["best_epoch"]) return i;
        continue;
      }
      const auto value = run.epochs[i].valid.find(run.watch());
      if (value != run.epochs[i].valid.end() && (!best || value->second > run.epochs[*best].valid.at(run.watch())))
        best = i;
    }
    return best;
  }

  std::string notes() const {
    std::set<std::string> said;
    for (const RunFiles& run : runs_) {
      if (run.result.contains("note") && run.result["note"].is_string()) said.insert(run.result["note"]);
      const std::string features = run.result.value("features_are", "");
      if (!features.empty() && features != "original" && features != "none" && features != "unknown")
        said.insert("features: " + features + "; such results are not those of the original data");
    }
    std::string out;
    for (const std::string& text : said) out += "<p class=\"note\">" + escaped(text) + "</p>\n";
    return out;
  }

  std::string curves() const {
    std::string out = "<h2>Curves</h2>\n";
    if (std::ranges::all_of(runs_, [](const RunFiles& run) { return run.epochs.empty(); }))
      return out + "<p class=\"note\">No epoch has ended yet.</p>\n";
    out += "<ul class=\"legend\">";
    for (std::size_t i = 0; i < runs_.size(); ++i)
      out +=
          "<li><svg viewBox=\"0 0 28 10\" aria-hidden=\"true\"><line x1=\"0\" x2=\"28\" y1=\"5\" y2=\"5\" "
          "stroke-width=\"2.5\" " +
          curve_stroke(i) + "/></svg>" + escaped(runs_[i].name) + "</li>";
    out += "</ul>\n<p class=\"note\">A dot marks the best epoch on validation.</p>\n";
    std::vector<std::string> losses = {"total"}, watched, others;
    for (const RunFiles& run : runs_)
      if (std::ranges::find(watched, run.watch()) == watched.end()) watched.push_back(run.watch());
    for (const RunFiles& run : runs_)
      for (const EpochLine& epoch : run.epochs) {
        const auto add = [](std::vector<std::string>& to, const std::vector<std::string>& not_in, const auto& values) {
          for (const auto& [name, value] : values)
            if (std::ranges::find(to, name) == to.end() && std::ranges::find(not_in, name) == not_in.end())
              to.push_back(name);
        };
        add(losses, {}, epoch.losses);
        add(others, watched, epoch.valid);
      }
    out += "<div class=\"charts\">\n";
    for (const std::string& name : watched) out += chart("valid " + name, name, &EpochLine::valid);
    for (const std::string& name : losses) out += chart("loss: " + name, name, &EpochLine::losses);
    out += chart_of("seconds", [](const EpochLine& epoch) { return std::optional<double>(epoch.seconds); });
    out += "</div>\n";
    std::string more;
    for (const std::string& name : others) more += chart("valid " + name, name, &EpochLine::valid);
    if (!more.empty())
      out += "<details><summary>Other metrics on validation</summary>\n<div class=\"charts\">\n" + more +
             "</div></details>\n";
    return out;
  }
  std::string chart(const std::string& title, const std::string& name,
                    std::map<std::string, double> EpochLine::*values) const {
    return chart_of(title, [&](const EpochLine& epoch) {
      const auto found = (epoch.*values).find(name);
      return found == (epoch.*values).end() ? std::nullopt : std::optional<double>(found->second);
    });
  }
  std::string chart_of(const std::string& title,
                       const std::function<std::optional<double>(const EpochLine&)>& value) const {
    std::vector<Curve> all;
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      Curve& curve = all.emplace_back();
      curve.name = runs_[i].name;
      curve.style = i;
      const auto best = best_epoch(runs_[i]);
      for (std::size_t e = 0; e < runs_[i].epochs.size(); ++e)
        if (const auto y = value(runs_[i].epochs[e])) {
          if (best == e) curve.marked = curve.points.size();
          curve.points.emplace_back(runs_[i].epochs[e].epoch, *y);
        }
    }
    return line_chart(title, all);
  }

  std::string settings() const {
    std::vector<std::string> paths;
    std::vector<std::map<std::string, json>> values, usual;
    const auto read = [&](const ModelEntry& entry, bool list) {
      std::map<std::string, json> out;
      for (const FieldEntry& field : entry.settings().fields) {
        out[field.path] = rearm::to_json(field.value);
        if (list && std::ranges::find(paths, field.path) == paths.end()) paths.push_back(field.path);
      }
      return out;
    };
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      values.push_back(read(*runs_[i].entry, true));
      usual.push_back(read(*references_[i].entry, false));
    }
    // Runs of one model share what they are compared with.
    std::vector<std::string> kinds;
    std::vector<std::size_t> of_kind, kind_of;
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      const std::string kind = std::string(runs_[i].entry->name()) + ": " + references_[i].called;
      const auto found = std::ranges::find(kinds, kind);
      kind_of.push_back(static_cast<std::size_t>(found - kinds.begin()));
      if (found != kinds.end()) continue;
      kinds.push_back(kind);
      of_kind.push_back(i);
    }
    std::vector<std::string> columns = head("setting");
    columns.insert(columns.end(), kinds.begin(), kinds.end());
    Rows changed(columns), all(columns);
    bool any = false;
    for (const std::string& path : paths) {
      std::vector<std::string> cells = {path};
      std::set<std::size_t> strong;
      for (std::size_t i = 0; i < runs_.size(); ++i) {
        const auto found = values[i].find(path);
        cells.push_back(found == values[i].end() ? "-" : setting_text(found->second));
        if (found != values[i].end() && found->second != usual[i].at(path)) strong.insert(i + 1);
      }
      for (const std::size_t i : of_kind) {
        const auto found = usual[i].find(path);
        cells.push_back(found == usual[i].end() ? "-" : setting_text(found->second));
      }
      all.add(cells, strong);
      if (strong.empty()) continue;
      changed.add(cells, strong);
      any = true;
    }
    std::string against;
    for (const std::string& kind : kinds) against += (against.empty() ? "" : "; ") + kind;
    std::string out = "<h2>Settings</h2>\n";
    out += any ? "<p class=\"note\">What differs from " + escaped(against) + ":</p>\n" + changed.text()
               : "<p class=\"note\">All as in " + escaped(against) + ".</p>\n";
    return out + "<details><summary>All settings</summary>\n" + all.text() + "</details>\n";
  }

  std::string costs() const {
    Rows time(head("time")), memory(head("memory"));
    const auto number = [](const RunFiles& run, const json::json_pointer& key) {
      return run.result.contains(key) && run.result[key].is_number()
                 ? std::optional<double>(run.result[key].get<double>())
                 : std::nullopt;
    };
    const auto sum = [](const RunFiles& run, bool valid) -> std::optional<double> {
      double seconds = 0;
      for (const EpochLine& epoch : run.epochs) {
        if (!epoch.valid_seconds) return std::nullopt;
        seconds += valid ? *epoch.valid_seconds : epoch.seconds - *epoch.valid_seconds;
      }
      return seconds;
    };
    const auto shown = [](std::optional<double> value, std::string (*text)(double)) {
      return value ? text(*value) : std::string("-");
    };
    const auto key = [](const char* text) { return json::json_pointer(text); };
    time.add(row("graphs and model",
                 [&](const RunFiles& run) { return shown(number(run, key("/graph_seconds")), time_text); }));
    time.add(row("training", [&](const RunFiles& run) { return shown(sum(run, false), time_text); }));
    time.add(row("validation", [&](const RunFiles& run) { return shown(sum(run, true), time_text); }));
    time.add(row("all epochs", [&](const RunFiles& run) {
      double seconds = 0;
      for (const EpochLine& epoch : run.epochs) seconds += epoch.seconds;
      return time_text(seconds);
    }));
    time.add(row("median step",
                 [&](const RunFiles& run) { return shown(number(run, key("/step_seconds_median")), time_text); }));
    time.add(row("threads", [&](const RunFiles& run) {
      return run.result.contains("threads") ? run.result["threads"].dump() + ", " + run.result.value("backend", "")
                                            : "-";
    }));
    const std::pair<const char*, const char*> parts[] = {
        {"peak of the process", "/peak_rss_bytes"},
        {"estimated before the run", "/estimated_peak_bytes"},
        {"- data, graphs and model", "/estimated_bytes/before"},
        {"- gradients, moments, kept weights", "/estimated_bytes/gradients_moments_weights"},
        {"- a step or an evaluation", "/estimated_bytes/step"},
        {"- lists of an evaluation", "/estimated_bytes/ranking"}};
    for (const auto& part : parts)
      memory.add(row(part.first, [&](const RunFiles& run) { return shown(number(run, key(part.second)), mebibytes); }));
    return "<h2>Time and memory</h2>\n" + time.text() + "<p></p>\n" + memory.text();
  }

  std::vector<RunFiles> runs_;
  std::vector<Reference> references_;
};

/// Every run's curves as an event file in DIR/<run>. Nothing says when an epoch ended, but how long each took and when
/// the last one did.
void write_tensorboard(const fs::path& dir, const std::vector<RunFiles>& runs) {
  for (const RunFiles& run : runs) {
    const fs::path metrics = StagedFiles::current(run.folder, "metrics.jsonl");
    std::error_code error;
    double seconds = 0;
    if (const auto written = fs::last_write_time(metrics, error); !error) {
      const auto age = fs::file_time_type::clock::now() - written;
      seconds = std::chrono::duration<double>((std::chrono::system_clock::now() - age).time_since_epoch()).count();
    }
    for (const EpochLine& epoch : run.epochs) seconds -= epoch.seconds;
    std::vector<Scalar> scalars;
    for (const EpochLine& epoch : run.epochs) {
      seconds += epoch.seconds;
      for (const auto& [name, value] : epoch.losses) scalars.push_back({"loss/" + name, epoch.epoch, seconds, value});
      for (const auto& [name, value] : epoch.valid) scalars.push_back({"valid/" + name, epoch.epoch, seconds, value});
      scalars.push_back({"time/epoch_seconds", epoch.epoch, seconds, epoch.seconds});
    }
    const fs::path folder = dir / run.name;
    fs::create_directories(folder, error);
    if (error) throw IoError(folder.string() + ": cannot be made: " + error.message());
    write_events(folder / "events.out.tfevents.0.rearm", scalars);
  }
}

void write_report(ReportArguments args) {
  if (args.out.empty() && args.runs.size() > 1)
    throw ConfigError("several runs: --out says where their page is written");
  if (args.out.empty()) args.out = args.runs.front() / "report.html";
  std::vector<RunFiles> runs = read_runs(args.runs);
  if (!args.preset.empty() && std::ranges::none_of(runs, [&](const RunFiles& run) {
        return reference_of(run, args.preset).called != "the defaults";
      }))
    throw ConfigError(message("--preset ", args.preset, ": none of the models has a preset of that name"));
  if (!args.tensorboard.empty()) {
    rearm::detail::with_io_errors([&] { write_tensorboard(args.tensorboard, runs); });
    std::printf("event files in %s; see them with: tensorboard --logdir %s\n", args.tensorboard.c_str(),
                shell_word(args.tensorboard.string()).c_str());
  }
  write_text(args.out, Page(std::move(runs), args.preset).html());
  std::printf("%s\n", args.out.c_str());
}

int report(const ReportArguments& args) {
  try {
    write_report(args);
    return 0;
  } catch (const json::exception& e) {
    throw DataError(message("result.json of a run is not as rearm writes it: ", e.what()));
  }
}

}  // namespace

Command add_report(CLI::App& app) {
  const auto args = std::make_shared<ReportArguments>();
  app.add_option("OUT", args->runs, "folders of runs, also of running ones")->required();
  app.add_option("--out", args->out, "the page (OUT/report.html)");
  app.add_option("--preset", args->preset,
                 "the preset to compare settings with (that of the data set, else the defaults)");
  app.add_option("--tensorboard", args->tensorboard, "also write event files for TensorBoard, into this folder")
      ->type_name("FOLDER");
  app.footer(examples("Examples, the first with the run of the example of `rearm train --help`",
                      {"rearm report out/try --out try.html", "rearm report out/baby out/baby-2 --out compared.html"}));
  return [=] { return report(*args); };
}

}  // namespace rearm::cli
