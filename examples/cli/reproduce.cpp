// rearm reproduce: the paper's Tables 2 and 3, run here, beside the published figures, and its Figures 3 to 5.
#include "chart.hpp"
#include "child_runs.hpp"
#include "commands.hpp"
#include "figures.hpp"
#include "program.hpp"
#include "progress.hpp"
#include "ranking.hpp"
#include "reproduce_rows.hpp"
#include "score_cells.hpp"
#include "seed_metrics.hpp"
#include "settings_file.hpp"
#include "text_table.hpp"

#include <rearm/data/digest.hpp>
#include <rearm/data/load_dataset.hpp>
#include <rearm/eval/significance.hpp>
#include <rearm/run/folder.hpp>
#include <rearm/run/model_file.hpp>
#include <rearm/run/result.hpp>
#include <rearm/run/settings.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using rearm::detail::message;

struct ReproduceArguments : WantedRows {
  fs::path out;
  std::vector<std::uint64_t> seeds = {2025, 2026, 2027};
  std::vector<std::string> users, items;
  RunOptions runs;
};

class Reproduction {
 public:
  explicit Reproduction(ReproduceArguments args) : args_(std::move(args)) {}

  int run() {
    {
      const Dataset data = load_dataset(args_.dir);
      name_ = data.name;
      features_are_ = data.features_are;
      if (args_.of.empty()) args_.of = data_in(slug(data.name));
      rows_ = wanted_rows(
          args_, data);  // further rows and seeds may come to those that are there, and other tables and figures
      record_ = {{"format", "rearm-reproduce-2"},
                 {"data", data_digests(data)},
                 {"asked", {{"as", args_.of}, {"protocol", args_.protocol}}}};
      if (args_.table == "fig5") cells_ = choose_cells(data, args_.dir, args_.users, args_.items);
    }
    const RunLock lock(args_.out);
    require_same_settings();
    require_same_experiment(args_.out, "reproduce.json", record_);
    if (args_.runs.retry) forget_failures(args_.out);
    fs::create_directories(args_.out / "settings");
    catch_signals("ending the runs, which can go on later");
    const std::vector<ChildRun> runs = children();
    const auto outcomes = run_children(runs, args_.runs.budget(), [&](const json& result) {
      return message("valid ", watch, ' ', rounded(result.at("valid").at(watch).get<double>()));
    });
    if (interrupted()) {
      tell_how_to_go_on();
      return 0;
    }
    return conclude(runs, outcomes);
  }

 private:
  static constexpr const char* watch = reproduce_watch;

  std::string data_in(const std::string& slug_of_name) const {
    for (const char* data : {"baby", "sports", "clothing"})
      if (slug_of_name.find(data) != std::string::npos) return data;
    throw ConfigError(message(args_.dir.string(), ": '", name_,
                              "' is none of the paper's data sets; say whose settings and figures are meant with --as "
                              "baby, sports or clothing"));
  }
  std::string settings_text(const TableRow& row) const {
    std::string text = message("model.name = \"", row.model, "\"\n");
    for (const auto& [path, value] : row.settings) text += message(path, " = ", toml_text(value), '\n');
    return text;
  }
  fs::path settings_file(const TableRow& row) const { return args_.out / "settings" / (row.run + ".toml"); }
  /// Runs that are there were made with the settings that are asked for.
  void require_same_settings() const {
    for (const TableRow& row : rows_) {
      const fs::path file = settings_file(row);
      if (!fs::exists(file)) continue;
      std::string differ;
      const auto lines = [](const std::string& text) {
        std::set<std::string> out;
        std::istringstream in(text);
        for (std::string line; std::getline(in, line);) out.insert(line);
        return out;
      };
      const auto theirs = lines(rearm::detail::read_text(file)), ours = lines(settings_text(row));
      for (const std::string& line : theirs)
        if (!ours.contains(line)) differ += " (was " + line + ")";
      for (const std::string& line : ours)
        if (!theirs.contains(line)) differ += " (now " + line + ")";
      if (!differ.empty())
        throw ConfigError(message(args_.out.string(), ": holds runs of ", row.name, " with other settings:", differ,
                                  "; choose another --out, or go on with the same settings"));
    }
  }

