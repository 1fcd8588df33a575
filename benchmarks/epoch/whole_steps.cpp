// One training step: sampling, forward, losses, backward, update.
#include <benchmarks/benchmarks.hpp>
#include <benchmarks/epoch/steps.hpp>

namespace rearm::bench {
namespace {

/// Steps of a device that are timed together.
constexpr int device_steps = 10;

/// What a step on a batch of that many triples cannot avoid, parameters aside. Counted: projections, meta network,
/// contrast (dense); raw features and the n x 3d arrays (streamed); sparse products and the batch's rows (gathered).
/// Not counted: exponentials, random bits, normalizations, whatever is computed twice.
Work step_work(const Dataset& data, const RearmConfig& c, const Graphs<B>& graphs, const Batch& batch) {
  const Index n = data.n_users + data.n_items;
  const Index d = c.embedding_dim;
  const auto modalities = static_cast<Index>(data.modalities.size());
  const Index width = d * (1 + modalities);
  const bool trainable = c.features.kind == Features::trainable;
  Work w;
  for (const Modality& m : data.modalities) {
    const Index p = m.features.cols();
    if (trainable) {
      w.flops += 3 * product_flops(n, d, p);
    } else {
      w.flops += 2 * product_flops(2 * data.n_items, d, p);
      w.streamed += bytes_of(data.n_items, p);
      w.gathered += 2 * bytes_of(data.train.size(), d);
    }
  }
  if (c.use_meta) {
    const Index dk = d * c.rank;
    w.flops += product_flops(n, d, modalities * d) + 2 * (2 * product_flops(n, dk, d) + 3 * product_flops(n, dk, dk));
  }
  if (c.cl_weight > 0 && modalities > 1) {
    const auto contrast = [&](Index rows) {
      return static_cast<double>(modalities * (modalities - 1) / 2) * 3 * product_flops(rows, rows, d);
    };
    if (c.variant == Variant::reference) {
      const auto count = [](std::vector<Id> ids) {
        std::sort(ids.begin(), ids.end());
        return static_cast<Index>(std::unique(ids.begin(), ids.end()) - ids.begin());
      };
      std::vector<Id> items = batch.positives;
      items.insert(items.end(), batch.negatives.begin(), batch.negatives.end());
      w.flops += contrast(count(batch.users)) + contrast(count(items));
    } else {
      w.flops += contrast(data.n_users) + contrast(data.n_items);
    }
  }
  w.streamed += 4.0 * static_cast<double>(3 + c.n_ui_layers) * bytes_of(n, width);  // value and gradient, twice each
  const double homograph = static_cast<double>(graphs.user_homograph.nonzeros()) * c.users.n_layers +
                           static_cast<double>(graphs.item_homograph.nonzeros()) * c.items.n_layers;
  w.gathered +=
      2 * (homograph + static_cast<double>(graphs.interaction.nonzeros()) * c.n_ui_layers) * bytes_of(1, width);
  w.gathered += 2 * bytes_of(3 * static_cast<Index>(batch.users.size()), width);
  return w;
}

void train_step(benchmark::State& state, const Shape& shape, Machine& machine, const RearmSettings& s) {
  forget_peak();
  const Dataset& data = dataset(shape);
  const TrainConfig& c = s.train;
  Context<B> ctx(machine.options(), c.seed);
  Graphs<B> graphs = build_graphs<B>(ctx, data, s.model);
  Batch first;
  PairSampler(data.train, known_items(data, true), data.n_items, c.batch_size, c.seed).next(first);
  Work work = step_work(data, s.model, graphs, first);
  Model<B> model(ctx, data, s.model, std::move(graphs));
  Index trainable_scalars = 0;
  model.parameters().for_each([&](const auto& p) {
    if (!p.trainable) return;
    const Index n = p.rows() * p.cols();
    trainable_scalars += n;
    // Value and two moments, read and written.
    work.streamed += 2.0 * static_cast<double>(n) * ((p.rounded() ? 2 : 4) + (c.bfloat16_moments ? 4 : 8));
  });
  Steps steps(ctx, model, data, c);
  const auto one_step = [&] { steps(); };
  // The arena finds its size, the moments are made, and on a device a step is recorded.
  for (int i = 0; i < (on_host ? 3 : 8); ++i) one_step();
  measure(state, machine, ctx, data.n_users + data.n_items, work, one_step, on_host ? 1 : device_steps);
  state.counters["parameters"] = static_cast<double>(trainable_scalars);
  if (!on_host) {
    state.counters["launches"] = static_cast<double>(steps.launches());
    if (steps.launches() == 0) state.SkipWithError(("the step was not recorded: " + steps.failure()).c_str());
  }
  state.counters["arena_MB"] = static_cast<double>(ctx.arena_capacity()) / 1e6;
  report_memory(state);
}

/// Whole epochs of the trainer: sampling, steps, losses read as often as it does, validation. One iteration an epoch,
/// the first one's warming up included; the counters are medians.
[[maybe_unused]] void whole_epoch(benchmark::State& state, const Shape& shape, Machine& machine, RearmSettings s) {
  forget_peak();
  const Dataset& data = dataset(shape);
  Context<B> ctx(machine.options(), s.train.seed);
  Model<B> model(ctx, data, s.model);
  s.train.epochs = s.train.patience = 1'000'000;
  std::vector<double> train, valid, whole;
  bool done = false;
  TrainOptions options;
  options.interrupted = [&] { return done; };
  options.on_epoch = [&](const EpochReport& r) {
    train.push_back(r.train_seconds);
    valid.push_back(r.valid_seconds);
    whole.push_back(r.train_seconds + r.valid_seconds);
    done = !state.KeepRunning();
  };
  if (!state.KeepRunning()) return;
  Trainer<B>(ctx, model, data, s.train, options).run();
  const auto median_ms = [](std::vector<double> seconds) {
    std::ranges::sort(seconds);
    return 1e3 * seconds[seconds.size() / 2];
  };
  state.counters["median_ms"] = median_ms(whole);
  state.counters["train_ms"] = median_ms(train);
  state.counters["valid_ms"] = median_ms(valid);
  state.counters["steps"] = static_cast<double>((data.train.size() + s.train.batch_size - 1) / s.train.batch_size);
  report_memory(state);
}

}  // namespace

void register_train_steps(const Shape& shape, Machine& machine) {
  const auto add = [&](Variant variant, Features features, bool bfloat16 = false) {
    add_benchmark("train_step/" + std::string(to_string(variant)) + "/" + std::string(to_string(features)) +
                      (bfloat16 ? "-bfloat16" : "") + "/" + shape.name + backend_suffix(),
                  [=, &machine](benchmark::State& state) {
                    RearmSettings s = settings(shape, dataset(shape), variant, features);
                    s.model.features.bfloat16_tables = s.train.bfloat16_moments = bfloat16;
                    train_step(state, shape, machine, s);
                  });
  };
  for (const Features features : {Features::trainable, Features::residual, Features::frozen})
    add(Variant::reference, features);
  add(Variant::reference, Features::trainable, true);
  add(Variant::paper, Features::frozen);
  if constexpr (!on_host)
    add_benchmark("epoch/reference/trainable/" + shape.name + backend_suffix(), [=, &machine](benchmark::State& s) {
      whole_epoch(s, shape, machine, settings(shape, dataset(shape), Variant::reference, Features::trainable));
    });
}

void register_scaling(Machine& machine) {
  const auto add = [&](const std::string& swept, Index value, Index n_users, Index n_items, Index pairs_per_user) {
    const std::string name = swept + "-" + std::to_string(value);
    const Shape shape = generated_shape(name, "baby", n_users, n_items, static_cast<double>(pairs_per_user), {64, 64});
    add_benchmark("train_step/reference/frozen/" + name + backend_suffix(), [=, &machine](benchmark::State& state) {
      RearmSettings s = settings(shape, dataset(shape), Variant::reference, Features::frozen);
      s.model.embedding_dim = 32;
      s.model.use_sim = false;  // kNN grows faster than the rest and is not what is measured
      train_step(state, shape, machine, s);
      state.counters[swept] = static_cast<double>(value);
    });
  };
  for (const Index n : {10'000, 30'000, 100'000, 300'000, 1'000'000}) add("users", n, n, n * 2 / 5, 10);
  for (const Index n : {10'000, 40'000, 100'000, 300'000}) add("items", n, 100'000, n, 10);
  for (const Index n : {5, 10, 20, 40, 80}) add("interactions", n * 100'000, 100'000, 40'000, n);
}

}  // namespace rearm::bench
