// Trains REARM on a folder with a data set, or on a generated one; the run's files go to --out.
#include "support/baselines.hpp"
#include "support/modality_weights.hpp"
#include "support/program.hpp"
#include "support/progress.hpp"
#include "support/run_files.hpp"
#include "support/settings.hpp"
#include "support/training.hpp"

#include <rearm/rearm.hpp>

#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

namespace {

using B = rearm::CpuBackend<float>;
namespace fs = std::filesystem;
namespace support = rearm::support;

struct Arguments {
  fs::path dir, config, out, cache;
  std::string preset, backend = "auto";
  int threads = 0;
  bool synthetic = false, resume = false, overwrite = false;
  support::CudaRun cuda;
};

/// Defaults or a preset (on generated data: settings that suit it), then the TOML file, then the flags. A resumed run
/// starts from its own settings.
rearm::Config settings(const Arguments& args, const support::SettingFlags& flags, support::SetFields& set) {
  rearm::Config config;
  if (!args.preset.empty())
    config = rearm::preset(args.preset);
  else if (args.synthetic)
    config = support::synthetic_config();
  const bool own = args.resume && args.preset.empty() && args.config.empty() && fs::exists(args.out / "config.toml");
  if (own) support::read_settings(args.out / "config.toml", config, set);
  if (!args.config.empty()) support::read_settings(args.config, config, set);
  flags.apply(config, set);
  return config;
}

int train(Arguments args, const support::SettingFlags& flags) {
  if (args.dir.empty() != args.synthetic)
    throw rearm::ConfigError("give either a folder with a data set or --synthetic; see --help");
  const bool cuda = args.backend == "cuda" || (args.backend == "auto" && support::cuda_devices() > 0);
  if (cuda) support::require_cuda(args.cuda);
  rearm::Dataset data = args.synthetic ? rearm::make_synthetic() : rearm::load_dataset(args.dir);
  if (args.out.empty()) {
    args.out = fs::path("out") / support::slug(data.name);
    if (args.synthetic && !args.resume && !args.overwrite) args.out = support::unused_folder(args.out);
  }
  if (args.cache.empty()) args.cache = args.out / "cache";

  support::SetFields set;
  rearm::Config config = settings(args, flags, set);
  const std::string note = support::choose_modalities(config, set, data);
  rearm::validate(config, static_cast<int>(data.modalities.size()));
  rearm::Context<B> ctx({.threads = args.threads}, config.seed);
  support::open_run_folder(args.out, args.resume, args.overwrite);
  const fs::path checkpoint = args.out / "checkpoint.safetensors";
  const bool resume = args.resume && fs::exists(checkpoint);
  const int last_epoch = resume ? rearm::read_train_state(checkpoint, config).epoch : -1;

  support::catch_signals();
  support::Progress progress(config.epochs);
  const auto report = [&](auto stage, double done) {
    progress.stage(stage, done);
    if (support::interrupted()) throw support::Interrupted();
  };
  const rearm::GraphOptions graph_options{.cache_dir = args.cache, .progress = report};
  std::optional<support::MetricsLog> log;
  rearm::TrainOptions options;
  options.directory = args.out;
  options.resume = resume;
  options.interrupted = support::interrupted;
  options.on_step = [&](const rearm::StepReport& r) { progress.step(r); };
  options.on_epoch = [&](const rearm::EpochReport& r) {
    log->write(r);
    progress.epoch(r);
  };
  const auto begin = [&] {  // nothing of an earlier run was touched so far
    if (!resume) support::remove_run(args.out);
    support::write_config(args.out, config);
    log.emplace(args.out / "metrics.jsonl", last_epoch);
    std::printf("%s: %td users, %td items, %td train pairs; features: %s\n", data.name.c_str(), data.n_users,
                data.n_items, data.train.size(), data.features_are.c_str());
    for (const std::string& warning : data.warnings) std::printf("note: %s\n", warning.c_str());
    if (!note.empty()) std::printf("note: %s\n", note.c_str());
    if (resume) std::printf("continuing after epoch %d\n", last_epoch);
    std::fflush(stdout);
  };
  support::TrainingJob job{&data, config, {}, options, begin};
  double graph_seconds = 0;
  const auto train_here = [&] {
    const auto start = std::chrono::steady_clock::now();
    auto graphs = rearm::build_graphs<B>(ctx, data, config, graph_options);
    graph_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return support::run_training<B>(ctx, std::move(job), std::move(graphs));
  };
  const rearm::TrainResult result =
      cuda ? support::run_training_on_cuda(args.cuda, std::move(job), graph_options, graph_seconds) : train_here();
  progress.clear();

  const std::string source = args.synthetic ? "--synthetic" : args.dir.string();
  if (result.interrupted)
    std::printf("interrupted; continue with: train_amazon %s --out %s --resume\n", source.c_str(), args.out.c_str());
  if (result.best_epoch < 0) {
    std::printf("no epoch was finished, so no model was saved\n");
    return 0;
  }
  support::write_result(args.out, data, config, to_string(config.variant), cuda ? "cuda" : "cpu",
                        ctx.resources().threads(), result,
                        {{"graph_seconds", graph_seconds}, {"interrupted", result.interrupted}});
  std::printf("best epoch %d of %d: test recall@20 %.4f, ndcg@20 %.4f; model and result.json in %s\n",
              result.best_epoch, result.epochs, result.test.at("recall@20"), result.test.at("ndcg@20"),
              args.out.c_str());
  if (args.synthetic && !result.interrupted) support::print_beside_baselines(ctx, data, result, config.epochs);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Trains REARM on a folder with a data set, or on generated data.", "train_amazon");
  Arguments args;
  app.add_option("DIR", args.dir, "folder with train, valid and test pairs and features");
  app.add_flag("--synthetic", args.synthetic, "train on a generated data set, beside popularity and LightGCN");
  app.add_option("--preset", args.preset, "published settings: baby, sports or clothing");
  app.add_option("--config", args.config, "settings in TOML, over the preset and under the flags");
  app.add_option("--out", args.out, "folder of the run (out/<name of the data set>)");
  app.add_option("--cache", args.cache, "folder of built graphs (OUT/cache)");
  app.add_flag("--resume", args.resume, "continue the run in OUT from its last checkpoint");
  app.add_flag("--overwrite", args.overwrite, "replace the run in OUT");
  app.add_option("--threads", args.threads, "threads, 0 for all CPUs");
  app.add_option("--backend", args.backend, "auto, cpu or cuda")->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  app.add_flag("--tf32", args.cuda.tf32, "cuda: dense products in TF32");
  app.add_flag("--deterministic,!--no-deterministic", args.cuda.deterministic,
               "cuda: sparse products of our own, the same bits run after run (the default), or cuSPARSE's");
  const support::SettingFlags flags(app);
  return support::run_program(app, argc, argv, [&] { return train(args, flags); });
}