  static std::string run_name(const TableRow& row, std::uint64_t seed) { return message(row.run, "-s", seed); }
  fs::path model_of(const TableRow& row, std::uint64_t seed) const {
    return args_.out / "runs" / run_name(row, seed) / "model.safetensors";
  }
  std::vector<ChildRun> children() const {
    std::vector<ChildRun> runs;
    std::set<std::string> there;
    for (const TableRow& row : rows_) {
      if (!there.insert(row.run).second) continue;
      const fs::path settings = settings_file(row);
      write_text(settings, settings_text(row));
      for (const std::uint64_t seed : args_.seeds) {
        ChildRun& run =
            runs.emplace_back(child_run(args_.out, row.run, row.model, args_.dir, settings, seed, args_.runs));
        if (row.preset()) run.arguments.insert(run.arguments.end(), {"--preset", args_.of});
      }
    }
    return runs;
  }

  /// Per user with something in `relevant`, the mean over the seeds.
  UserMetrics users_of(Context<Cpu>& ctx, const Adjacency& relevant, std::size_t row,
                       const std::vector<std::string>& names) const {
    const std::vector<Metric> metrics = {Metric::recall, Metric::ndcg};
    const std::vector<Index> cutoffs = {10, 20};
    std::vector<UserMetrics> seeds;
    for (const std::uint64_t seed : args_.seeds)
      seeds.push_back(metrics_of_users(ctx, load_model<Cpu>(model_of(rows_[row], seed)), relevant, cutoffs, metrics));
    return mean_over_seeds(seeds, names);
  }

  /// What the runs of a row have come to.
  struct RowResult {
    std::map<std::string, std::vector<double>> test;  ///< a value a seed
    std::vector<double> valid, epochs;
  };

  int conclude(const std::vector<ChildRun>& runs, const std::vector<RunOutcome>& outcomes) const {
    std::vector<std::string> names;  // of metrics, as the table has them
    for (const char* name : {"recall@10", "recall@20", "ndcg@10", "ndcg@20"})
      if (args_.figure() ? std::string_view(name).ends_with("@20") : rows_.front().published.contains(name))
        names.emplace_back(name);
    if (args_.table == "fig3") names = {"recall@20"};
    std::string failures;
    std::map<std::string, const RunOutcome*> by_name;
    for (std::size_t i = 0; i < runs.size(); ++i) {
      by_name[runs[i].name] = &outcomes[i];
      if (outcomes[i].state != RunOutcome::State::finished)
        failures += message(runs[i].name,
                            outcomes[i].failure.empty() ? " has not ended" : " failed: ", outcomes[i].failure, '\n');
    }
    std::vector<RowResult> results;
    for (const TableRow& row : rows_) {
      RowResult& result = results.emplace_back();
      for (const std::uint64_t seed : args_.seeds) {
        const RunOutcome& outcome = *by_name.at(run_name(row, seed));
        if (outcome.state != RunOutcome::State::finished) continue;
        for (const std::string& name : names)
          if (outcome.result.at("test").contains(name))
            result.test[name].push_back(outcome.result["test"][name].get<double>());
        result.valid.push_back(outcome.result.at("valid").at(watch).get<double>());
        result.epochs.push_back(outcome.result.at("epochs").get<double>());
      }
    }
    const TextTable table = table_of(results, names);
    std::vector<std::string> below = conditions();
    if (args_.table == "fig5") below.push_back(cells_drawn());
    if (args_.table == "fig3") {
      const auto lines = best_of_curves(results);
      below.insert(below.end(), lines.begin(), lines.end());
    } else if (args_.table != "fig5") {
      std::vector<std::pair<double, std::size_t>> by_valid;  // rows whose every run is there
      for (std::size_t r = 0; r < rows_.size(); ++r)
        if (results[r].valid.size() == args_.seeds.size()) by_valid.emplace_back(spread(results[r].valid).mean, r);
      std::ranges::sort(by_valid, std::greater<>());
      if (by_valid.size() >= 2) below.push_back(compared(by_valid[0].second, by_valid[1].second, names));
    }
    std::string out = table.text() + '\n', markdown = table.markdown() + '\n';
    std::vector<std::string> drawn;
    if (args_.table == "fig3") drawn.push_back(draw_curves(results));
    if (args_.table == "fig4") drawn.push_back(draw_bars(results, names));
    if (args_.table == "fig5" && failures.empty()) {
      const TextTable groups = draw_cells(drawn);
      out += groups.text() + '\n';
      markdown += groups.markdown() + '\n';
    }
    for (const std::string& line : below) {
      out += line + '\n';
      markdown += line + "\n\n";
    }
    if (!drawn.empty()) markdown += message("![", args_.table, "](", args_.table, ".svg)\n\n");
    out += failures;
    markdown += failures;
    write_text(args_.out / (args_.table + ".txt"), out);
    write_text(args_.out / (args_.table + ".csv"), table.csv());
    write_text(args_.out / (args_.table + ".md"), markdown);
    for (const std::string& line : drawn) out += line + '\n';
    std::fputs(out.c_str(), stdout);
    return failures.empty() ? 0 : 1;
  }

