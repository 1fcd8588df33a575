// rearm compare: a table of several models on one data set, mean and deviation over their seeds, and paired tests.
#include "child_runs.hpp"
#include "commands.hpp"
#include "program.hpp"
#include "seed_metrics.hpp"
#include "text_table.hpp"

#include <rearm/data/digest.hpp>
#include <rearm/data/load_dataset.hpp>
#include <rearm/eval/significance.hpp>
#include <rearm/io/json.hpp>
#include <rearm/run/folder.hpp>
#include <rearm/run/model_file.hpp>
#include <rearm/run/result.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace rearm::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using rearm::detail::message;

struct CompareArguments {
  fs::path dir, out;
  std::vector<fs::path> runs;
  std::string split = "test", by = "recall@20", against;
  std::vector<std::string> metrics = {"recall", "ndcg"};
  std::vector<Index> cutoffs = {10, 20};
  BootstrapOptions bootstrap;
  int threads = 0;
};

using Texts = std::map<std::string, std::string>;

struct TrainedModel {
  fs::path file;
  std::string model;
  Texts settings;  ///< without the seed
  std::uint64_t seed = 0;
};

/// A model with settings, trained with one seed or several.
struct ComparedRow {
  std::string name, model;
  Texts settings;             ///< that its runs share
  bool chosen_alone = false;  ///< each run chose its modalities' weights, and not the same
  std::vector<std::uint64_t> seeds;
  std::vector<fs::path> files;
  std::vector<UserMetrics> of_seeds;  ///< on the split
  std::vector<double> valid;          ///< what rows are ordered by, a value a seed
  UserMetrics users;                  ///< mean over the seeds
};

/// "recall@20" in its parts.
std::pair<Metric, Index> parse_metric(const std::string& flag, const std::string& text) {
  const std::size_t at = std::min(text.find('@'), text.size());
  std::pair<Metric, Index> out;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(std::min(text.data() + at + 1, end), end, out.second);
  if (error != std::errc() || rest != end || out.second < 1)
    throw ConfigError(message(flag, " '", text, "': must be a metric and a cutoff, such as recall@20"));
  rearm::parse(text.substr(0, at), out.first);
  return out;
}

/// The model files of what is named: a file, a run's folder, or a sweep's, of which the best settings of each model.
void add_files(const fs::path& named, std::vector<fs::path>& files) {
  if (fs::exists(named / "sweep.json")) {
    const fs::path path = named / "best.json";
    if (!fs::exists(path))
      throw DataError(named.string() + ": is a sweep that has not ended; type its line again, and it goes on");
    const json best = parse_json_object(rearm::detail::read_text(path), path.string());
    for (const auto& [model, runs] : best.at("models").items())
      for (const json& run : runs) files.push_back(named / run.get<std::string>() / "model.safetensors");
  } else {
    files.push_back(model_file(named));
  }
}

void flatten(const json& settings, const std::string& prefix, Texts& out) {
  for (const auto& [key, value] : settings.items())
    if (value.is_object())
      flatten(value, prefix + key + '.', out);
    else
      out[prefix + key] = value.is_string() ? value.get<std::string>() : value.dump();
}

class Comparison {
 public:
  Comparison(CompareArguments args, const Dataset& data)
      : args_(std::move(args)), data_(data), ctx_({.threads = args_.threads}) {
    for (const std::string& name : args_.metrics) rearm::parse(name, metrics_.emplace_back());
    for (const Metric m : metrics_)
      for (const Index k : args_.cutoffs) names_.push_back(metric_name(m, k));
  }

