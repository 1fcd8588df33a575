// A model of one's own on the library's operators and trainer: LightGCN (support/light_gcn.hpp) on a data set's folder.
#include "support/light_gcn.hpp"
#include "support/program.hpp"
#include "support/progress.hpp"
#include "support/run_files.hpp"
#include "support/settings.hpp"

#include <rearm/rearm.hpp>

#include <CLI/CLI.hpp>

#include <cstdio>
#include <filesystem>

int main(int argc, char** argv) {
  using B = rearm::CpuBackend<float>;
  namespace support = rearm::support;
  CLI::App app("Trains LightGCN with BPR on a folder with a data set.", "custom_model");
  std::filesystem::path dir, out;
  int threads = 0;
  bool overwrite = false;
  rearm::Config config = support::light_gcn_config();
  app.add_option("DIR", dir, "folder with train, valid and test pairs")->required();
  app.add_option("--epochs", config.epochs, "most epochs")->capture_default_str();
  app.add_option("--patience", config.patience, "epochs without improvement that are borne")->capture_default_str();
  app.add_option("--learning-rate", config.learning_rate, "learning rate")->capture_default_str();
  app.add_option("--l2-weight", config.l2_weight, "weight of the batch's squared norm")->capture_default_str();
  app.add_option("--n-ui-layers", config.n_ui_layers, "layers")->capture_default_str();
  app.add_option("--embedding-dim", config.embedding_dim, "width")->capture_default_str();
  app.add_option("--batch-size", config.batch_size, "pairs a batch")->capture_default_str();
  app.add_option("--seed", config.seed, "seed of every random number")->capture_default_str();
  app.add_option("--threads", threads, "threads, 0 for all CPUs");
  app.add_option("--out", out, "folder of the run (out/lightgcn-<name of the data set>)");
  app.add_flag("--overwrite", overwrite, "replace the run in OUT");
  return support::run_program(app, argc, argv, [&] {
    const rearm::Dataset data = rearm::load_dataset(dir);
    rearm::validate(config, 1);
    if (out.empty()) out = std::filesystem::path("out") / ("lightgcn-" + support::slug(data.name));
    support::open_run_folder(out, false, overwrite);
    support::remove_run(out);

    rearm::Context<B> ctx({.threads = threads}, config.seed);
    support::LightGcn<B> model(data, config);
    support::Progress progress(config.epochs);
    support::MetricsLog log(out / "metrics.jsonl", -1);
    rearm::TrainOptions options;
    options.directory = out;
    options.interrupted = support::interrupted;
    options.on_step = [&](const rearm::StepReport& r) { progress.step(r); };
    options.on_epoch = [&](const rearm::EpochReport& r) {
      log.write(r);
      progress.epoch(r);
    };
    support::catch_signals();
    rearm::Trainer<B, support::LightGcn<B>> trainer(ctx, model, data, config, options);
    const rearm::TrainResult result = support::run_trainer(trainer);
    progress.clear();
    if (result.best_epoch < 0) return 0;
    for (const auto& [name, value] : result.test) std::printf("test %s %.4f\n", name.c_str(), value);
    support::write_result(out, data, config, "lightgcn", B::name(), ctx.resources().threads(), result,
                          {{"features", "none"}, {"interrupted", result.interrupted}});
    return 0;
  });
}