  TextTable table_of(const std::vector<RowResult>& results, const std::vector<std::string>& names) const {
    TextTable table{{"row", "settings", "seeds", "epochs"}, {}};
    if (args_.table == "fig3") table.columns = {"setting", "value", "settings", "seeds", "epochs"};
    if (args_.figure()) table.columns.push_back(message("valid ", watch));
    for (const std::string& name : names) {
      table.columns.push_back("test " + name);
      if (!args_.figure()) table.columns.push_back("published " + name);
    }
    const auto shown = [](const std::vector<double>& values, int decimals) {
      return values.empty() ? "-" : with_spread(spread(values), decimals);
    };
    for (std::size_t r = 0; r < rows_.size(); ++r) {
      const TableRow& row = rows_[r];
      const RowResult& result = results[r];
      std::vector<std::string> cells = {row.name};
      if (!row.curve.empty()) cells = {row.curve, row.name.substr(row.curve.size() + 1)};
      cells.insert(cells.end(),
                   {row.settings_from, message(result.valid.size(), '/', args_.seeds.size()), shown(result.epochs, 0)});
      if (args_.figure()) cells.push_back(shown(result.valid, 4));
      for (const std::string& name : names) {
        const auto values = result.test.find(name);
        cells.push_back(values == result.test.end() ? "-" : shown(values->second, 4));
        if (args_.figure()) continue;
        const auto published = row.published.find(name);
        cells.push_back(published == row.published.end() ? "-" : rounded(published->second));
      }
      table.rows.push_back(std::move(cells));
    }
    return table;
  }

  /// What the numbers hold for; printed below them, and in pictures.
  std::vector<std::string> conditions() const {
    std::vector<std::string> out = {
        message("Data: ", name_, "; features: ", features_are_,
                features_are_ == "original" ? "."
                : args_.figure()
                    ? "; the paper's figure is of original features, so this is not the same experiment."
                    : "; the published figures are of original features, so these are not the same experiment."),
        message("Negatives: ", args_.protocol,
                args_.protocol == "exclude_all" ? message(" (", leaking_negatives, ").") : "."),
        message("Each run's epoch is the best by ", watch, " on validation; mean ± deviation over seeds ", seeds_text(),
                ".")};
    if (slug(name_).find(args_.of) == std::string::npos)
      out.push_back(message("Settings", args_.figure() ? "" : " and published figures", " are those of ", args_.of,
                            ", which this data set is not by its name."));
    if (!args_.config.empty())
      out.push_back("Settings besides those named in the table: " + rearm::detail::read_text(args_.config));
    for (std::string& line : out) std::ranges::replace(line, '\n', ' ');
    return out;
  }

  /// The rows of a curve, and of those with a result the best on validation.
  std::vector<std::size_t> rows_of(const std::string& curve) const {
    std::vector<std::size_t> out;
    for (std::size_t r = 0; r < rows_.size(); ++r)
      if (rows_[r].curve == curve) out.push_back(r);
    return out;
  }
  std::optional<std::size_t> best_on_validation(const std::vector<std::size_t>& rows,
                                                const std::vector<RowResult>& results) const {
    std::optional<std::size_t> best;
    for (const std::size_t r : rows)
      if (results[r].valid.size() == args_.seeds.size() &&
          (!best || spread(results[r].valid).mean > spread(results[*best].valid).mean))
        best = r;
    return best;
  }
  std::vector<std::string> best_of_curves(const std::vector<RowResult>& results) const {
    std::vector<std::string> out;
    for (const VariedSetting& varied : varied_settings())
      if (const auto best = best_on_validation(rows_of(varied.name), results))
        out.push_back(message("Best on validation: ", rows_[*best].name, ", valid ", watch, ' ',
                              with_spread(spread(results[*best].valid), 4), ", test ",
                              with_spread(spread(results[*best].test.at(watch)), 4), "; test chose nothing."));
    return out;
  }