  int run() {
    StatusLine line;
    line.stage("reading what was trained");
    std::vector<fs::path> files;
    for (const fs::path& named : args_.runs) add_files(named, files);
    const json digests = data_digests(data_);
    std::vector<TrainedModel> models;
    for (const fs::path& file : files) {
      TrainedModel model = read_model(file, digests);
      const auto same = std::ranges::find_if(models, [&](const TrainedModel& other) {
        return other.model == model.model && other.settings == model.settings && other.seed == model.seed;
      });
      if (same == models.end())
        models.push_back(std::move(model));
      else
        left_out_ += message("note: ", file.string(), " is left out: ", same->file.string(),
                             " has the same model, settings and seed\n");
    }
    make_rows(models);
    if (rows_.size() < 2)
      throw DataError(message("compare: ", files.size(),
                              " model file(s) of the same settings, seeds aside; name runs of ",
                              "at least two models or settings"));
    name_rows();
    for (ComparedRow& row : rows_) {
      line.stage("computing metrics of " + row.name);
      evaluate(row);
    }
    std::ranges::stable_sort(
        rows_, [](const ComparedRow& a, const ComparedRow& b) { return spread(a.valid).mean > spread(b.valid).mean; });
    std::size_t first = 0;  // what the others are tested against
    if (!args_.against.empty()) {
      first = static_cast<std::size_t>(std::ranges::find(rows_, args_.against, &ComparedRow::name) - rows_.begin());
      if (first == rows_.size()) {
        std::string all;
        for (const ComparedRow& row : rows_) all += (all.empty() ? "" : ", ") + row.name;
        throw ConfigError(message("--against '", args_.against, "': must be one of ", all));
      }
    }
    line.stage("testing differences");
    const TextTable means = table(), tests = test_table(first);
    line.clear();
    const std::string below = conditions(first);
    const std::string text = means.text() + '\n' + tests.text() + '\n' + below;
    if (!args_.out.empty()) {
      fs::create_directories(args_.out);
      write_text(args_.out / "compare.txt", text);
      write_text(args_.out / "compare.csv", means.csv());
      write_text(args_.out / "tests.csv", tests.csv());
      std::string lines = below;
      for (std::size_t at = 0; (at = lines.find('\n', at)) != std::string::npos; at += 2) lines.insert(at, 1, '\n');
      write_text(args_.out / "compare.md", means.markdown() + '\n' + tests.markdown() + '\n' + lines);
    }
    std::fputs(text.c_str(), stdout);
    return 0;
  }

 private:
  TrainedModel read_model(const fs::path& path, const json& digests) const {
    const SafetensorsFile file(path);
    rearm::detail::require_format(file, path, model_format, former_model_formats);
    const rearm::detail::StoredSettings stored = rearm::detail::read_settings(file, path);
    const json theirs = rearm::detail::read_data_digests(file, path);
    if (theirs.is_null())
      throw DataError(path.string() +
                      ": does not say what it was trained on (an earlier version wrote it); train again");
    for (const char* part : {"users", "items", "train pairs", "valid pairs", "test pairs"})
      if (theirs.value(part, json()) != digests.at(part))
        throw DataError(message(path.string(), ": was trained on other data than ", args_.dir.string(), " (", part,
                                " differ); name its own folder, or train on this one"));
    TrainedModel out{path, stored.model, {}, 0};
    flatten(stored.settings, {}, out.settings);
    const std::string seed = out.settings["train.seed"];
    out.settings.erase("train.seed");
    std::from_chars(seed.data(), seed.data() + seed.size(), out.seed);
    return out;
  }

  /// Models with the same settings are a row. Weights of modalities, which REARM chooses on validation, tell rows apart
  /// only where a seed is there with several.
  void make_rows(const std::vector<TrainedModel>& models) {
    using Key = std::pair<std::string, Texts>;
    std::vector<std::pair<Key, std::vector<const TrainedModel*>>> groups;
    const auto add = [&](auto& to, Key key, const TrainedModel& model) {
      auto at = std::ranges::find(to, key, [](const auto& group) { return group.first; });
      if (at == to.end()) at = to.insert(at, {std::move(key), {}});
      at->second.push_back(&model);
    };
    for (const TrainedModel& model : models) {
      Texts settings = model.settings;
      std::erase_if(settings, [](const auto& entry) { return entry.first.ends_with("modality_weights"); });
      add(groups, {model.model, std::move(settings)}, model);
    }
    const auto distinct_seeds = [](const std::vector<const TrainedModel*>& group) {
      std::set<std::uint64_t> seeds;
      for (const TrainedModel* model : group) seeds.insert(model->seed);
      return seeds.size() == group.size();
    };
    for (const auto& [key, group] : groups) {
      decltype(groups) parts = {{key, group}};
      if (!distinct_seeds(group)) {
        parts.clear();
        for (const TrainedModel* model : group) add(parts, {model->model, model->settings}, *model);
      }
      for (const auto& [of_row, members] : parts) {
        ComparedRow& row = rows_.emplace_back();
        row.model = of_row.first;
        row.settings = of_row.second;
        for (const TrainedModel* model : members) {
          row.seeds.push_back(model->seed);
          row.files.push_back(model->file);
          row.chosen_alone = row.chosen_alone || model->settings != members.front()->settings;
        }
      }
    }
  }

