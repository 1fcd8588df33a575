// rearm sweep: tries settings, by a grid, at random or by successive halving, and ranks them.
#include "child_runs.hpp"
#include "commands.hpp"
#include "program.hpp"
#include "sweep_plan.hpp"
#include "text_table.hpp"

#include <rearm/data/digest.hpp>
#include <rearm/data/load_dataset.hpp>
#include <rearm/eval/significance.hpp>
#include <rearm/run/folder.hpp>
#include <rearm/run/search.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <numeric>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

namespace rearm::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using rearm::detail::message;

struct SweepArguments {
  fs::path file, dir, out;
  RunOptions runs;
  bool dry_run = false;
};

/// As people write it: text without quotes.
std::string plain(const json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }
/// "learning_rate" of "train.learning_rate".
std::string own_name(const std::string& path) { return path.substr(path.find('.') + 1); }
std::string trial_name(std::size_t trial) { return "t" + formatted("%03.0f", static_cast<double>(trial + 1)); }

/// What a trial has come to, over its seeds.
struct TrialStanding {
  std::size_t trial = 0;
  std::vector<json> results;  ///< of the last round it was in
  std::string failure;        ///< of the first seed that failed
  bool open = false;          ///< a run of it did not end
  int round = 0, epochs = 0;
  Spread valid;

  bool before(const TrialStanding& other) const {
    const bool well = failure.empty() && !open, others = other.failure.empty() && !other.open;
    if (well != others) return well;
    if (round != other.round) return round > other.round;
    if (valid.mean != other.valid.mean) return valid.mean > other.valid.mean;
    return trial < other.trial;
  }
};

class Sweep {
 public:
  Sweep(const SweepArguments& args, SweepPlan plan) : args_(args), plan_(std::move(plan)) {}

  int run() {
    nlohmann::ordered_json record = {{"format", "rearm-sweep-1"}, {"data", nullptr}, {"asked", plan_.asked_for}};
    std::string features_are;
    {
      const Dataset data = load_dataset(args_.dir);  // not kept: the runs have their own
      record["data"] = data_digests(data);
      features_are = data.features_are;
    }
    return run(record, features_are);
  }
  TextTable planned() const {
    TextTable table{columns(false), {}};
    for (std::size_t t = 0; t < plan_.trials.size(); ++t) table.rows.push_back(cells(t));
    return table;
  }
  const SweepPlan& plan() const { return plan_; }

 private:
  int run(const nlohmann::ordered_json& record, const std::string& features_are) {
    const RunLock lock(args_.out);
    require_same_experiment(args_.out, "sweep.json", record);
    if (args_.runs.retry) forget_failures(args_.out);
    for (std::size_t t = 0; t < plan_.trials.size(); ++t) {
      fs::create_directories(args_.out / "settings");
      const fs::path settings = settings_file(t);
      if (!fs::exists(settings)) write_text(settings, plan_.trials[t].settings);
    }
    catch_signals("ending the runs, which can go on later");
    std::vector<TrialStanding> standings(plan_.trials.size());
    std::vector<std::size_t> alive(plan_.trials.size());
    std::iota(alive.begin(), alive.end(), std::size_t{0});
    for (std::size_t t = 0; t < standings.size(); ++t) standings[t].trial = t;
    const std::vector<HalvingRound> rounds = rounds_of();
    for (std::size_t round = 0; round < rounds.size(); ++round) {
      std::ranges::sort(alive, [&](std::size_t a, std::size_t b) { return standings[a].before(standings[b]); });
      alive.resize(std::min(alive.size(), static_cast<std::size_t>(rounds[round].n)));
      std::erase_if(alive, [&](std::size_t t) { return !standings[t].failure.empty() || standings[t].open; });
      std::ranges::sort(alive);
      run_round(static_cast<int>(round), rounds[round].epochs, alive, standings);
      if (interrupted()) {
        tell_how_to_go_on();
        return 0;
      }
    }
    return conclude(std::move(standings), features_are);
  }

  fs::path settings_file(std::size_t trial) const { return args_.out / "settings" / (trial_name(trial) + ".toml"); }

  std::vector<HalvingRound> rounds_of() const {
    const auto n = static_cast<Index>(plan_.trials.size());
    if (plan_.method != SweepPlan::Method::halving) return {{n, 0}};
    int epochs = 0;
    for (const Trial& trial : plan_.trials) epochs = std::max(epochs, trial.epochs);
    return halving_rounds(n, plan_.min_epochs, epochs, plan_.factor);
  }