  std::string draw_curves(const std::vector<RowResult>& results) const {
    std::vector<Panel> panels;
    for (const VariedSetting& varied : varied_settings()) {
      const std::vector<std::size_t> rows = rows_of(varied.name);
      const auto best = best_on_validation(rows, results);
      Curve test{"test", 0, {}}, valid{"validation", curve_colors.size() + 1, {}};
      for (const std::size_t r : rows) {
        if (results[r].valid.empty()) continue;
        const auto add = [&](Curve& curve, const std::vector<double>& values) {
          const Spread of = spread(values);
          if (best == r) curve.marked = curve.points.size();
          curve.points.emplace_back(rows_[r].value, of.mean);
          return of.deviation;
        };
        test.deviations.push_back(add(test, results[r].test.at(watch)));
        add(valid, results[r].valid);
      }
      panels.push_back({curves_svg(varied.title, {test, valid}, {varied.name, varied.values[0].is_number_integer()}),
                        Plot::width, Plot::height});
    }
    std::vector<std::string> caption = {message(
        watch,
        ". Blue: test, mean ± deviation over the seeds; orange, dashed: validation, mean. Dots: the value that is "
        "best on validation.")};
    for (std::string& line : conditions()) caption.push_back(std::move(line));
    return write_picture(args_.out / "fig3.svg", picture(panels, 2, caption));
  }

  std::string draw_bars(const std::vector<RowResult>& results, const std::vector<std::string>& names) const {
    std::vector<Panel> panels;
    for (const std::string& name : names) {
      std::vector<Bar> bars;
      for (std::size_t r = 0; r < rows_.size(); ++r) {
        if (!results[r].test.contains(name)) continue;
        const Spread of = spread(results[r].test.at(name));
        bars.push_back({rows_[r].name, of.mean, of.deviation});
      }
      panels.push_back({bars_svg(message(name_, ": test ", name), bars), Plot::width, Plot::height});
    }
    return write_picture(args_.out / "fig4.svg", picture(panels, 2, conditions()));
  }

  /// Of Figure 5; adds what is there to `drawn`, and returns the cells by whether they were observed.
  TextTable draw_cells(std::vector<std::string>& drawn) const {
    std::vector<std::pair<fs::path, fs::path>> models;
    for (const std::uint64_t seed : args_.seeds)
      models.emplace_back(model_of(rows_[0], seed), model_of(rows_[1], seed));
    std::vector<std::string> caption = {cells_drawn()};
    for (std::string& line : conditions()) caption.push_back(std::move(line));
    return write_cells(cells_, models, args_.out, caption, drawn);
  }
  std::string cells_drawn() const {
    return args_.users.empty()
               ? "Users and items: drawn along pairs of train and test from a user, by a fixed seed; no "
                 "model chose them."
               : "Users and items: as asked for.";
  }
  std::string seeds_text() const {
    std::string out;
    for (const std::uint64_t seed : args_.seeds) out += (out.empty() ? "" : ", ") + std::to_string(seed);
    return out;
  }

