// Trains on the CPU and on a GPU from the same seed, and shows where the two runs agree and how long they take.
#include "compare_backends_cpu.hpp"

#include <rearm/cuda.cuh>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace {

/// Losses whose relative difference is below it differ by no more than the rounding of float sums in another order.
constexpr double rounding = 1e-5;

struct Arguments {
  std::string dir, preset, features;
  bool synthetic = false, deterministic = true, tf32 = false;
  int epochs = 3, threads = 0, device = 0;
  rearm::Index users = 2000;
  std::uint64_t seed = 2025;
};

int compare(const Arguments& args) {
  using Gpu = rearm::CudaBackend<float>;
  if (args.dir.empty() != args.synthetic) throw rearm::ConfigError("give either a folder or --synthetic; see --help");
  std::string why;
  if (rearm::gpu::device_count(&why) == 0)
    throw rearm::ConfigError("there is no CUDA device on this machine (or no driver for it) to compare the CPU with" +
                             why);
  rearm::SyntheticSettings made;
  made.n_users = args.users;
  made.n_items = std::max<rearm::Index>(args.users * 3 / 5, 10);
  rearm::Dataset data = args.synthetic ? rearm::make_synthetic(made) : rearm::load_dataset(args.dir);
  std::string preset = args.preset;
  if (preset.empty()) preset = args.synthetic ? "synthetic" : "baby";
  rearm::RearmSettings settings = rearm::preset(preset);
  if (!args.features.empty()) rearm::parse("features", args.features, settings.model.features.kind);
  settings.train.epochs = settings.train.patience = args.epochs;
  settings.train.seed = args.seed;
  cudaSetDevice(args.device);  // so that no other is opened
  rearm::Context<Gpu> ctx({.device = args.device, .tf32 = args.tf32, .deterministic = args.deterministic}, args.seed);

  // The same graphs for both: what differs then is the training.
  const rearm::GraphSet<float> graphs = build_on_cpu(data, settings, args.threads);
  rearm::Model<Gpu> model(ctx, data, settings.model, rearm::copy_graphs<Gpu>(graphs));
  std::vector<rearm::EpochReport> gpu;
  rearm::TrainOptions options;
  options.on_epoch = [&](const rearm::EpochReport& r) { gpu.push_back(r); };
  rearm::train(ctx, model, data, settings, {}, options);
  const std::vector<rearm::EpochReport> cpu = train_on_cpu(data, settings, graphs, args.threads);

  std::printf("%s, %s, on %s\n", data.name.c_str(), preset.c_str(), ctx.resources().device_name().c_str());
  std::printf("epoch      loss cpu     loss cuda  rel. difference  R@20 cpu  R@20 cuda\n");
  int first = -1;
  for (std::size_t e = 0; e < cpu.size() && e < gpu.size(); ++e) {
    const double a = cpu[e].losses.total, b = gpu[e].losses.total;
    const double difference = std::abs(a - b) / std::abs(a);
    if (first < 0 && !(difference <= rounding)) first = cpu[e].epoch;
    std::printf("%5d  %12.7f  %12.7f  %15.1e  %8.4f  %9.4f\n", cpu[e].epoch, a, b, difference,
                cpu[e].valid.at("recall@20"), gpu[e].valid.at("recall@20"));
  }
  const rearm::Index steps = (data.train.size() + settings.train.batch_size - 1) / settings.train.batch_size;
  const auto step_ms = [&](std::vector<rearm::EpochReport> epochs) {  // on a GPU a single step only starts its work
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
  app.add_option("--threads", args.threads, "threads of the CPU, 0 for all CPUs that may be used");
  app.add_option("--device", args.device, "which GPU (0)")->check(CLI::NonNegativeNumber);
  app.add_flag("--tf32", args.tf32, "dense products on the GPU in TF32");
  app.add_flag("--deterministic,!--no-deterministic", args.deterministic,
               "sparse products on the GPU by our kernel (the default) or by cuSPARSE");
  CLI11_PARSE(app, argc, argv);
  try {
    return compare(args);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "compare_backends: %s\n", e.what());
    return 2;
  }
}
