// rearm train: a model on a folder with a data set, or on generated data; the run's files go to --out.
#include "commands.hpp"
#include "progress.hpp"
#include "ranking.hpp"
#include "ranks.hpp"
#include "settings_file.hpp"
#include "training.hpp"

#include <rearm/data/digest.hpp>
#include <rearm/data/load_dataset.hpp>
#include <rearm/data/synthetic.hpp>
#include <rearm/eval/popularity.hpp>
#include <rearm/run/folder.hpp>
#include <rearm/run/result.hpp>
#include <rearm/run/same_ranks.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace rearm::cli {
namespace {

namespace fs = std::filesystem;
using rearm::detail::message;

struct Arguments {
  fs::path dir, config, out, cache;
  std::string model, preset, backend = "auto";
  int threads = 0;
  double checkpoint_every_seconds = TrainOptions().checkpoint_every_seconds;
  bool synthetic = false, resume = false, overwrite = false, check_memory = true;
  CudaRun cuda;
};

/// A value from text, decimal and whole: no blank before or after, no other base; lists have commas. Throws
/// ConfigError.
template <class T>
void read_text(const std::string& path, const std::string& text, T& out) {
  if constexpr (std::is_same_v<T, std::string>) {
    out = text;
  } else if constexpr (std::is_same_v<T, bool>) {
    if (text != "true" && text != "false") throw ConfigError(message(path, " = '", text, "': must be true or false"));
    out = text == "true";
  } else {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool whole = error == std::errc() && end == text.data() + text.size() && !text.empty();
    if (!whole || !std::isfinite(static_cast<double>(value)))
      throw ConfigError(message(path, " = '", text, "': must be a ", std::is_integral_v<T> ? "whole " : "", "number",
                                error == std::errc::result_out_of_range ? " that fits its type" : ""));
    out = value;
  }
}
template <class T>
void read_text(const std::string& path, const std::string& text, std::vector<T>& out) {
  out.clear();
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    read_text(path, text.substr(begin, comma - begin), out.emplace_back());
    begin = comma + 1;
  }
}
/// Sets the value of the setting whose full name `path` is.
void read_text(const std::string& path, const std::string& text, const FieldValue& out) {
  const std::string own = path.substr(path.find('.') + 1);
  std::visit(
      [&](const auto& at) {
        if constexpr (std::is_same_v<decltype(at), const EnumValue&>)
          at.parse(own, text);
        else
          read_text(own, text, *at);
      },
      out);
}

/// A flag for every setting: --learning-rate, --users-k for model.users.k, and its names from earlier versions.
class SettingFlags {
 public:
  SettingFlags(CLI::App& app, const ModelEntry& entry) {
    std::map<std::string, std::set<std::string>> names;
    for (const auto& [name, path] : record_settings(entry.name(), entry.settings()).former) names[path].insert(name);
    for (const auto& [path, field, value] : entry.settings().fields) {
      const bool list = is_list(value);
      const std::string own = path.substr(path.find('.') + 1);
      std::string spelled = dashes(own);
      for (const std::string& name : names[path])
        if (name != own) spelled += ',' + dashes(name);
      Flag& flag = flags_.emplace_back();
      flag.path = path;
      flag.option = app.add_option(spelled, flag.text, field.help)
                        ->type_name(list ? "A,B,..." : "VALUE")
                        ->group(path.starts_with("train.") ? "Training" : "Model " + std::string(entry.name()));
      if (!list) flag.option->default_str(to_json(value).dump());
    }
  }
  /// Throws ConfigError for a value of the wrong kind.
  void apply(ModelEntry& entry, std::set<std::string>& set) const {
    for (const Flag& flag : flags_) {
      if (flag.option->count() == 0) continue;
      read_text(flag.path, flag.text, entry.settings().at(flag.path).value);
      set.insert(flag.path);
    }
  }

 private:
  struct Flag {
    std::string path, text;
    CLI::Option* option = nullptr;
  };
  static std::string dashes(std::string name) {
    for (char& c : name)
      if (c == '_' || c == '.') c = '-';
    return "--" + name;
  }
  std::deque<Flag> flags_;  // CLI11 keeps addresses of the texts
};