  void run_round(int round, int epochs, const std::vector<std::size_t>& alive,
                 std::vector<TrialStanding>& standings) const {
    std::vector<ChildRun> runs;
    for (const std::size_t t : alive)
      for (const std::uint64_t seed : plan_.seeds) {
        const Trial& trial = plan_.trials[t];
        ChildRun& run = runs.emplace_back(
            child_run(args_.out, trial_name(t), trial.model, args_.dir, settings_file(t), seed, args_.runs));
        run.epochs = epochs == 0 ? 0 : std::min(epochs, trial.epochs);
        if (trial.preset) run.arguments.insert(run.arguments.end(), {"--preset", plan_.preset});
        if (run.epochs > 0) run.arguments.insert(run.arguments.end(), {"--epochs", std::to_string(run.epochs)});
      }
    if (epochs > 0) std::fprintf(stderr, "round %d: %zu settings up to epoch %d\n", round + 1, alive.size(), epochs);
    const auto outcomes = run_children(runs, args_.runs.budget(), [&](const json& result) {
      return plan_.metric + ' ' + formatted("%.4f", result.at("valid").at(plan_.metric).get<double>());
    });
    std::size_t next = 0;
    for (const std::size_t t : alive) {
      TrialStanding& s = standings[t];
      s.results.clear();
      s.round = round;
      s.epochs = runs[next].epochs;
      std::vector<double> values;
      for (std::size_t i = 0; i < plan_.seeds.size(); ++i, ++next) {
        const RunOutcome& outcome = outcomes[next];
        if (outcome.state == RunOutcome::State::failed && s.failure.empty()) s.failure = outcome.failure;
        if (outcome.state == RunOutcome::State::open) s.open = true;
        if (outcome.state != RunOutcome::State::finished) continue;
        s.results.push_back(outcome.result);
        values.push_back(outcome.result.at("valid").at(plan_.metric).get<double>());
      }
      s.valid = spread(values);
    }
  }

  std::vector<std::string> columns(bool with_results) const {
    std::vector<std::string> out = {"trial", "model"};
    for (const std::string& path : plan_.varied) out.push_back(own_name(path));
    if (with_results) {
      out.insert(out.begin(), "place");
      out.insert(out.end(), {plan_.metric + " (valid)", "seeds", "best epochs", "epochs"});
    }
    return out;
  }
  std::vector<std::string> cells(std::size_t t) const {
    const Trial& trial = plan_.trials[t];
    std::vector<std::string> out = {trial_name(t), trial.model};
    for (const std::string& path : plan_.varied) {
      const auto found = std::ranges::find(trial.chosen, path, [](const auto& entry) { return entry.first; });
      out.push_back(found == trial.chosen.end() ? "-" : plain(found->second));
    }
    return out;
  }

