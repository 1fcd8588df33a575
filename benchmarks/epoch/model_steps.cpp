// A training step and an epoch of every model. The models themselves are compiled with the program `rearm`.
#include <benchmarks/benchmarks.hpp>
#include <benchmarks/epoch/model_work.hpp>
#include <benchmarks/epoch/steps.hpp>

#include <examples/cli/make_model.hpp>

#include <functional>
#include <ostream>
#include <string_view>
#include <vector>

namespace rearm::bench {
namespace {

/// A model of the list with its default settings and batches of 2,048.
struct Candidate {
  std::string name;
  TrainConfig train;
  nlohmann::json settings;
  std::function<AnyRecommender<B>(Context<B>&, const Dataset&)> make;
};

template <template <class> class M>
Candidate candidate() {
  Settings<ModelConfig<M>> s;
  s.train.batch_size = 2048;
  nlohmann::json json = to_json(s.model);
  json.update(to_json(s.train));
  return {std::string(model_name<M>), s.train, json,
          [model = s.model](Context<B>& ctx, const Dataset& data) { return cli::make_model<M>(ctx, data, model, {}); }};
}

template <template <class> class... M>
std::vector<Candidate> candidates(Models<M...>) {
  return {candidate<M>()...};
}

/// Pairs and features, and in a folder of the model's name its settings, its initial parameters, and of its first epoch
/// the batches and every step's loss.
void export_model(const Candidate& c, const Dataset& data, const B::Options& options,
                  const std::filesystem::path& folder) {
  const std::filesystem::path own = folder / c.name;
  std::filesystem::create_directories(own / "parameters");
  const auto write = [](const std::filesystem::path& file, const auto& values) {
    write_npy(file, values, {static_cast<Index>(values.size())});
  };
  const auto write_matrix = [](const std::filesystem::path& file, ConstView<float> x) {
    Matrix<float> copy(x.rows, x.cols);
    for (Index i = 0; i < x.rows; ++i) std::copy_n(x.row(i), x.cols, copy.view().row(i));
    write_npy(file, std::span<const float>(copy.data(), static_cast<std::size_t>(copy.size())), {x.rows, x.cols});
  };
  write(folder / "train_users.npy", data.train.users);
  write(folder / "train_items.npy", data.train.items);
  nlohmann::json shape = {{"n_users", data.n_users}, {"n_items", data.n_items}};
  for (const Modality& m : data.modalities) {
    shape["modalities"].push_back(m.name);
    Matrix<float> copy(m.features.rows(), m.features.cols());
    m.features.copy_rows(0, copy.view());
    write_matrix(folder / ("features_" + m.name + ".npy"), copy.view());
  }
  shape["settings"] = c.settings;
  write_file_atomically(own / "model.json", [&](std::ostream& out) { out << shape.dump(2) << '\n'; });
  Context<B> ctx(options, c.train.seed);
  const AnyRecommender<B> model = c.make(ctx, data);
  for (const Parameter<B>& p : model.parameters())
    if (p.trainable) write_matrix(own / "parameters" / (p.name + ".npy"), p.value());
  Steps steps(ctx, model, data, c.train);
  Batch all;
  std::vector<double> losses;
  for (Index i = 0; i < steps.per_epoch(); ++i) {
    steps();
    const BatchView<B::Memory> batch = steps.batch();
    all.users.insert(all.users.end(), batch.users.begin(), batch.users.end());
    all.positives.insert(all.positives.end(), batch.positives.begin(), batch.positives.end());
    all.negatives.insert(all.negatives.end(), batch.negatives.begin(), batch.negatives.end());
    losses.push_back(steps.loss());
  }
  write(own / "batch_users.npy", all.users);
  write(own / "batch_positives.npy", all.positives);
  write(own / "batch_negatives.npy", all.negatives);
  write(own / "losses.npy", losses);
}

void run_model(benchmark::State& state, const Candidate& c, const Shape& shape, Machine& machine, bool epochs) {
  forget_peak();
  const Dataset& data = dataset(shape);
  Context<B> ctx(machine.options(), c.train.seed);
  const AnyRecommender<B> model = c.make(ctx, data);
  Steps steps(ctx, model, data, c.train);
  for (int i = 0; i < 3; ++i) steps();  // the arena finds its size, the moments are made
  const Work one = model_work(c.name, data, c.train);
  const Index n = epochs ? steps.per_epoch() : 1;
  Work work;
  for (Index i = 0; i < n; ++i) work += one;
  measure(state, machine, ctx, data.n_users + data.n_items, work, [&] { epochs ? steps.epoch() : steps(); });
  state.counters["parameters"] = static_cast<double>(model.parameters().n_scalars());
  state.counters["steps"] = static_cast<double>(n);
  state.counters["arena_MB"] = static_cast<double>(ctx.arena_capacity()) / 1e6;
  report_memory(state);
}

}  // namespace

void register_models(const Shape& shape, Machine& machine, const std::filesystem::path& export_folder) {
  for (const Candidate& c : candidates(AllModels())) {
    const auto add = [&](const std::string& what, bool epochs) {
      add_benchmark(what + "/" + c.name + "/" + shape.name + backend_suffix(), [=, &machine](benchmark::State& state) {
        try {
          if (!epochs && !export_folder.empty()) export_model(c, dataset(shape), machine.options(), export_folder);
          run_model(state, c, shape, machine, epochs);
        } catch (const ConfigError& e) {  // the data lack what the model needs
          state.SkipWithError(e.what());
        }
      });
    };
    add("model_step", false);
    add("model_epoch", true);
  }
}

}  // namespace rearm::bench
