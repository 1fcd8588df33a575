// rearm reproduce: the paper's Tables 2 and 3, run here, beside the published figures.
#include "child_runs.hpp"
#include "commands.hpp"
#include "program.hpp"
#include "progress.hpp"
#include "ranking.hpp"
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
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace rearm::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using rearm::detail::message;

struct ReproduceArguments {
  std::string table, of, protocol = "exclude_train";
  fs::path dir, out, config;
  fs::path quality = REARM_QUALITY_DIR;
  std::vector<std::uint64_t> seeds = {2025, 2026, 2027};
  std::vector<std::string> rows;
  RunOptions runs;
};

/// A row of a table: a model with settings.
struct TableRow {
  std::string name, model, settings_from;
  std::map<std::string, json> settings;
  std::map<std::string, double> published;
};

/// What each row of Table 3 leaves out of REARM.
const std::map<std::string, std::map<std::string, json>>& ablations() {
  static const std::map<std::string, std::map<std::string, json>> all = {
      {"REARM", {}},
      {"w/o uu", {{"model.users.use", false}}},
      {"w/o ii", {{"model.items.use", false}}},
      {"w/o co", {{"model.use_co", false}}},
      {"w/o sim", {{"model.use_sim", false}}},
      {"w/o hom", {{"model.users.use", false}, {"model.items.use", false}}},
      {"w/o meta", {{"model.use_meta", false}}},
      {"w/o ort", {{"model.use_orthogonal", false}}},
      {"w/o ref", {{"model.use_meta", false}, {"model.use_orthogonal", false}}}};
  return all;
}

/// The rows of a table of a file of published figures, in its order.
std::vector<TableRow> read_published(const fs::path& file, const std::string& table) {
  std::vector<TableRow> out;
  for (const auto& [name, place, value] : read_toml(file)) {
    if (!name.starts_with(table + '.')) continue;
    const std::size_t dot = name.rfind('.');
    const std::string row = name.substr(table.size() + 1, dot - table.size() - 1);
    if (!value.is_number()) throw ConfigError(message(place, ": ", name, ": must be a number"));
    if (out.empty() || out.back().name != row) {
      TableRow& added = out.emplace_back();
      added.name = row;
      added.model = table == "table3" ? "rearm" : row;
      if (table == "table3") {
        const auto without = ablations().find(row);
        if (without == ablations().end()) throw ConfigError(message(place, ": ", table, " has no row '", row, "'"));
        added.settings = without->second;
        for (const char* part : {"users.use", "items.use", "use_co", "use_sim", "use_meta", "use_orthogonal"})
          added.settings.emplace(message("model.", part), true);
      }
    }
    out.back().published[name.substr(dot + 1)] = value.get<double>();
  }
  if (out.empty()) throw ConfigError(message(file.string(), ": has no [", table, ".…]"));
  return out;
}

/// Sets what a settings file says, as far as the model has it; returns how many of its settings that are.
std::size_t take_settings(const fs::path& file, const ModelEntry& entry, std::map<std::string, json>& to) {
  std::size_t n = 0;
  for (const auto& [name, place, value] : read_toml(file)) {
    if (name == "model.name") continue;
    const std::string path = entry.settings().path(name);
    if (path.empty()) continue;
    try {
      entry.settings().set(path, value);
    } catch (const ConfigError& e) {
      throw ConfigError(message(place, ": ", e.what()));
    }
    to[path] = value;
    ++n;
  }
  return n;
}

class Reproduction {
 public:
  explicit Reproduction(ReproduceArguments args) : args_(std::move(args)) {}