  int conclude(std::vector<TrialStanding> standings, const std::string& features_are) const {
    std::ranges::sort(standings, [](const TrialStanding& a, const TrialStanding& b) { return a.before(b); });
    TextTable table{columns(true), {}};
    std::string failures;
    std::size_t n_open = 0;
    for (std::size_t rank = 0; rank < standings.size(); ++rank) {
      const TrialStanding& s = standings[rank];
      std::vector<std::string> row = cells(s.trial);
      const bool failed = !s.failure.empty();
      row.insert(row.begin(), failed || s.open ? "-" : std::to_string(rank + 1));
      row.push_back(s.results.empty() ? "-" : with_spread(s.valid, 4));
      row.push_back(message(s.results.size(), '/', plan_.seeds.size()));
      std::string best, reached;
      for (const json& result : s.results) {
        best += (best.empty() ? "" : " ") + result.at("best_epoch").dump();
        reached += (reached.empty() ? "" : " ") + result.at("epochs").dump();
      }
      row.push_back(best.empty() ? "-" : best);
      row.push_back(reached.empty() ? "-" : reached);
      table.rows.push_back(std::move(row));
      n_open += s.open ? 1 : 0;
      if (failed) failures += message(trial_name(s.trial), " failed: ", s.failure, '\n');
      if (s.open) failures += message(trial_name(s.trial), " has not ended; run the sweep again to go on\n");
    }
    const TrialStanding& best = standings.front();
    const bool any = best.failure.empty() && !best.open;
    std::string conclusion = failures;
    if (any) {
      conclusion +=
          message("best: ", trial_name(best.trial), ", chosen by ", plan_.metric, " on validation, mean over ",
                  best.results.size(), " seed", best.results.size() == 1 ? "" : "s",
                  "; its settings: ", (args_.out / "best.toml").string(), '\n');
      conclusion += "its test metrics, which chose nothing:";
      for (const auto& [name, value] : best.results.front().at("test").items()) {
        std::vector<double> values;
        for (const json& result : best.results) values.push_back(result.at("test").at(name).get<double>());
        conclusion += message(' ', name, ' ', with_spread(spread(values), 4), ';');
      }
      conclusion.back() = '\n';
      conclusion += message("features: ", features_are,
                            "; negatives: ", best.results.front().at("negatives").get<std::string>(), '\n');
      const fs::path run = args_.out / "runs" / (trial_name(best.trial) + "-s" + std::to_string(plan_.seeds.front()));
      write_text(args_.out / "best.toml",
                 message("# The best of the sweep by ", plan_.metric, " on validation: ", with_spread(best.valid, 4),
                         " over ", best.results.size(), " seed(s); the seed below is the first.\n",
                         rearm::detail::read_text(run / "config.toml")));
    }
    const bool concluded_before = fs::exists(args_.out / "best.json");
    const std::size_t n_models = n_open > 0 ? 0 : write_best_of_models(standings);
    for (const std::string& note : plan_.notes) conclusion += "note: " + note + '\n';
    const std::string text = table.text() + '\n' + conclusion;
    write_text(args_.out / "table.txt", text);
    write_text(args_.out / "table.csv", table.csv());
    std::string lines = conclusion;
    for (std::size_t at = 0; (at = lines.find('\n', at)) != std::string::npos; at += 2) lines.insert(at, 1, '\n');
    write_text(args_.out / "table.md", table.markdown() + '\n' + lines);
    std::fputs(text.c_str(), stdout);
    if (n_models > 1 && !concluded_before)
      std::fprintf(stderr,
                   "a table of the models' test metrics, each with its best settings, and tests:\n  %s compare %s %s\n",
                   called_as().c_str(), shell_word(args_.dir.string()).c_str(), shell_word(args_.out.string()).c_str());
    if (!any) throw FailedLate(message("no trial ended well; the first that failed: ", best.failure));
    return n_open > 0 ? 1 : 0;
  }

  /// best.json: the runs of each model's best settings, of which `rearm compare` makes a table. Returns how many models
  /// have any.
  std::size_t write_best_of_models(const std::vector<TrialStanding>& standings) const {
    nlohmann::ordered_json models = nlohmann::ordered_json::object();
    for (const TrialStanding& s : standings) {
      const std::string& model = plan_.trials[s.trial].model;
      if (!s.failure.empty() || models.contains(model)) continue;
      for (const std::uint64_t seed : plan_.seeds)
        models[model].push_back(message("runs/", trial_name(s.trial), "-s", seed));
    }
    const nlohmann::ordered_json best = {{"metric", plan_.metric}, {"models", models}};
    write_text(args_.out / "best.json", best.dump(2) + '\n');
    return models.size();
  }

  SweepArguments args_;
  SweepPlan plan_;
};

int sweep(SweepArguments args) {
  if (args.out.empty()) args.out = fs::path("out") / slug(args.file.stem().string());
  args.runs.choose();
  Sweep sweep(args, read_sweep(args.file));
  if (args.dry_run) {
    std::fputs(sweep.planned().text().c_str(), stdout);
    for (const std::string& note : sweep.plan().notes) std::printf("note: %s\n", note.c_str());
    return 0;
  }
  return rearm::detail::with_io_errors([&] { return sweep.run(); });
}

}  // namespace

Command add_sweep(CLI::App& app) {
  const auto args = std::make_shared<SweepArguments>();
  app.add_option("FILE", args->file, "a settings file whose values may be lists and ranges, with a table [sweep]")
      ->required();
  app.add_option("DIR", args->dir, "folder with the data set")->required();
  app.add_option("--out", args->out, "folder of the sweep (out/<name of FILE>); a sweep in it goes on");
  add_run_options(app, args->runs);
  app.add_flag("--dry-run", args->dry_run, "print the settings that would be tried, and end");
  app.footer(examples("Example", {"rearm sweep sweep.toml data/baby --jobs 2 --memory 8 --out out/sweep"}));
  return [=] { return sweep(*args); };
}

}  // namespace rearm::cli
