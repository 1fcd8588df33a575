/// @file diffmm_test.cpp
/// DiffMM's settings that its authors' numbers do not cover, and what keeps its graphs the same.

#include "tests/models/tiny.hpp"
#include "tests/support/gradient_check.hpp"

#include <rearm/rearm.hpp>
#include <rearm/run/train.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include <unistd.h>

namespace models_diffmm_test {

namespace {

using namespace rearm;
using namespace rearm::test;
namespace fs = std::filesystem;
using Float = TestBackend<float>;

// What the defaults leave out.
Settings<DiffMmConfig> other_settings() {
  Settings<DiffMmConfig> settings = tiny_settings<DiffMm>();
  DiffMmConfig& c = settings.model;
  c.projection = DiffMmProjection::activated_image;
  c.contrast = DiffMmContrast::embeddings;
  c.keep_rate = 0.6;
  c.rebuild_k = 2;
  c.n_steps = 3;
  c.hidden_dims = {8, 5};
  c.time_dim = 5;
  c.normalize_input = true;
  c.content_weight = 0.3;
  c.bpr_batch_size = 0;
  c.denoiser_batch_size = 7;
  return settings;
}

template <Backend B>
std::vector<Matrix<Real<B>>> embeddings_of(Context<B>& ctx, DiffMm<B>& model) {
  Tape<B> tape(ctx, false);
  const Embeddings<B> e = model.embeddings(tape, {});
  std::vector<Matrix<Real<B>>> out;
  out.push_back(to_host(e.users));
  out.push_back(to_host(e.items));
  return out;
}
template <class T>
bool same(const std::vector<Matrix<T>>& a, const std::vector<Matrix<T>>& b) {
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!std::equal(a[i].data(), a[i].data() + a[i].size(), b[i].data())) return false;
  return true;
}

struct Folder {
  fs::path path = fs::temp_directory_path() / ("rearm_diffmm_" + std::to_string(::getpid()));
  Folder() { fs::remove_all(path); }
  ~Folder() { fs::remove_all(path); }
};

}  // namespace

TEST_CASE("the losses of DiffMM have the gradients that differences say, with what its defaults leave out") {
  using B = Double;
  const Dataset data = idle_data();
  const auto settings = other_settings();
  Context<B> ctx(test_options(1), 7);
  DiffMm<B> model(ctx, data, settings.model);
  model.begin_epoch(ctx, 0);
  Tape<B> tape(ctx);
  const auto check = [&](ParameterStore<B>& store, const auto& loss) {
    store.clear_gradients();
    tape.reset();
    tape.backward(loss().total());
    std::vector<Matrix<double>> gradients;
    store.for_each([&](const auto& p) { gradients.push_back(gradient_of(p)); });
    std::size_t i = 0;
    store.for_each([&](auto& p) {
      const Matrix<double>& gradient = gradients[i++];
      CHECK(has_gradient(p) == p.trainable);
      if (!p.trainable) return;
      check_gradient(p.name, gradient,
                     central_differences(
                         doubles_of(p),
                         [&] {
                           tape.reset();
                           return scalar(loss().total());
                         },
                         gradient));
    });
  };
  const BatchThere batch(first_batch(data, settings.train, 1));
  check(model.parameters(), [&] { return model.loss(tape, {batch, 5, true}); });
  const auto users = upload(std::vector<Id>{5, 0, 4}), times = upload(std::vector<Id>{2, 0, 2});
  const TestMatrix<double> noise = upload(random_matrix<double>(3, data.n_items, 1));
  for (std::size_t m = 0; m < 2; ++m)
    check(*model.inner_networks()[m].parameters, [&] {
      return model.denoiser_loss(tape, m, users.span(), make_index_list(ctx, times.span(), 3),
                                 tape.constant(noise.view()), [](Var<B> x) {
                                   return dropout(x, 0.5, RandomKey{1, 2, 3});
                                 });
    });
}

TEST_CASE("DiffMM generates the same for a user whatever the batch") {
  const Dataset data = idle_data();
  auto settings = other_settings();
  std::vector<Matrix<double>> first;
  for (const int batch : {1, 7, 1024}) {
    settings.model.denoiser_batch_size = batch;
    Context<Double> ctx(test_options(1), 7);
    DiffMm<Double> model(ctx, data, settings.model);
    model.generate(ctx);
    std::vector<Matrix<double>> graphs;
    for (std::size_t m = 0; m < 2; ++m) graphs.push_back(dense(model.generated_graph(m)));
    if (first.empty())
      first = std::move(graphs);
    else
      CHECK(same(first, graphs));
  }
}