/// Defaults or a preset (on generated data: settings that suit it), then the TOML file, then the flags. A resumed run
/// starts from its own settings.
std::set<std::string> apply_settings(const Arguments& args, const SettingFlags& flags, ModelEntry& entry) {
  std::set<std::string> set;
  if (!args.preset.empty())
    entry.take_preset(args.preset);
  else if (args.synthetic && entry.has_presets())
    entry.take_preset("synthetic");
  const fs::path own = StagedFiles::current(args.out, "config.toml");
  if (args.resume && args.preset.empty() && args.config.empty() && fs::exists(own)) read_settings(own, entry, set);
  if (!args.config.empty()) read_settings(args.config, entry, set);
  flags.apply(entry, set);
  return set;
}

/// What recommending the items that most users have to everybody is worth.
class ByPopularity {
 public:
  ByPopularity(Context<Cpu>& ctx, const Dataset& data, const TrainConfig& config)
      : ctx_(ctx),
        config_(config),
        seen_(items_by_user(data.train, data.n_users)),
        popular_(popularity<float>(seen_, data.n_items)) {}
  MetricValues on(const Interactions& split) {
    const Adjacency relevant =
        config_.count_cold_users ? items_by_user(split, seen_.rows()) : items_by_warm_user(split, seen_);
    const std::vector<Index> cutoffs(config_.cutoffs.begin(), config_.cutoffs.end());
    return evaluate<Cpu>(ctx_, popular_.user_rows.view(), popular_.item_rows.view(), &seen_, relevant, cutoffs,
                         all_metrics);
  }

 private:
  Context<Cpu>& ctx_;
  const TrainConfig& config_;
  Adjacency seen_;
  Popularity<float> popular_;
};

/// The watched metric and NDCG@20, where they are there.
std::string scores_of(const MetricValues& values, const std::string& watch) {
  std::string out;
  for (const std::string& name : {watch, std::string("ndcg@20")})
    if (const auto found = values.find(name); found != values.end() && out.find(name) == std::string::npos) {
      char value[32];
      std::snprintf(value, sizeof value, " %.4f", found->second);
      out += (out.empty() ? " " : ", ") + name + value;
    }
  return out;
}

/// Popularity's metrics beside a finished run's; says so if the run learned hardly more.
void print_beside_popularity(Context<Cpu>& ctx, const Dataset& data, const TrainConfig& config, const TrainResult& ours,
                             const std::string& source, StatusLine& line) {
  line.stage("comparing with popularity");
  ByPopularity popular(ctx, data, config);
  const MetricValues test = popular.on(data.test);
  const double least = popular.on(data.valid).at(config.watch), reached = ours.valid.at(config.watch);
  line.clear();
  std::printf("popularity: test%s\n", scores_of(test, config.watch).c_str());
  if (ours.best_epoch == 0 && ours.epochs > 1)
    std::printf("warning: the first epoch was the best: further training only made it worse");
  else if (reached < 1.05 * least)
    std::printf(
        "warning: the best validation %s is %.4f and popularity's %.4f: the model is hardly better than recommending "
        "the most popular items to everybody",
        config.watch.c_str(), reached, least);
  else
    return;
  std::printf("; try another --learning-rate (now %g), --model light_gcn, and rearm check %s\n", config.learning_rate,
              source.c_str());
}

/// Test metrics of popularity and LightGCN beside `ours`, on generated data.
void print_beside_baselines(Context<Cpu>& ctx, const Dataset& data, const TrainConfig& config, const TrainResult& ours,
                            std::string_view model, StatusLine& line) {
  std::vector<std::pair<std::string, MetricValues>> rows = {
      {"popularity", ByPopularity(ctx, data, config).on(data.test)}};
  if (model != "light_gcn") {
    const auto entry = make_entry("light_gcn");
    entry->take_preset("synthetic");
    TrainOptions options;
    options.interrupted = interrupted;
    const std::string what = "training light_gcn to compare with";
    line.stage(what);
    options.on_epoch = [&](const EpochReport& r) {
      line.stage(what, static_cast<double>(r.epoch + 1) / entry->train().epochs);
    };
    const TrainResult result = train_in_memory(ctx, *entry, data, options);
    line.clear();
    if (result.interrupted) return;
    rows.emplace_back("light_gcn", result.test);
  }
  rows.emplace_back(model, ours.test);
  std::printf("\nsynthetic data       recall@20  ndcg@20\n");
  for (const auto& [name, metrics] : rows)
    std::printf("%-20s %9.4f %8.4f\n", name.c_str(), metrics.at("recall@20"), metrics.at("ndcg@20"));
}

