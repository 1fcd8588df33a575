// One training step: sampling, forward, losses, backward, update.
#include <benchmarks/benchmarks.hpp>

#include <sys/resource.h>

namespace rearm::bench {
namespace {

/// What a step on a batch of that many triples cannot avoid, parameters aside. Counted: projections, meta network,
/// contrast (dense); raw features and the n x 3d arrays (streamed); sparse products and the batch's rows (gathered).
/// Not counted: exponentials, random bits, normalisations, whatever is computed twice.
Work step_work(const Dataset& data, const Config& c, const Graphs<B>& graphs, const Batch& batch) {
  const Index n = data.n_users + data.n_items;
  const Index d = c.embedding_dim;
  const auto modalities = static_cast<Index>(data.modalities.size());
  const Index width = d * (1 + modalities);
  const bool trainable = c.features == Features::trainable;
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
  const double homograph = static_cast<double>(graphs.user_homograph.nonzeros()) * c.n_uu_layers +
                           static_cast<double>(graphs.item_homograph.nonzeros()) * c.n_ii_layers;
  w.gathered +=
      2 * (homograph + static_cast<double>(graphs.interaction.nonzeros()) * c.n_ui_layers) * bytes_of(1, width);
  w.gathered += 2 * bytes_of(3 * static_cast<Index>(batch.users.size()), width);
  return w;
}

void train_step(benchmark::State& state, const Shape& shape, Machine& machine, const Config& c) {
  const Dataset& data = dataset(shape);
  Context<B> ctx({.threads = machine.threads()}, c.seed);
  Graphs<B> graphs = build_graphs<B>(ctx, data, c, {});
  PairSampler sampler(data.train, known_items(data, true), data.n_items, c.batch_size, c.seed);
  sampler.begin_epoch(0);
  Batch batch;
  sampler.next(batch);
  Work work = step_work(data, c, graphs, batch);
  Model<B> model(ctx, data, c, std::move(graphs));
  Index trainable_scalars = 0;
  for (const Parameter<B>& p : model.parameters())
    if (p.trainable) trainable_scalars += p.value.size();
  work.streamed += 24.0 * static_cast<double>(trainable_scalars);  // value and two moments, read and written
  AdamW<B> optimizer({.learning_rate = c.learning_rate, .weight_decay = c.weight_decay});
  Tape<B> tape(ctx);
  tape.set_fused_tables(true);
  std::uint32_t step = 0;
  const auto one_step = [&] {
    if (!sampler.next(batch)) {
      sampler.begin_epoch(++step);
      sampler.next(batch);
    }
    tape.reset();
    const auto losses = model.loss(tape, batch, step++);
    tape.backward(losses.total, AfterBackward::release);
    optimizer.step(ctx, model.parameters());
    benchmark::DoNotOptimize(losses.total.value().data);
  };
  for (int i = 0; i < 3; ++i) one_step();  // the arena finds its size and the moments are made
  measure(state, machine, data.n_users + data.n_items, work, one_step);
  state.counters["parameters"] = static_cast<double>(trainable_scalars);
  state.counters["arena_MB"] = static_cast<double>(ctx.arena().capacity()) / 1e6;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  state.counters["process_peak_MB"] = static_cast<double>(usage.ru_maxrss) * 1024 / 1e6;
}

}  // namespace

void register_train_steps(const Shape& shape, Machine& machine) {
  const auto add = [&](Variant variant, Features features) {
    add_benchmark("train_step/" + std::string(to_string(variant)) + "/" + std::string(to_string(features)) + "/" +
                      shape.name + "/cpu",
                  [=, &machine](benchmark::State& s) {
                    train_step(s, shape, machine, settings(shape, dataset(shape), variant, features));
                  });
  };
  for (const Features features : {Features::trainable, Features::residual, Features::frozen})
    add(Variant::reference, features);
  add(Variant::paper, Features::frozen);
}

void export_shape(const Shape& shape, Machine& machine, const std::filesystem::path& folder) {
  const Dataset& data = dataset(shape);
  const Config c = settings(shape, data, Variant::reference, Features::trainable);
  Context<B> ctx({.threads = machine.threads()}, c.seed);
  const Graphs<B> graphs = build_graphs<B>(ctx, data, c, {});
  std::filesystem::create_directories(folder);
  const auto write = [&](const std::string& name, const Csr<float>& m) {
    write_npy(folder / (name + "_offsets.npy"), m.offsets.span(), {m.rows + 1});
    write_npy(folder / (name + "_indices.npy"), m.indices.span(), {m.nonzeros()});
    write_npy(folder / (name + "_values.npy"), m.values.span(), {m.nonzeros()});
  };
  write("interaction", graphs.interaction.matrix());
  write("user", graphs.user_homograph.matrix());
  write("item", graphs.item_homograph.matrix());
  std::vector<std::int64_t> pairs(data.train.users.begin(), data.train.users.end());
  pairs.insert(pairs.end(), data.train.items.begin(), data.train.items.end());
  write_npy(folder / "train.npy", pairs, {2, data.train.size()});
  nlohmann::json json = to_json(c);
  json["n_users"] = data.n_users;
  json["n_items"] = data.n_items;
  for (const Modality& m : data.modalities) json["widths"].push_back(m.features.cols());
  write_file_atomically(folder / "shape.json", [&](std::ostream& out) { out << json.dump(2) << '\n'; });
}

void register_scaling(Machine& machine) {
  for (const Index n_users : {10'000, 30'000, 100'000, 300'000, 1'000'000}) {
    const std::string name = "users-" + std::to_string(n_users);
    const Shape shape = generated_shape(name, "baby", n_users, n_users * 2 / 5, 10, {64, 64});
    add_benchmark("train_step/reference/frozen/" + name + "/cpu", [=, &machine](benchmark::State& s) {
      Config c = settings(shape, dataset(shape), Variant::reference, Features::frozen);
      c.embedding_dim = 32;
      c.use_sim = false;  // kNN grows faster than the rest and is not what is measured
      train_step(s, shape, machine, c);
      s.counters["users"] = static_cast<double>(n_users);
    });
  }
}

}  // namespace rearm::bench