TEST_CASE("DiffMM's graphs are those of the weights: of the best epoch, of a file, of a run with another seed") {
  const Dataset data = idle_data();
  auto settings = other_settings();
  settings.train.epochs = 4;
  const Folder folder;
  Context<Float> ctx(test_options(), settings.train.seed);
  DiffMm<Float> model(ctx, data, settings.model);
  std::vector<std::vector<Matrix<float>>> after_epoch;
  TrainOptions options;
  options.on_epoch = [&](const EpochReport&) { after_epoch.push_back(embeddings_of(ctx, model)); };
  const TrainResult result = train<Float>(ctx, model, data, settings, {.directory = folder.path}, options);
  const auto best = embeddings_of(ctx, model);
  CHECK(same(best, after_epoch[static_cast<std::size_t>(result.best_epoch)]));
  // Graphs of no epoch, then of another, then of the file.
  Context<Float> other(test_options(), 99);
  DiffMm<Float> loaded(other, data, settings.model);
  const auto record = record_settings("diffmm", settings);
  for (const bool begun : {false, true}) {
    if (begun) loaded.begin_epoch(other, 2);
    CHECK_FALSE(same(best, embeddings_of(other, loaded)));
    load_parameters<Float>(folder.path / "model.safetensors", loaded.parameters(), record);
    CHECK(same(best, embeddings_of(other, loaded)));
  }
}

TEST_CASE("an epoch of DiffMM that leaves entries out is resumed in its middle to the same bits") {
  const Dataset data = idle_data();
  const auto settings = other_settings();
  const auto run = [&](RunOptions where, Index stop_after) {
    Context<Float> ctx(test_options(), settings.train.seed);
    DiffMm<Float> model(ctx, data, settings.model);
    TrainOptions options;
    if (stop_after > 0) options.interrupted = [&] { return stop_after-- == 0; };
    train<Float>(ctx, model, data, settings, std::move(where), options);
    return embeddings_of(ctx, model);
  };
  const auto whole = run({}, 0);
  const Index steps = (data.train.size() + settings.train.batch_size - 1) / settings.train.batch_size;
  for (const Index stop : {Index{1}, steps, 2 * steps + 2}) {
    CAPTURE(stop);
    const Folder folder;
    run({.directory = folder.path}, stop);
    CHECK(same(whole, run({.directory = folder.path, .resume = true}, 0)));
  }
}

TEST_CASE("entries that are not finite are an error, not a graph") {
  const Dataset data = idle_data();
  const auto settings = other_settings();
  Context<Float> ctx(test_options(), 7);
  DiffMm<Float> model(ctx, data, settings.model);
  (*model.inner_networks()[1].parameters).for_each([](auto& p) {
    if (!p.name.ends_with("out.1.bias")) return;
    Matrix<float> bad(p.rows(), p.cols());
    std::fill_n(bad.data(), bad.size(), std::numeric_limits<float>::quiet_NaN());
    set(p, bad);
  });
  CHECK_THROWS_WITH_AS(model.generate(ctx), doctest::Contains("the denoiser of the modality"), NumericError);
}

TEST_CASE("generated items that are none are refused") {
  const Dataset data = idle_data();
  const auto settings = other_settings();
  Context<Float> ctx(test_options(), 7);
  DiffMm<Float> model(ctx, data, settings.model);
  for (const float bad : {20.0F, -1.0F, std::numeric_limits<float>::quiet_NaN()}) {
    for (auto& p : model.parameters()) {
      if (!p.name.starts_with("generated.")) continue;
      Matrix<float> values(p.rows(), p.cols());
      std::fill_n(values.data(), values.size(), p.name == "generated.draw" ? 1.0F : bad);
      set(p, values);
    }
    CHECK_THROWS_WITH_AS(embeddings_of(ctx, model), doctest::Contains("of user 0 is "), DataError);
    ctx.arena().reset();
  }
}

TEST_CASE("settings of DiffMM that do not fit are refused") {
  const Dataset data = idle_data();
  const auto refused = [&](const char* what, const auto& change) {
    CAPTURE(what);
    DiffMmConfig config;
    change(config);
    CHECK_THROWS_WITH_AS(DiffMm<Float>::check(config, data), doctest::Contains(what), ConfigError);
  };
  refused("hidden_dims", [](DiffMmConfig& c) { c.hidden_dims.clear(); });
  refused("hidden_dims", [](DiffMmConfig& c) { c.hidden_dims = {5, 0}; });
  refused("noise_min", [](DiffMmConfig& c) { c.noise_min = 0.5; });
  refused("noise_scale", [](DiffMmConfig& c) { c.noise_scale = 50; });
  refused("rebuild_k = 21", [](DiffMmConfig& c) { c.rebuild_k = 21; });
  refused("keep_rate", [](DiffMmConfig& c) { c.keep_rate = 0; });
  Dataset plain = idle_data();
  plain.modalities.clear();
  CHECK_THROWS_WITH_AS(DiffMm<Float>::check({}, plain), doctest::Contains("DiffMM needs features"), ConfigError);
}

}  // namespace models_diffmm_test