  std::string compared(std::size_t a, std::size_t b, const std::vector<std::string>& names) const {
    const Dataset data = load_dataset(args_.dir, {.read_knn = false});
    Context<Cpu> ctx({.threads = args_.runs.threads});
    // The users whom the runs counted.
    const auto counts_cold = [&](std::size_t row) {
      const auto found = rows_[row].settings.find("train.count_cold_users");
      return found == rows_[row].settings.end() ? TrainConfig().count_cold_users : found->second.get<bool>();
    };
    const Adjacency relevant = counts_cold(a) && counts_cold(b)
                                   ? items_by_user(data.test, data.n_users)
                                   : items_by_warm_user(data.test, items_by_user(data.train, data.n_users));
    const UserMetrics ours = users_of(ctx, relevant, a, names), theirs = users_of(ctx, relevant, b, names);
    Matrix<double> differences(ours.values.rows(), ours.values.cols());
    for (Index i = 0; i < differences.size(); ++i)
      differences.data()[i] = ours.values.data()[i] - theirs.values.data()[i];
    const std::vector<PairedTest> tests = paired_tests(differences.view());
    std::string out = message("The two best on validation, ", rows_[a].name, " and ", rows_[b].name, ", over ",
                              ours.users.size(), " users of test, each user's mean over the seeds:");
    for (std::size_t c = 0; c < names.size(); ++c) {
      char text[160];
      std::snprintf(text, sizeof text,
                    " %s %+.4f [%.4f, %.4f], p = %.3g (paired bootstrap) and %.3g (Wilcoxon), by Holm;",
                    names[c].c_str(), tests[c].bootstrap.mean, tests[c].bootstrap.low, tests[c].bootstrap.high,
                    tests[c].bootstrap_holm, tests[c].ranks_holm);
      out += text;
    }
    out.back() = '.';
    return out;
  }

  ReproduceArguments args_;
  std::string name_, features_are_;
  std::vector<TableRow> rows_;
  ScoreCells cells_;  ///< of Figure 5
  nlohmann::ordered_json record_;
};

int reproduce(ReproduceArguments args) {
  if (args.out.empty()) args.out = fs::path("out") / args.table;
  if (args.table != "fig5" && !(args.users.empty() && args.items.empty()))
    throw ConfigError("--users, --items: are of fig5 alone");
  if (args.seeds.empty()) throw ConfigError("--seeds: name at least one");
  if (std::set<std::uint64_t>(args.seeds.begin(), args.seeds.end()).size() != args.seeds.size())
    throw ConfigError("--seeds: names a seed twice");
  args.runs.choose();
  return rearm::detail::with_io_errors([&] { return Reproduction(std::move(args)).run(); });
}

}  // namespace

Command add_reproduce(CLI::App& app) {
  const auto args = std::make_shared<ReproduceArguments>();
  args->quality = REARM_QUALITY_DIR;
  app.add_option(
         "WHAT", args->table,
         "table2: all models; table3: REARM and its parts left out; fig3: curves over settings; fig4: each modality "
         "alone; fig5: what refining changes for some users and items")
      ->required()
      ->check(CLI::IsMember({"table2", "table3", "fig3", "fig4", "fig5"}));
  app.add_option("DIR", args->dir, "folder with the data set")->required();
  app.add_option("--out", args->out,
                 "folder of the runs, tables and figures (out/<WHAT>); what is in it is not run again");
  app.add_option("--as", args->of,
                 "whose settings and published figures: baby, sports or clothing (by the data set's name)")
      ->check(CLI::IsMember({"baby", "sports", "clothing"}));
  app.add_option("--seeds", args->seeds, "seeds (2025,2026,2027)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("A,B,...");
  app.add_option("--rows", args->rows, "rows of the table by name (all); of fig3 also settings: rank, users.co_weight")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("A,B,...");
  const auto cells = [&](const char* flag, std::vector<std::string>& ids, const char* help) {
    app.add_option(flag, ids, help)->delimiter(',')->allow_extra_args(false)->type_name("A,B,...");
  };
  cells("--users", args->users, "users of fig5 by id, with --items (12 that share items, drawn)");
  cells("--items", args->items, "items of fig5 by id");
  app.add_option("--protocol", args->protocol,
                 "negatives outside train alone, or outside all splits as the authors' program")
      ->check(CLI::IsMember({"exclude_train", "exclude_all"}))
      ->capture_default_str();
  app.add_option("--config", args->config,
                 "settings for every row, as far as its model has them (epochs, features, ...)");
  app.add_option("--quality", args->quality,
                 "folder with published/<data>.toml and <data>/<model>.toml (benchmarks/quality)");
  add_run_options(app, args->runs);
  app.footer(examples("Examples", {"rearm reproduce table3 data/baby --jobs 2 --out out/paper",
                                   "rearm reproduce fig4 data/baby --jobs 2 --out out/paper"}));
  return [=] { return reproduce(*args); };
}

}  // namespace rearm::cli