  int run() {
    {
      const Dataset data = load_dataset(args_.dir);
      name_ = data.name;
      features_are_ = data.features_are;
      if (args_.of.empty()) args_.of = data_in(slug(data.name));
      read_rows();
      record_ = {{"format", "rearm-reproduce-1"}, {"data", data_digests(data)}, {"asked", asked()}};
      choose_rows();  // further rows and seeds may come to those that are there
    }
    const RunLock lock(args_.out);
    require_same_experiment(args_.out, args_.table + ".json", record_);
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
  static constexpr const char* watch = "recall@20";

  std::string data_in(const std::string& slug_of_name) const {
    for (const char* data : {"baby", "sports", "clothing"})
      if (slug_of_name.find(data) != std::string::npos) return data;
    throw ConfigError(message(args_.dir.string(), ": '", name_,
                              "' is none of the paper's data sets; say whose settings and figures are meant with --as "
                              "baby, sports or clothing"));
  }
  bool preset(const TableRow& row) const { return row.model == "rearm"; }

  void read_rows() {
    const fs::path published = args_.quality / "published" / (args_.of + ".toml");
    if (!fs::exists(published))
      throw ConfigError(message(published.string(), ": is not there; --quality names the folder benchmarks/quality"));
    rows_ = read_published(published, args_.table);
    std::size_t used = 0;
    for (TableRow& row : rows_) {
      const auto entry = make_entry(row.model);
      std::map<std::string, json> settings;
      const fs::path own = args_.quality / args_.of / (row.model + ".toml");
      if (preset(row))
        row.settings_from = "preset " + args_.of;
      else if (fs::exists(own))
        row.settings_from = "quality/" + args_.of + "/" + row.model + ".toml";
      else
        row.settings_from = "the model's defaults";
      if (!preset(row) && fs::exists(own)) take_settings(own, *entry, settings);
      if (!args_.config.empty()) {
        std::map<std::string, json> more;
        used += take_settings(args_.config, *entry, more);
        for (const auto& [path, flag] :
             {std::pair{"train.negatives", "--protocol"}, std::pair{"train.seed", "--seeds"}})
          if (more.contains(path)) throw ConfigError(message(args_.config.string(), ": ", path, " is said by ", flag));
        for (const auto& [name, value] : more) settings[name] = value;
      }
      settings["train.negatives"] = args_.protocol;
      settings["train.watch"] = watch;
      for (const auto& [path, value] : row.settings) settings[path] = value;
      row.settings = std::move(settings);
    }
    if (!args_.config.empty() && used == 0)
      throw ConfigError(message(args_.config.string(), ": has no setting of any of the models"));
  }
  void choose_rows() {
    if (args_.rows.empty()) return;
    for (const std::string& name : args_.rows)
      if (std::ranges::find(rows_, name, &TableRow::name) == rows_.end())
        throw ConfigError(message("--rows ", name, ": ", args_.table, " has no such row"));
    std::erase_if(rows_,
                  [&](const TableRow& row) { return std::ranges::find(args_.rows, row.name) == args_.rows.end(); });
  }

  json asked() const {
    json out = {{"as", args_.of}};
    for (const TableRow& row : rows_)
      out["settings of " + row.name] = {{"model", row.model}, {"settings", row.settings}};
    return out;
  }

  std::vector<ChildRun> children() const {
    std::vector<ChildRun> runs;
    for (const TableRow& row : rows_) {
      const std::string name = slug(row.name);
      const fs::path settings = args_.out / "settings" / (name + ".toml");
      std::string text = message("model.name = \"", row.model, "\"\n");
      for (const auto& [path, value] : row.settings) text += message(path, " = ", toml_text(value), '\n');
      write_text(settings, text);
      for (const std::uint64_t seed : args_.seeds) {
        ChildRun& run = runs.emplace_back(child_run(args_.out, name, row.model, args_.dir, settings, seed, args_.runs));
        if (preset(row)) run.arguments.insert(run.arguments.end(), {"--preset", args_.of});
      }
    }
    return runs;
  }

  /// Per user with something in `relevant`, the mean over the seeds.
  UserMetrics users_of(Context<Cpu>& ctx, const Adjacency& relevant, std::size_t row,
                       const std::vector<std::string>& names) const {
    UserMetrics mean;
    const std::vector<Metric> metrics = {Metric::recall, Metric::ndcg};
    const std::vector<Index> cutoffs = {10, 20};
    std::vector<Id> users;
    for (Index u = 0; u < relevant.rows(); ++u)
      if (relevant.degree(u) > 0) users.push_back(static_cast<Id>(u));
    for (const std::uint64_t seed : args_.seeds) {
      const auto model = load_model<Cpu>(args_.out / "runs" / (slug(rows_[row].name) + "-s" + std::to_string(seed)) /
                                         "model.safetensors");
      const TopK<float> lists = recommend<Cpu>(ctx, model.users.view(), users, model.items.view(), &model.seen, 20);
      const UserMetrics of_seed = user_metrics(lists.ids.view(), users, relevant, cutoffs, metrics);
      if (mean.users.empty()) {
        mean.users = of_seed.users;
        mean.names = names;
        mean.values = Matrix<double>(of_seed.values.rows(), static_cast<Index>(names.size()));
        std::fill_n(mean.values.data(), mean.values.size(), 0.0);
      }
      for (std::size_t c = 0; c < names.size(); ++c) {
        const auto from = std::ranges::find(of_seed.names, names[c]) - of_seed.names.begin();
        for (Index i = 0; i < of_seed.values.rows(); ++i)
          mean.values(i, static_cast<Index>(c)) += of_seed.values(i, from) / static_cast<double>(args_.seeds.size());
      }
    }
    return mean;
  }

  int conclude(const std::vector<ChildRun>& runs, const std::vector<RunOutcome>& outcomes) const {
    std::vector<std::string> names;  // of metrics, as the table has them
    for (const char* name : {"recall@10", "recall@20", "ndcg@10", "ndcg@20"})
      if (rows_.front().published.contains(name)) names.emplace_back(name);
    TextTable table{{"row", "settings", "seeds", "epochs"}, {}};
    for (const std::string& name : names) {
      table.columns.push_back("test " + name);
      table.columns.push_back("published " + name);
    }
    std::string failures;
    std::vector<std::pair<double, std::size_t>> by_valid;  // rows whose every run is there
    std::size_t next = 0;
    for (std::size_t r = 0; r < rows_.size(); ++r) {
      std::map<std::string, std::vector<double>> values;
      std::vector<double> valid, epochs;
      for (std::size_t s = 0; s < args_.seeds.size(); ++s, ++next) {
        const RunOutcome& outcome = outcomes[next];
        if (outcome.state != RunOutcome::State::finished) {
          failures +=
              message(runs[next].name, outcome.failure.empty() ? " has not ended" : " failed: ", outcome.failure, '\n');
          continue;
        }
        for (const std::string& name : names)
          if (outcome.result.at("test").contains(name))
            values[name].push_back(outcome.result["test"][name].get<double>());
        valid.push_back(outcome.result.at("valid").at(watch).get<double>());
        epochs.push_back(outcome.result.at("epochs").get<double>());
      }
      if (valid.size() == args_.seeds.size()) by_valid.emplace_back(spread(valid).mean, r);
      std::vector<std::string> cells = {rows_[r].name, rows_[r].settings_from,
                                        message(valid.size(), '/', args_.seeds.size()),
                                        epochs.empty() ? "-" : with_spread(spread(epochs), 0)};
      for (const std::string& name : names) {
        cells.push_back(values[name].empty() ? "-" : with_spread(spread(values[name]), 4));
        const auto published = rows_[r].published.find(name);
        cells.push_back(published == rows_[r].published.end() ? "-" : rounded(published->second));
      }
      table.rows.push_back(std::move(cells));
    }
    std::vector<std::string> below = {
        message("Data: ", name_, "; features: ", features_are_,
                features_are_ == "original"
                    ? "."
                    : "; the published figures are of original features, so these are not the same experiment."),
        message("Negatives: ", args_.protocol,
                args_.protocol == "exclude_all" ? message(" (", leaking_negatives, ").") : "."),
        message("Each run's epoch is the best by ", watch, " on validation; mean ± deviation over seeds ", seeds_text(),
                ".")};
    if (!args_.config.empty())
      below.push_back("Settings besides those named in the table: " + rearm::detail::read_text(args_.config));
    if (by_valid.size() >= 2) {
      std::ranges::sort(by_valid, std::greater<>());
      below.push_back(compared(by_valid[0].second, by_valid[1].second, names));
    }
    std::string out = table.text() + '\n', markdown = table.markdown() + '\n';
    for (std::string line : below) {
      std::ranges::replace(line, '\n', ' ');
      out += line + '\n';
      markdown += line + "\n\n";
    }
    out += failures;
    markdown += failures;
    write_text(args_.out / (args_.table + ".txt"), out);
    write_text(args_.out / (args_.table + ".csv"), table.csv());
    write_text(args_.out / (args_.table + ".md"), markdown);
    std::fputs(out.c_str(), stdout);
    return failures.empty() ? 0 : 1;
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
  nlohmann::ordered_json record_;
};

int reproduce(ReproduceArguments args) {
  if (args.out.empty()) args.out = fs::path("out") / args.table;
  if (args.seeds.empty()) throw ConfigError("--seeds: name at least one");
  if (std::set<std::uint64_t>(args.seeds.begin(), args.seeds.end()).size() != args.seeds.size())
    throw ConfigError("--seeds: names a seed twice");
  args.runs.choose();
  return rearm::detail::with_io_errors([&] { return Reproduction(std::move(args)).run(); });
}

}  // namespace

Command add_reproduce(CLI::App& app) {
  const auto args = std::make_shared<ReproduceArguments>();
  app.add_option("TABLE", args->table, "table2: all models; table3: REARM and its parts left out")
      ->required()
      ->check(CLI::IsMember({"table2", "table3"}));
  app.add_option("DIR", args->dir, "folder with the data set")->required();
  app.add_option("--out", args->out, "folder of the runs and the table (out/<TABLE>); what is in it is not run again");
  app.add_option("--as", args->of,
                 "whose settings and published figures: baby, sports or clothing (by the data set's name)")
      ->check(CLI::IsMember({"baby", "sports", "clothing"}));
  app.add_option("--seeds", args->seeds, "seeds (2025,2026,2027)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("A,B,...");
  app.add_option("--rows", args->rows, "rows of the table by name (all)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("A,B,...");
  app.add_option("--protocol", args->protocol,
                 "negatives outside train alone, or outside all splits as the authors' program")
      ->check(CLI::IsMember({"exclude_train", "exclude_all"}))
      ->capture_default_str();
  app.add_option("--config", args->config,
                 "settings for every row, as far as its model has them (epochs, features, ...)");
  app.add_option("--quality", args->quality,
                 "folder with published/<data>.toml and <data>/<model>.toml (benchmarks/quality)");
  add_run_options(app, args->runs);
  app.footer(examples("Example", {"rearm reproduce table3 data/baby --jobs 2 --out out/table3"}));
  return [=] { return reproduce(*args); };
}

}  // namespace rearm::cli
