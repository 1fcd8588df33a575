// Trains on the CPU and on a GPU from the same seed, and shows where the two runs agree and how long they take.
#include "support/host_training.hpp"
#include "support/modality_weights.hpp"
#include "support/program.hpp"
#include "support/settings.hpp"

#include <rearm/cuda.cuh>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace {

using Gpu = rearm::CudaBackend<float>;
using rearm::Index;
namespace support = rearm::support;

/// Losses whose relative difference is below it differ by no more than the rounding of float sums in another order.
constexpr double rounding = 1e-5;

struct Arguments {
  std::filesystem::path dir;
  std::string preset, features;
  bool synthetic = false, deterministic = true, tf32 = false;
  int epochs = 3, threads = 0;
  Index users = 2000;
  std::uint64_t seed = 2025;
};

struct Run {
  std::vector<rearm::EpochReport> epochs;
  /// Of the epochs' means: on a GPU a single step only starts its work.
  double step_seconds(Index steps) const {
    std::vector<double> seconds;
    for (const rearm::EpochReport& r : epochs) seconds.push_back(r.train_seconds / static_cast<double>(steps));
    std::ranges::sort(seconds);
    return seconds.at(seconds.size() / 2);
  }
};

rearm::Dataset load(const Arguments& args) {
  if (!args.synthetic) return rearm::load_dataset(args.dir);
  rearm::SyntheticSettings s;
  s.n_users = args.users;
  s.n_items = std::max<Index>(args.users * 3 / 5, 10);
  return rearm::make_synthetic(s);
}

rearm::Config settings(const Arguments& args, rearm::Dataset& data) {
  rearm::Config config;
  if (!args.preset.empty())
    config = rearm::preset(args.preset);
  else if (args.synthetic)
    config = support::synthetic_config();
  if (!args.features.empty()) support::set_field(config, "features", {args.features});
  config.seed = args.seed;
  config.epochs = config.patience = args.epochs;
  config.eval_every = 1;
  support::choose_modalities(config, {}, data);
  rearm::validate(config, static_cast<int>(data.modalities.size()));
  return config;
}

void print(const Run& cpu, const Run& gpu, Index steps) {
  std::printf("epoch      loss cpu     loss cuda  rel. difference  R@20 cpu  R@20 cuda\n");
  int first = -1;
  for (std::size_t e = 0; e < cpu.epochs.size(); ++e) {
    const rearm::EpochReport& a = cpu.epochs[e];
    const rearm::EpochReport& b = gpu.epochs.at(e);
    const double difference = std::abs(a.losses.total - b.losses.total) / std::abs(a.losses.total);
    if (first < 0 && !(difference <= rounding)) first = a.epoch;
    std::printf("%5d  %12.7f  %12.7f  %15.1e  %8.4f  %9.4f\n", a.epoch, a.losses.total, b.losses.total, difference,
                a.valid.at("recall@20"), b.valid.at("recall@20"));
  }
  const double slow = cpu.step_seconds(steps), fast = gpu.step_seconds(steps);
  std::printf("median step: cpu %.3f ms, cuda %.3f ms, ratio %.2f\n", slow * 1e3, fast * 1e3, slow / fast);
  if (first < 0)
    std::printf("the losses never differ by more than rounding (relative %.0e)\n", rounding);
  else
    std::printf("the losses differ by more than rounding (relative %.0e) from epoch %d on\n", rounding, first);
}

int compare(const Arguments& args) {
  if (args.dir.empty() != args.synthetic)
    throw rearm::ConfigError("give either a folder with a data set or --synthetic; see --help");
  if (rearm::cuda::device_count() == 0)
    throw rearm::ConfigError("there is no CUDA device on this machine (or no driver for it) to compare the CPU with");
  rearm::Context<Gpu> ctx({.tf32 = args.tf32, .deterministic = args.deterministic}, args.seed);
  rearm::Dataset data = load(args);
  const rearm::Config config = settings(args, data);
  const Index steps = (data.train.size() + config.batch_size - 1) / config.batch_size;
  std::printf("%s: %td users, %td items, %td steps an epoch, features %s, seed %llu; %s, %s, %s sparse products\n",
              data.name.c_str(), data.n_users, data.n_items, steps, std::string(to_string(config.features)).c_str(),
              static_cast<unsigned long long>(args.seed), ctx.resources().device_name().c_str(),
              args.tf32 ? "TF32" : "FP32", args.deterministic ? "our" : "cuSPARSE's");
  std::fflush(stdout);

  // The same graphs for both: what differs then is the training.
  rearm::GraphSet<float> graphs = support::build_host_graphs(data, config, args.threads);
  Run cpu, gpu;
  const auto job = [&](Run& run) {
    rearm::TrainOptions options;
    options.on_epoch = [&run](const rearm::EpochReport& r) { run.epochs.push_back(r); };
    return support::TrainingJob{&data, config, {}, options, {}};
  };
  support::run_training<Gpu>(ctx, job(gpu), rearm::copy_graphs<Gpu>(graphs));
  support::TrainingJob on_cpu = job(cpu);
  on_cpu.graphs = std::move(graphs);
  support::run_training_on_cpu(args.threads, std::move(on_cpu));
  print(cpu, gpu, steps);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Trains the same data on the CPU and on a GPU and compares losses, metrics and times.",
               "compare_backends");
  Arguments args;
  app.add_option("DIR", args.dir, "folder with train, valid and test pairs and features");
  app.add_flag("--synthetic", args.synthetic, "train on a generated data set");
  app.add_option("--users", args.users, "users of the generated data set (2000); it has 3 items for 5 users");
  app.add_option("--preset", args.preset, "published settings: baby, sports or clothing");
  app.add_option("--features", args.features, "trainable, residual or frozen");
  app.add_option("--epochs", args.epochs, "epochs (3)")->check(CLI::PositiveNumber);
  app.add_option("--seed", args.seed, "seed of both runs (2025)");
  app.add_option("--threads", args.threads, "threads of the CPU, 0 for all CPUs");
  app.add_flag("--tf32", args.tf32, "dense products on the GPU in TF32");
  app.add_flag("--deterministic,!--no-deterministic", args.deterministic,
               "sparse products on the GPU by our kernel (the default) or by cuSPARSE");
  return support::run_program(app, argc, argv, [&] { return compare(args); });
}