int train(Arguments args, const SettingFlags& flags, ModelEntry& entry) {
  if (args.dir.empty() != args.synthetic)
    throw ConfigError("give either a folder with a data set or --synthetic; see --help");
  RankSession::require_ranks();
  const EndTogether end_together;
  if (args.backend == "cuda" && !entry.runs_on_cuda())
    throw ConfigError(
        message("backend = cuda: ", entry.name(),
                " is a model of your own, which this program trains on the CPU alone; use --backend cpu"));
  if (args.backend == "cuda" && ranks() != nullptr)
    throw ConfigError("backend = cuda: several ranks train on the CPU so far; use --backend cpu, or one process");
  const bool cuda = args.backend == "cuda" ||
                    (args.backend == "auto" && ranks() == nullptr && entry.runs_on_cuda() && cuda_devices() > 0);
  if (cuda) require_cuda(args.cuda);
  StatusLine line;
  line.stage(args.synthetic ? "generating data" : "reading " + args.dir.string());
  Dataset data = args.synthetic ? make_synthetic() : load_dataset(args.dir);
  const bool default_out = args.out.empty();
  if (default_out) {
    args.out = fs::path("out") / slug(data.name);
    if (args.synthetic && !args.resume && !args.overwrite) args.out = unused_folder(args.out);
  }
  if (ranks() != nullptr) args.out = ranks()->all_texts(args.out.string()).front();  // rank 0 has chosen it
  if (args.cache.empty()) args.cache = args.out / "cache";

  const std::set<std::string> set = apply_settings(args, flags, entry);
  const std::string note = entry.choose_modalities(data, set);
  entry.check(data);
  const TrainConfig& config = entry.train();
  TrainOptions options;
  Trainer<Cpu>::check(config, options);
  Trainer<Cpu>::check_data(config, data);
  if (args.threads == 0) args.threads = RankSession::threads();
  Context<Cpu> ctx({.threads = args.threads}, config.seed);
  if (args.resume) require_begun_run(args.out);
  catch_signals("stopping after this stage");
  const auto held = first_rank() ? std::make_shared<HeldFolder>(args.out) : nullptr;
  if (first_rank()) check_run_folder(args.out, args.resume, args.overwrite);
  if (ranks() != nullptr) ranks()->barrier();  // what was being written there is complete
  const std::string chosen =
      args.preset.empty() && !args.synthetic ? entry.choose_settings(ctx, data, set) : std::string();
  const bool replaces = args.overwrite && holds_run(args.out);
  SettingsRecord record = record_settings(entry.name(), entry.settings());
  record.data = data_digests(data);
  ctx.set_ranks(ranks());
  if (ranks() != nullptr) require_same_ranks(*ranks(), record, args.resume);
  const fs::path checkpoint = args.out / "checkpoint.safetensors";
  const bool resume = args.resume && fs::exists(checkpoint);
  bool shares_rows = false;
  const TrainState state = resume ? read_train_state(checkpoint, record) : TrainState();

  Progress progress(line, config, state);
  std::optional<MetricsLog> log;
  bool told = false;
  const auto stop_before_training = [&] {
    if (interrupted()) throw Interrupted{"interrupted before training began; begin again with:\n  " + typed_line()};
  };
  // Told before the best model is scored, which takes its time and may be cut off, too.
  const auto tell_how_to_continue = [&] {
    if (std::exchange(told, true)) return;
    line.clear();
    std::vector<std::string> more;
    if (!args.resume) more.emplace_back("--resume");
    if (default_out && args.synthetic) more.insert(more.end(), {"--out", args.out.string()});
    const auto overwrites = [](const std::string& word) { return word.starts_with("--overwrite"); };
    std::printf("interrupted; what was trained is saved. Continue with:\n  %s\n", typed_line(overwrites, more).c_str());
    std::fflush(stdout);
  };
  options.interrupted = interrupted;
  options.checkpoint_every_seconds = args.checkpoint_every_seconds;
  options.check_memory = args.check_memory;
  options.on_step = [&](const StepReport& r) { progress.step(r); };
  options.on_epoch = [&](const EpochReport& r) {
    if (log) log->write(r);
    progress.epoch(r);
  };
  TrainingJob job{&data, record, config, {.cache_dir = args.cache, .progress = {}}, args.out, held, resume, options};
  job.shares_rows = &shares_rows;
  job.graphs.progress = [&](std::string_view stage, double done) {
    if (done < 1) progress.stage(stage, done);
    stop_before_training();
  };
  job.options.on_stage = [&](TrainStage stage) {
    if (stage == TrainStage::testing && interrupted()) tell_how_to_continue();
    progress.stage(stage);
  };
  job.options.on_begin = [&] {
    stop_before_training();
    line.clear();
    if (!first_rank()) return answer_signals_with("saving after this step");
    if (resume) {
      held->staged.remove("result.json");  // of the run as it was; it goes with that run's checkpoint
      log.emplace(args.out / "metrics.jsonl", state.epoch);
    } else {
      // An earlier run's files stay until this one's first checkpoint takes their place.
      for (const char* name : run_files) held->staged.remove(name);
      log.emplace(held->staged.path("metrics.jsonl"), -1, args.out / "metrics.jsonl");
    }
    // Where no run was, the settings are there from now on: by them --resume knows one that is killed before that.
    const bool first = !resume && !replaces;
    write_file_atomically(first ? args.out / "config.toml" : held->staged.path("config.toml"),
                          [&](std::ostream& out) { out << to_toml(entry); });
    answer_signals_with("saving after this step");
    std::printf("%s: %td users, %td items, %td train pairs; features: %s; model: %s\n", data.name.c_str(), data.n_users,
                data.n_items, data.train.size(), data.features_are.c_str(), std::string(entry.name()).c_str());
    for (const std::string& warning : data.warnings) std::printf("note: %s\n", warning.c_str());
    if (!note.empty()) std::printf("note: %s\n", note.c_str());
    if (!chosen.empty()) std::printf("%s\n", chosen.c_str());
    if (ranks() != nullptr)
      std::printf("%d ranks of %d threads, %s\n", ranks()->size(), ctx.resources().threads(),
                  shares_rows ? "which share users, items and their graphs"
                              : "each of which computes everything: this model cannot be shared so far");
    if (config.negatives == Negatives::exclude_all) std::printf("note: %s\n", leaking_negatives);
    if (resume && state.epoch_step > 0)
      std::printf("continuing in epoch %d after %td of its steps\n", state.epoch + 1, state.epoch_step);
    else if (resume)
      std::printf("continuing after epoch %d\n", state.epoch);
    std::fflush(stdout);
  };
  progress.stage("making the model");
  const TrainingOutcome outcome = cuda ? run_training_on_cuda(args.cuda, job) : run_training_on_cpu(ctx, entry, job);
  const TrainResult& result = outcome.result;
  line.clear();
  ctx.set_ranks(nullptr);  // what follows is rank 0's
  if (!first_rank()) return 0;
  answer_signals_with("stopping after this stage");

  if (!result.not_recorded.empty())
    std::printf("note: steps were started kernel by kernel, which is slower, because recording one failed: %s\n",
                result.not_recorded.c_str());
  if (replaces && result.best_epoch < 0) {
    std::printf("interrupted before there was a model; the earlier run in %s is as it was. Begin again with:\n  %s\n",
                args.out.c_str(), typed_line().c_str());
    return 0;
  }
  if (result.interrupted) tell_how_to_continue();
  if (result.best_epoch < 0) {
    std::printf(result.interrupted ? "no epoch has been validated yet, so there is no model yet\n"
                                   : "no epoch was validated, so no model was saved\n");
    return 0;
  }
  nlohmann::ordered_json extra = {{"graph_seconds", outcome.graph_seconds}, {"interrupted", result.interrupted}};
  if (ranks() != nullptr) {
    extra["ranks"] = ranks()->size();
    extra["step_bytes_sent"] = result.step_bytes_sent;
  }
  try {
    write_result(args.out, data, job.settings, cuda ? "cuda" : "cpu", ctx.resources().threads(), result, extra);
  } catch (const IoError& e) {
    throw FailedLate(e.what());
  }
  std::printf("best epoch %d of %d: test%s; model and result.json in %s\n", result.best_epoch, result.epochs,
              scores_of(result.test, config.watch).c_str(), args.out.c_str());
  if (!args.synthetic && !result.interrupted)
    print_beside_popularity(ctx, data, config, result, shell_word(args.dir.string()), line);
  if (args.synthetic && !result.interrupted && result.test.contains("recall@20") && result.test.contains("ndcg@20"))
    print_beside_baselines(ctx, data, config, result, entry.name(), line);
  return 0;
}

