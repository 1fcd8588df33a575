// Whole training steps, graph building and evaluation at the published data sets' sizes.
//   rearm_benchmarks [--data=DIR] [--threads=N] [Google Benchmark's own flags]
// Without --data the interactions and features are generated at the size that the name says; with it `data` is the
// shape.
#include <rearm/rearm.hpp>

#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace rearm;
using B = CpuBackend<float>;

struct Shape {
  std::string name;
  std::string preset;
  std::function<Dataset()> load;
};

Shape generated(const std::string& name, Index n_users, Index n_items, double pairs_per_user) {
  return {name, name, [=] {
            SyntheticSettings s;
            s.n_users = n_users;
            s.n_items = n_items;
            s.pairs_per_user = pairs_per_user;
            s.widths = {4096, 384};
            return make_synthetic(s);
          }};
}

// The last shape asked for stays loaded: the benchmarks run shape by shape.
const Dataset& dataset(const Shape& shape) {
  static std::pair<std::string, Dataset> current;
  if (current.first != shape.name) current = {shape.name, shape.load()};
  return current.second;
}

Config settings(const Shape& shape, const Dataset& data, Features features) {
  Config c = preset(shape.preset);
  c.features = features;
  if (data.modalities.size() != 2) {
    c.user_modality_weights.clear();
    c.item_modality_weights.clear();
  }
  return c;
}

void train_step(benchmark::State& state, const Shape& shape, Features features, int threads) {
  const Dataset& data = dataset(shape);
  const Config c = settings(shape, data, features);
  Context<B> ctx({.threads = threads}, c.seed);
  Model<B> model(ctx, data, c, build_graphs<B>(ctx, data, c, {}));
  AdamW<B> optimizer({.learning_rate = c.learning_rate, .weight_decay = c.weight_decay});
  PairSampler sampler(data.train, known_items(data, true), data.n_items, c.batch_size, c.seed);
  sampler.begin_epoch(0);
  Tape<B> tape(ctx);
  Batch batch;
  std::uint32_t step = 0;
  const auto one_step = [&] {
    if (!sampler.next(batch)) {
      sampler.begin_epoch(++step);
      sampler.next(batch);
    }
    tape.reset();
    const auto losses = model.loss(tape, batch, step++);
    tape.backward(losses.total);
    optimizer.step(ctx, model.parameters());
    benchmark::DoNotOptimize(losses.total.value().data);
  };
  one_step();  // the arena finds its size and the moments are made
  one_step();
  for (auto _ : state) one_step();
  state.counters["parameters"] = static_cast<double>(model.parameters().n_scalars());
  state.counters["arena_bytes"] = static_cast<double>(ctx.arena().capacity());
}

void graph_build(benchmark::State& state, const Shape& shape, int threads) {
  const Dataset& data = dataset(shape);
  const Config c = settings(shape, data, Features::frozen);
  for (auto _ : state) {
    Context<B> ctx({.threads = threads}, c.seed);
    const Graphs<B> graphs = build_graphs<B>(ctx, data, c, {});
    state.counters["nonzeros"] = static_cast<double>(graphs.interaction.nonzeros() + graphs.user_homograph.nonzeros() +
                                                     graphs.item_homograph.nonzeros());
  }
}

void evaluation(benchmark::State& state, const Shape& shape, int threads) {
  const Dataset& data = dataset(shape);
  Context<B> ctx({.threads = threads});
  const Index width = 192;
  Matrix<float> r(data.n_users + data.n_items, width);
  const RandomKey key{1, 1, 0};
  for (Index i = 0; i < r.size(); ++i) r.data()[i] = static_cast<float>(key.normal(static_cast<std::uint64_t>(i)));
  const Adjacency seen = items_by_user(data.train, data.n_users);
  const Adjacency test = items_by_user(data.test, data.n_users);
  const std::vector<Index> ks = {20};
  const std::vector<Metric> metrics = {Metric::recall};
  for (auto _ : state)
    benchmark::DoNotOptimize(evaluate<B>(ctx, r.view().row_block(0, data.n_users),
                                         r.view().row_block(data.n_users, data.n_items), &seen, test, ks, metrics));
}

void register_shape(const Shape& shape, int threads) {
  const auto unit = benchmark::kMillisecond;
  const std::string end = "/" + shape.name + "/cpu";
  for (const Features features : {Features::trainable, Features::residual, Features::frozen})
    benchmark::RegisterBenchmark(("train_step/reference/" + std::string(to_string(features)) + end).c_str(),
                                 [=](benchmark::State& s) { train_step(s, shape, features, threads); })
        ->Unit(unit)
        ->UseRealTime();
  benchmark::RegisterBenchmark(("graph_build" + end).c_str(),
                               [=](benchmark::State& s) { graph_build(s, shape, threads); })
      ->Unit(unit)
      ->UseRealTime();
  benchmark::RegisterBenchmark(("evaluate" + end).c_str(), [=](benchmark::State& s) { evaluation(s, shape, threads); })
      ->Unit(unit)
      ->UseRealTime();
}

}  // namespace

int main(int argc, char** argv) {
  std::string folder;
  int threads = 0;
  benchmark::Initialize(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg.rfind("--data=", 0) == 0) {
      folder = arg.substr(7);
    } else if (arg.rfind("--threads=", 0) == 0) {
      threads = std::atoi(arg.c_str() + 10);
    } else {
      std::fprintf(stderr, "rearm_benchmarks: unknown argument '%s'\n", argv[i]);
      return 2;
    }
  }
  try {
    if (!folder.empty()) {
      register_shape({"data", "baby", [=] { return load_dataset(folder); }}, threads);
    } else {
      register_shape(generated("baby", 19445, 7050, 8.27), threads);
      register_shape(generated("sports", 35598, 18357, 8.32), threads);
      register_shape(generated("clothing", 39387, 23033, 7.08), threads);
    }
    benchmark::RunSpecifiedBenchmarks();
  } catch (const Error& e) {
    std::fprintf(stderr, "rearm_benchmarks: %s\n", e.what());
    return 2;
  }
  return 0;
}