  /// A row is called by its model, and where several have the same, by what differs among them.
  void name_rows() {
    for (ComparedRow& row : rows_) {
      row.name = row.model;
      std::set<std::string> differ;
      for (const ComparedRow& other : rows_) {
        if (other.model != row.model) continue;
        const auto note = [&](const auto& these, const auto& those) {
          for (const auto& [key, value] : these)
            if (const auto at = those.find(key); at == those.end() || at->second != value) differ.insert(key);
        };
        note(row.settings, other.settings);
        note(other.settings, row.settings);
      }
      for (const std::string& key : differ)
        row.name += message(' ', key.substr(key.find('.') + 1), '=',
                            row.settings.contains(key) ? row.settings.at(key) : std::string("-"));
    }
  }

  /// Users without train pairs count if every run counted them.
  bool counts_cold() const {
    return std::ranges::none_of(rows_, [](const ComparedRow& row) {
      const auto found = row.settings.find("train.count_cold_users");
      return found != row.settings.end() && found->second == "false";
    });
  }
  Adjacency relevant(const Interactions& split) const {
    return counts_cold() ? items_by_user(split, data_.n_users)
                         : items_by_warm_user(split, items_by_user(data_.train, data_.n_users));
  }

  void evaluate(ComparedRow& row) {
    const auto [by, k] = parse_metric("--by", args_.by);
    const Adjacency in_split = relevant(args_.split == "test" ? data_.test : data_.valid),
                    in_valid = relevant(data_.valid);
    for (const fs::path& file : row.files) {
      const auto model = load_model<Cpu>(file);
      row.of_seeds.push_back(metrics_of_users(ctx_, model, in_split, args_.cutoffs, metrics_));
      row.valid.push_back(
          metrics_of_users(ctx_, model, in_valid, std::vector<Index>{k}, std::vector<Metric>{by}).mean().at(args_.by));
    }
    row.users = mean_over_seeds(row.of_seeds, names_);
  }

  std::vector<double> values(const ComparedRow& row, const std::string& name) const {
    std::vector<double> out;
    for (const UserMetrics& seed : row.of_seeds) out.push_back(seed.mean().at(name));
    return out;
  }

  TextTable table() const {
    TextTable out{{"model", "seeds", "valid " + args_.by}, {}};
    for (const std::string& name : names_) out.columns.push_back(args_.split + ' ' + name);
    for (const ComparedRow& row : rows_) {
      std::vector<std::string> cells = {row.name, std::to_string(row.seeds.size()), with_spread(spread(row.valid), 4)};
      for (const std::string& name : names_) cells.push_back(with_spread(spread(values(row, name)), 4));
      out.rows.push_back(std::move(cells));
    }
    return out;
  }

  /// In how many of the seeds that both have the first is better.
  std::string seeds_better(const ComparedRow& first, const ComparedRow& other, const std::string& name) const {
    const std::vector<double> a = values(first, name), b = values(other, name);
    int better = 0, both = 0;
    for (std::size_t i = 0; i < first.seeds.size(); ++i) {
      const auto at = std::ranges::find(other.seeds, first.seeds[i]);
      if (at == other.seeds.end()) continue;
      ++both;
      better += a[i] > b[static_cast<std::size_t>(at - other.seeds.begin())] ? 1 : 0;
    }
    return both == 0 ? "-" : message(better, '/', both);
  }

  TextTable test_table(std::size_t first) const {
    const ComparedRow& ours = rows_[first];
    std::vector<const ComparedRow*> others;
    for (std::size_t r = 0; r < rows_.size(); ++r)
      if (r != first) others.push_back(&rows_[r]);
    const auto n_names = static_cast<Index>(names_.size());
    // One matrix, so that Holm's correction is for the whole table.
    Matrix<double> differences(ours.users.values.rows(), n_names * static_cast<Index>(others.size()));
    for (Index i = 0; i < differences.rows(); ++i)
      for (Index c = 0; c < differences.cols(); ++c)
        differences(i, c) = ours.users.values(i, c % n_names) -
                            others[static_cast<std::size_t>(c / n_names)]->users.values(i, c % n_names);
    const std::vector<PairedTest> tests = paired_tests(differences.view(), args_.bootstrap);
    TextTable out{
        {ours.name + " against", "metric", "difference", message(100 * args_.bootstrap.confidence, " % interval"),
         "p bootstrap", "p bootstrap by Holm", "p Wilcoxon", "p Wilcoxon by Holm", "seeds better"},
        {}};
    for (std::size_t c = 0; c < tests.size(); ++c) {
      const PairedTest& t = tests[c];
      const ComparedRow& other = *others[c / names_.size()];
      const std::string& name = names_[c % names_.size()];
      out.rows.push_back({other.name, name, formatted("%+.4f", t.bootstrap.mean),
                          message(formatted("%+.4f", t.bootstrap.low), " to ", formatted("%+.4f", t.bootstrap.high)),
                          formatted("%.3g", t.bootstrap.p), formatted("%.3g", t.bootstrap_holm),
                          formatted("%.3g", t.ranks.p), formatted("%.3g", t.ranks_holm),
                          seeds_better(ours, other, name)});
    }
    return out;
  }