/// The value of --name in the arguments, wherever it stands.
std::optional<std::string> value_of(const std::string& name, int argc, char** argv) {
  std::optional<std::string> found;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == name && i + 1 < argc) found = argv[i + 1];
    if (arg.starts_with(name + '=')) found = arg.substr(name.size() + 1);
  }
  return found;
}

}  // namespace

std::string chosen_model(int argc, char** argv) {
  if (argc < 2 || std::string(argv[1]) != "train") return "rearm";
  if (const auto model = value_of("--model", argc, argv)) return *model;
  std::optional<std::string> of_file;
  const auto look = [&](const fs::path& file) {
    if (!of_file && fs::exists(file)) of_file = model_in(file);
  };
  if (const auto file = value_of("--config", argc, argv)) look(*file);
  const bool resume =
      std::any_of(argv + 1, argv + argc, [](const char* arg) { return std::string(arg) == "--resume"; });
  if (const auto out = value_of("--out", argc, argv); out && resume) look(StagedFiles::current(*out, "config.toml"));
  return of_file.value_or("rearm");
}

Command add_train(CLI::App& app, std::shared_ptr<ModelEntry> entry) {
  const auto args = std::make_shared<Arguments>();
  app.add_option("DIR", args->dir, "folder with train, valid and test pairs and features");
  app.add_flag("--synthetic", args->synthetic, "train on a generated data set, compared with popularity and LightGCN");
  app.add_option("--model", args->model,
                 "the model (rearm); `rearm models` lists them. Its settings are also flags:\n"
                 "see --model NAME --help");
  app.add_option("--preset", args->preset, "published settings of the model, by the name of a data set");
  app.add_option("--config", args->config, "settings in TOML; they override the preset, flags override them");
  app.add_option("--out", args->out, "folder of the run (out/<name of the data set>)");
  app.add_option("--cache", args->cache, "folder of built graphs (OUT/cache)");
  app.add_flag("--resume", args->resume, "continue the run in OUT from its last checkpoint");
  app.add_option("--checkpoint-every-seconds", args->checkpoint_every_seconds,
                 "seconds between checkpoints within an epoch, 0 for none; every epoch ends with one")
      ->type_name("SECONDS")
      ->check(not_negative())
      ->capture_default_str();
  app.add_flag("--check-memory,!--no-check-memory", args->check_memory,
               "cpu: refuse a run that needs more memory than there is, before it begins (the default)");
  app.add_flag("--overwrite", args->overwrite, "replace the run in OUT")->excludes("--resume");
  add_threads(app, args->threads);
  app.add_option("--backend", args->backend, "auto, cpu or cuda")->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  app.add_option("--device", args->cuda.device, "cuda: which device, from 0")->check(CLI::NonNegativeNumber);
  app.add_flag("--tf32", args->cuda.tf32, "cuda: matrix products in TF32, faster and less precise");
  app.add_flag("--deterministic,!--no-deterministic", args->cuda.deterministic,
               "cuda: sparse products that give the same bits in every run (the default), or cuSPARSE's");
  const auto flags = std::make_shared<SettingFlags>(app, *entry);
  app.footer(
      examples("Examples", {"rearm train --synthetic --epochs 3 --out out/try    # generated data, works as it stands",
                            "rearm train data/baby --out out/mine",
                            "rearm train data/baby --preset baby --negatives exclude_train --out out/baby",
                            "rearm train data/baby --preset baby --negatives exclude_train --out out/baby --resume"}));
  return [=] { return train(*args, *flags, *entry); };
}

}  // namespace rearm::cli
