// Trains REARM on a folder with one of the Amazon data sets: train_amazon DIR [PRESET [OUT]]
// PRESET is baby, sports or clothing (the folder's name if it is one of them). Interrupt it and start it again: it goes
// on where it was. The command `rearm train` has every setting and every model as flags.
#include <rearm/rearm.hpp>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <string>

namespace {
volatile std::sig_atomic_t signalled = 0;

int train(const std::filesystem::path& dir, std::string preset, std::filesystem::path out) {
  using B = rearm::CpuBackend<float>;
  const rearm::Dataset data = rearm::load_dataset(dir);
  std::printf("%s: %td users, %td items, %td train pairs; features: %s\n", data.name.c_str(), data.n_users,
              data.n_items, data.train.size(), data.features_are.c_str());
  for (const std::string& warning : data.warnings) std::printf("note: %s\n", warning.c_str());

  const rearm::RearmSettings settings = rearm::preset(preset);
  std::filesystem::create_directories(out);
  rearm::Context<B> ctx({}, settings.train.seed);
  rearm::Model<B> model(ctx, data, settings.model, {.cache_dir = out / "cache", .progress = {}});

  rearm::TrainOptions options;
  options.interrupted = [] { return signalled != 0; };
  options.on_epoch = [](const rearm::EpochReport& r) {
    std::printf("epoch %d: loss %.4f, valid recall@20 %.4f%s, %.1f s\n", r.epoch, r.losses.total,
                r.valid.empty() ? 0.0 : r.valid.at("recall@20"), r.improved ? " *" : "",
                r.train_seconds + r.valid_seconds);
    std::fflush(stdout);
  };
  const rearm::TrainResult result =
      rearm::train(ctx, model, data, settings, {.directory = out, .resume = true}, options);
  if (result.best_epoch < 0) return 0;
  std::printf("best epoch %d of %d: test recall@20 %.4f, ndcg@20 %.4f; the model is in %s\n", result.best_epoch,
              result.epochs, result.test.at("recall@20"), result.test.at("ndcg@20"), out.c_str());
  return std::fflush(stdout) != 0 || std::ferror(stdout) != 0 ? 1 : 0;
}
}  // namespace

int main(int argc, char** argv) try {
  std::signal(SIGINT, [](int) { signalled = 1; });
  std::signal(SIGTERM, [](int) { signalled = 1; });
  for (int i = 1; i < argc; ++i)
    if (argv[i][0] == '-')
      throw rearm::ConfigError(std::string(argv[i]) + ": options are those of `rearm train`, which takes them all");
  if (argc < 2 || argc > 4) throw rearm::ConfigError("give a folder: train_amazon DIR [PRESET [OUT]]");
  const std::string name = std::filesystem::weakly_canonical(argv[1]).filename().string();
  return train(argv[1], argc > 2 ? argv[2] : name, argc > 3 ? argv[3] : "out/" + name);
} catch (const rearm::Error& e) {
  std::fprintf(stderr, "train_amazon: %s\n", e.what());
  return 2;
}