  /// What the numbers hold for.
  std::string conditions(std::size_t first) const {
    std::set<std::string> negatives;
    std::set<std::vector<std::uint64_t>> seeds;
    for (const ComparedRow& row : rows_) {
      if (const auto found = row.settings.find("train.negatives"); found != row.settings.end())
        negatives.insert(found->second);
      std::vector<std::uint64_t> sorted = row.seeds;
      std::ranges::sort(sorted);
      seeds.insert(std::move(sorted));
    }
    std::string all;
    for (const std::string& name : negatives) all += (all.empty() ? "" : " and ") + name;
    std::string out = message("data: ", data_.name, "; features: ", data_.features_are, "; negatives: ", all, '\n');
    if (negatives.contains("exclude_all")) out += message("note: ", leaking_negatives, '\n');
    if (negatives.size() > 1) out += "note: the models' negatives differ; train all with the same train.negatives\n";
    if (seeds.size() > 1) out += "note: the models' seeds differ\n";
    for (const ComparedRow& row : rows_)
      if (row.chosen_alone)
        out += message("note: the runs of ", row.name, " have weights of modalities of their own\n");
    if (rows_[first].seeds.size() == 1)
      out += "note: one seed says nothing of others; train with several (sweep.seeds, or --seed)\n";
    out += left_out_;
    out += message("models in the order of ", args_.by, " on validation; mean ± deviation over the seeds\n");
    out += message("tests: of ", rows_[first].users.users.size(), " users of ", args_.split,
                   ", each user's mean over the seeds, ", args_.bootstrap.draws,
                   " draws; Holm's correction is for all tests of a column\n");
    return out;
  }

  CompareArguments args_;
  const Dataset& data_;
  Context<Cpu> ctx_;
  std::vector<Metric> metrics_;
  std::vector<std::string> names_;
  std::vector<ComparedRow> rows_;
  std::string left_out_;
};

int compare(CompareArguments args) {
  parse_metric("--by", args.by);
  for (const Index k : args.cutoffs)
    if (k < 1) throw ConfigError(message("metric cutoff K = ", k, ": must be at least 1"));
  if (args.bootstrap.draws < 1) throw ConfigError(message("--draws ", args.bootstrap.draws, ": must be at least 1"));
  return rearm::detail::with_io_errors([&] {
    const Dataset data = load_dataset(args.dir, {.read_knn = false});
    return Comparison(std::move(args), data).run();
  });
}

}  // namespace

Command add_compare(CLI::App& app) {
  const auto args = std::make_shared<CompareArguments>();
  app.add_option("DIR", args->dir, "folder with the data set that all were trained on")->required();
  app.add_option("RUN", args->runs,
                 "folders of runs, or of sweeps, of which the best settings of each model count; runs that differ in\n"
                 "nothing but their seed are one row")
      ->required()
      ->type_name("TEXT ...");
  app.add_option("--split", args->split, "test or valid")
      ->check(CLI::IsMember({"test", "valid"}))
      ->capture_default_str();
  app.add_option("--metrics", args->metrics, "recall, ndcg, precision, map, hit_rate, mrr (recall,ndcg)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("A,B,...");
  app.add_option("--cutoffs", args->cutoffs, "cutoffs K of the metrics (10,20)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(decimal())
      ->type_name("A,B,...");
  app.add_option("--by", args->by, "metric on validation that orders the rows; the first is tested against the others")
      ->capture_default_str();
  app.add_option("--against", args->against, "the row that the others are tested against, in place of the first");
  app.add_option("--confidence", args->bootstrap.confidence, "confidence of the intervals")->capture_default_str();
  app.add_option("--draws", args->bootstrap.draws, "draws of users that intervals and tests are made of")
      ->check(decimal())
      ->capture_default_str();
  app.add_option("--draws-seed", args->bootstrap.seed, "seed of these draws")->check(decimal())->capture_default_str();
  app.add_option("--out", args->out, "folder for compare.txt, compare.md, compare.csv and tests.csv");
  add_threads(app, args->threads);
  app.footer(examples(
      "Examples", {"rearm compare data/baby out/baby out/light_gcn", "rearm sweep sweep.toml data/baby --out out/sweep",
                   "rearm compare data/baby out/sweep --out out/compared"}));
  return [=] { return compare(*args); };
}

}  // namespace rearm::cli
