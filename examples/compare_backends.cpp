// Trains a model of the list on the CPU and on a GPU from the same seed, and shows where the two runs agree and how
// long they take.
#include <rearm/data/load_dataset.hpp>
#include <rearm/data/synthetic.hpp>

#include <CLI/CLI.hpp>
#include <model_entry.hpp>
#include <openblas.hpp>
#include <training.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

namespace {

namespace cli = rearm::cli;
using Epochs = std::vector<rearm::EpochReport>;

/// Losses whose relative difference is below it differ by no more than the rounding of float sums in another order.
constexpr double rounding = 1e-5;

struct Arguments {
  std::string dir, model = "rearm", preset, features;
  bool synthetic = false;
  int epochs = 3, threads = 0;
  std::uint64_t seed = 2025;
  rearm::Index users = 2000;
  cli::CudaRun cuda;
};

/// Where both runs have their graphs, for as long as this lives.
struct GraphFolder {
  std::string path = (std::filesystem::temp_directory_path() / "compare_backends.XXXXXX").string();
  GraphFolder() {
    if (::mkdtemp(path.data()) == nullptr) throw rearm::IoError(path + ": cannot be created; set TMPDIR");
  }
  GraphFolder(const GraphFolder&) = delete;
  GraphFolder& operator=(const GraphFolder&) = delete;
  ~GraphFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

/// The preset, and what the flags say.
void apply_settings(const Arguments& args, cli::ModelEntry& entry) {
  if (!args.preset.empty())
    entry.take_preset(args.preset);
  else if (args.synthetic && entry.has_presets())
    entry.take_preset("synthetic");
  else if (entry.name() == "rearm")
    entry.take_preset("baby");
  if (!args.features.empty()) entry.settings().set("model.features", args.features);
  entry.settings().set("train.epochs", args.epochs);
  entry.settings().set("train.patience", args.epochs);
  entry.settings().set("train.seed", args.seed);
}

int compare(const Arguments& args) {
  if (args.dir.empty() != args.synthetic) throw rearm::ConfigError("give either a folder or --synthetic; see --help");
  cli::require_cuda(args.cuda);
  rearm::SyntheticSettings made;
  made.n_users = args.users;
  made.n_items = std::max<rearm::Index>(args.users * 3 / 5, 10);
  rearm::Dataset data = args.synthetic ? rearm::make_synthetic(made) : rearm::load_dataset(args.dir);
  const auto entry = cli::make_entry(args.model);
  apply_settings(args, *entry);
  entry->choose_modalities(data, {});
  entry->check(data);

  // The same graphs for both: what differs then is the training.
  const GraphFolder folder;
  rearm::GraphOptions graphs;
  graphs.cache_dir = folder.path;
  graphs.of_any_backend = true;
  const auto keep_in = [](Epochs& epochs) {
    rearm::TrainOptions options;
    options.on_epoch = [&epochs](const rearm::EpochReport& r) { epochs.push_back(r); };
    return options;
  };
  Epochs cpu, gpu;
  std::string device;
  rearm::Context<cli::Cpu> ctx({.threads = args.threads}, entry->train().seed);
  cli::train_in_memory(ctx, *entry, data, keep_in(cpu), graphs);
  cli::train_in_memory_on_cuda(args.cuda, *entry, data, keep_in(gpu), graphs, device);

  const std::string& watch = entry->train().watch;
  std::printf("%s, %s, on %s\n", data.name.c_str(), args.model.c_str(), device.c_str());
  std::printf("epoch      loss cpu     loss cuda  rel. difference  %s cpu  cuda\n", watch.c_str());
  int first = -1;
  for (std::size_t e = 0; e < cpu.size() && e < gpu.size(); ++e) {
    const double a = cpu[e].losses.total, b = gpu[e].losses.total;
    const double difference = std::abs(a - b) / std::abs(a);
    if (first < 0 && !(difference <= rounding)) first = cpu[e].epoch;
    std::printf("%5d  %12.7f  %12.7f  %15.1e  %8.4f  %9.4f\n", cpu[e].epoch, a, b, difference, cpu[e].valid.at(watch),
                gpu[e].valid.at(watch));
  }
  const rearm::Index steps = (data.train.size() + entry->train().batch_size - 1) / entry->train().batch_size;
  const auto step_ms = [&](Epochs epochs) {  // on a GPU a single step only starts its work
    std::ranges::sort(epochs, {}, &rearm::EpochReport::train_seconds);
    return epochs.at(epochs.size() / 2).train_seconds / static_cast<double>(steps) * 1e3;
  };
  std::printf("median step: cpu %.3f ms, cuda %.3f ms, ratio %.2f\n", step_ms(cpu), step_ms(gpu),
              step_ms(cpu) / step_ms(gpu));
  std::printf("losses beyond rounding (relative %.0e): %s\n", rounding,
              first < 0 ? "never" : ("from epoch " + std::to_string(first)).c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  cli::use_best_openblas(argv);
  CLI::App app("Trains the same data on the CPU and on a GPU and compares losses, metrics and times.",
               "compare_backends");
  Arguments args;
  app.add_option("DIR", args.dir, "folder with train, valid and test pairs and features");
  app.add_flag("--synthetic", args.synthetic, "train on a generated data set");
  app.add_option("--users", args.users, "users of the generated data set (2000); it has 3 items for 5 users");
  app.add_option("--model", args.model, "the model (rearm); `rearm models` lists them")
      ->check(CLI::IsMember(cli::entry_names()));
  app.add_option("--preset", args.preset, "the model's settings: of rearm baby, sports, clothing or synthetic");
  app.add_option("--features", args.features, "of rearm: trainable, residual or frozen");
  app.add_option("--epochs", args.epochs, "epochs (3)")->check(CLI::PositiveNumber);
  app.add_option("--seed", args.seed, "seed of both runs (2025)");
  app.add_option("--threads", args.threads, "threads of the CPU, 0 for all CPUs that may be used");
  app.add_option("--device", args.cuda.device, "which GPU (0)")->check(CLI::NonNegativeNumber);
  app.add_flag("--tf32", args.cuda.tf32, "dense products on the GPU in TF32");
  app.add_flag("--deterministic,!--no-deterministic", args.cuda.deterministic,
               "sparse products on the GPU by our kernel (the default) or by cuSPARSE");
  CLI11_PARSE(app, argc, argv);
  try {
    return compare(args);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "compare_backends: %s\n", e.what());
    return 2;
  }
}
