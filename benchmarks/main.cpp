// Training steps, graph building, evaluation and single operators at the published data sets' sizes. `--help` lists the
// flags.
#include <benchmarks/benchmarks.hpp>
#include <benchmarks/support/export_shape.hpp>
#include <examples/cli/openblas.hpp>

#include <rearm/data/load_dataset.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

using namespace rearm;
using namespace rearm::bench;

namespace {

constexpr const char* help =
#if defined(REARM_BENCH_CUDA)
    "rearm_benchmarks_cuda [FLAGS] [Google Benchmark's flags]: on a GPU\n"
#else
    "rearm_benchmarks [FLAGS] [Google Benchmark's flags]\n"
#endif
    "Training steps, graph building, evaluation and single operators at the published data sets' sizes.\n\n"
    "  [--data=DIR]              a data set's folder, under its name; features narrower than the originals stay\n"
    "                            as they are. Without it pairs and features are generated, in three sizes\n"
    "  [--threads=N]             threads, on a GPU the host's, which exports; 0, the default: every CPU\n"
    "  [--scaling]               the sweep over numbers of users, items and interactions instead\n"
    "  [--export=FOLDER]         writes the first shape's pairs and graphs for benchmarks/peers before it starts\n"
#if defined(REARM_BENCH_CUDA)
    "  [--device=N]              which device, from 0\n"
    "  [--tf32]                  dense products in TF32, and held against its rate\n"
    "  [--no-deterministic]      sparse products by cuSPARSE\n"
    "  [--one-chain]             a step's branches one after the other\n"
#else
    "  [--export-models=FOLDER]  writes what peers need of the models whose steps are run\n"
#endif
    "\nEach row reports its floor, the least time that the machine allows, and x_floor, its time over that.\n"
    "A warning that the library was built as DEBUG means Google Benchmark's own loop (Debian's package is built so),\n"
    "not what is timed: rearm is compiled as CMAKE_BUILD_TYPE says.\n\n";

/// A rate in thousand millions, with five characters or all before the point.
std::string text(double rate, const char* unit) {
  const std::string digits = std::to_string(rate / 1e9);
  return digits.substr(0, std::max<std::size_t>(5, digits.find('.'))) + unit;
}

}  // namespace

int main(int argc, char** argv) {
  rearm::cli::use_best_openblas(argv);
  std::string folder;
  int threads = 0;
  bool scaling = false;
  std::string export_folder, models_folder;
  B::Options options;
  for (int i = 1; i < argc; ++i)
    if (std::string_view(argv[i]) == "--help") std::fputs(help, stdout);
  benchmark::Initialize(&argc, argv);  // with --help it prints its own flags, too, and exits
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg.rfind("--data=", 0) == 0) {
      folder = arg.substr(7);
    } else if (arg.rfind("--threads=", 0) == 0) {
      threads = std::atoi(arg.c_str() + 10);
    } else if (arg.rfind("--export=", 0) == 0) {
      export_folder = arg.substr(9);
    } else if (arg.rfind("--export-models=", 0) == 0) {
      models_folder = arg.substr(16);
    } else if (arg == "--scaling") {
      scaling = true;
#if defined(REARM_BENCH_CUDA)
    } else if (arg.rfind("--device=", 0) == 0) {
      options.device = std::atoi(arg.c_str() + 9);
      cudaSetDevice(options.device);  // so that no other is opened
    } else if (arg == "--tf32") {
      options.tf32 = true;
    } else if (arg == "--no-deterministic") {
      options.deterministic = false;
    } else if (arg == "--one-chain") {
      options.branches = false;
#endif
    } else {
      std::fprintf(stderr, "rearm_benchmarks: unknown argument '%s'; --help lists the flags\n", argv[i]);
      return 2;
    }
  }
  try {
#if defined(REARM_BENCH_CUDA)
    Machine machine(options);
    benchmark::AddCustomContext("device", machine.context().resources().device_name());
    benchmark::AddCustomContext("dense products", options.tf32 ? "TF32" : "FP32");
    benchmark::AddCustomContext("sparse products", options.deterministic ? "in a fixed order" : "cuSPARSE");
    benchmark::AddCustomContext("branches of a step", options.branches ? "beside each other" : "one after the other");
#else
    options.threads = threads;
    Machine machine(options);
    benchmark::AddCustomContext("threads", std::to_string(machine.context().resources().threads()));
#endif
    benchmark::AddCustomContext("a DEBUG library", "if it says so: Google Benchmark's own loop, not what is timed");
    benchmark::AddCustomContext("sgemm", text(machine.sgemm(), " GFLOP/s"));
    benchmark::AddCustomContext("triad", text(machine.triad(), " GB/s"));
    benchmark::AddCustomContext("gather of 26,495 rows", text(machine.gather(26495), " GB/s"));
    std::vector<Shape> shapes;
    if (!folder.empty()) {
      const std::filesystem::path path = std::filesystem::weakly_canonical(folder);
      std::string name = path.filename().empty() ? path.parent_path().filename() : path.filename();
      std::string preset_name = "baby";
      for (const char* known : {"baby", "sports", "clothing"})
        if (name.rfind(known, 0) == 0) name = preset_name = known;
      shapes.push_back({name, preset_name, [=] { return load_dataset(path); }});
    } else if (!scaling) {
      shapes.push_back(generated_shape("baby", "baby", 19445, 7050, 8.27));
      shapes.push_back(generated_shape("sports", "sports", 35598, 18357, 8.32));
      shapes.push_back(generated_shape("clothing", "clothing", 39387, 23033, 7.08));
    }
    if (!export_folder.empty() && !shapes.empty()) export_shape(shapes.front(), threads, export_folder);
    for (const Shape& shape : shapes) {
      register_train_steps(shape, machine);
      register_graph_build(shape, machine);
      register_evaluation(shape, machine);
      register_operators(shape, machine);
    }
#if !defined(REARM_BENCH_CUDA)
    if (!shapes.empty()) {
      // Generated features are as wide as those that the data folders hold.
      Shape shape = shapes.front();
      if (folder.empty()) shape = generated_shape("baby", "baby", 19445, 7050, 8.27, {384, 384});
      register_models(shape, machine, models_folder);
    }
#endif
    if (scaling) register_scaling(machine);
    benchmark::RunSpecifiedBenchmarks();
  } catch (const Error& e) {
    std::fprintf(stderr, "rearm_benchmarks: %s\n", e.what());
    return 2;
  }
  return 0;
}
