/// @file contract_test.cpp
/// What every model in the list keeps to, whatever it computes: a model that is added is tested without a line here.

#include "tests/models/tiny.hpp"
#include "tests/support/allocator.hpp"
#include "tests/support/checkpoint.hpp"
#include "tests/support/gradient_check.hpp"
#include "tests/support/steps.hpp"

#if defined(REARM_TEST_CUDA)
#include "tests/support/host_models.hpp"
#else
#include <rearm/rearm.hpp>
#endif
#include <rearm/run/train.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include <unistd.h>

namespace models_contract_test {

namespace {

using namespace rearm;
using namespace rearm::test;
namespace fs = std::filesystem;
using Float = TestBackend<float>;

// A stopped gradient is the derivative of another function than the loss, with which differences cannot agree. A model
// that has one leaves it out here; its authors' numbers are to test it (tests/parity/baselines_test.cpp).
template <class Config>
void leave_out_stopped_gradients(Config&) {}
inline void leave_out_stopped_gradients(Bm3Config& c) { c.stop_gradients = false; }
inline void leave_out_stopped_gradients(RearmConfig& c) { c.ort_weight = 0; }  // its divisor is a constant

class Folder {
 public:
  explicit Folder(const std::string& name)
      : path_(fs::temp_directory_path() / ("rearm_contract_" + name + "_" + std::to_string(::getpid()))) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::string bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// All values that a model keeps, one after the other.
template <Backend B>
std::vector<Real<B>> weights_of(ParameterStore<B>& parameters) {
  std::vector<Real<B>> out;
  std::as_const(parameters).for_each([&](const auto& p) {
    p.with_values([&](auto values) {
      if constexpr (std::is_same_v<decltype(values), In<B>>) {
        const Matrix<Real<B>> here = to_host(values);
        out.insert(out.end(), here.data(), here.data() + here.size());
      }
    });
  });
  return out;
}
template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}
template <class T>
bool same_bits(const Matrix<T>& a, const Matrix<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(T)) == 0;
}
template <class T>
bool all_finite(const Matrix<T>& m) {
  return std::all_of(m.data(), m.data() + m.size(), [](T x) { return std::isfinite(x); });
}

// Settings with which a model can train on a part of the pairs; false where they are not the defaults.
template <class Config>
bool allow_a_part(Config& c) {
  if constexpr (requires { c.last_step_embeddings; }) c.last_step_embeddings = false;
  return !requires { c.last_step_embeddings; };
}
inline bool allow_a_part(FreedomConfig& c) {
  c.dropout = 0;  // it leaves out pairs by itself
  return false;
}

template <template <class> class M>
constexpr bool trains_on_part = requires(M<Float>& model, const Interactions& pairs) {
  model.train_on(pairs);
};

// A model with settings, trained by the library's own trainer.
template <template <class> class M>
struct Run {
  Settings<ModelConfig<M>> settings = tiny_settings<M>();
  TrainResult result;
  std::vector<float> weights;
  Matrix<float> users, items;

  // Epochs see a part of the pairs, which evaluation must not.
  void sample_edges() {
    auto other = settings.model;
    if (trains_on_part<M> && allow_a_part(other)) {
      settings.train.edge_keep = 0.6;
      settings.train.edge_sampling = EdgeSampling::degree;
    }
  }
  void train(const Dataset& data, RunOptions where = {}, TrainOptions options = {}, int threads = 1) {
    Context<Float> ctx(test_options(threads), settings.train.seed);
    M<Float> model(ctx, data, settings.model);
    result = rearm::train<Float>(ctx, model, data, settings, std::move(where), std::move(options));
    look(ctx, model);
  }
  void look(Context<Float>& ctx, M<Float>& model) {
    weights = weights_of<Float>(model.parameters());
    std::vector<double> none;
    std::tie(users, items) = take_steps<Float>(ctx, model, BatchView<TestMemory>({}, {}, {}), 0, 0, none);
  }
};

}  // namespace

TEST_CASE("every model satisfies the contract on every backend, and is found by its name") {
  for_each_model([]<template <class> class M>() {
    static_assert(Recommender<M<TestBackend<float>>, TestBackend<float>>);
    static_assert(Recommender<M<TestBackend<double>>, TestBackend<double>>);
    static_assert(std::is_same_v<typename M<TestBackend<float>>::Config, ModelConfig<M>>);
    CHECK(model_name<M> == M<TestBackend<float>>::name);
    with_model<AllModels>(model_name<M>, []<template <class> class Found>() {
      CHECK(std::is_same_v<Found<TestBackend<float>>, M<TestBackend<float>>>);
    });
  });
  const auto nothing = []<template <class> class M>() {};
  CHECK_THROWS_WITH_AS(with_model<AllModels>("no such", nothing), doctest::Contains("must be one of bpr_mf, light_gcn"),
                       ConfigError);
}

TEST_CASE("settings of every model make their way through JSON, and no name stands for two of them") {
  for_each_model([]<template <class> class M>() {
    CAPTURE(model_name<M>);
    Settings<ModelConfig<M>> settings;
    check_limits(settings.train);
    check_limits(settings.model);
    std::set<std::string> names;
    const auto change = [&](const std::string& path, const Field&, auto& value) {
      CAPTURE(path);
      CHECK(names.insert(path).second);
      using T = std::remove_reference_t<decltype(value)>;
      if constexpr (std::is_same_v<T, bool>)
        value = !value;
      else if constexpr (std::is_integral_v<T>)
        value = static_cast<T>(value + 1);
      else if constexpr (std::is_floating_point_v<T>)
        value += 0.1;
      else if constexpr (std::is_same_v<T, std::string>)
        value += " \"x\"";
      else if constexpr (std::is_enum_v<T>)
        value = std::rbegin(EnumNames<T>::values)->first;
      else
        value.resize(value.size() + 1);
    };
    visit_fields(settings.train, change);
    visit_fields(settings.model, change);
    Settings<ModelConfig<M>> read;
    CHECK_FALSE(read == settings);
    update_settings(read, nlohmann::json::parse(to_json(settings).dump()));
    CHECK(read == settings);
  });
}

TEST_CASE("the loss of every model has the gradients that differences say") {
  using B = Double;
  const Dataset data = idle_data();
  for_each_model([&]<template <class> class M>() {
    CAPTURE(model_name<M>);
    auto settings = tiny_settings<M>();
    leave_out_stopped_gradients(settings.model);
    Context<B> ctx(test_options(1), settings.train.seed);
    M<B> model(ctx, data, settings.model);
    AnyRecommender<B> any(model);
    any.begin_epoch(ctx, 0);
    const BatchThere batch(first_batch(data, settings.train, any.n_negatives()));
    any.parameters().for_each([&](auto& p) {
      // Initial values that are zero would hide a path. What is kept but not trained stands behind a stopped gradient:
      // at zero it passes nothing on, and differences agree with a gradient that leaves it out.
      if (!p.trainable && !p.persistent) return;
      const RandomKey key{3, parameter_stream(p.name), 0};
      Matrix<double> value = to_host(doubles_of(p));
      for (Index i = 0; i < value.size(); ++i)
        value.data()[i] = p.trainable ? value.data()[i] + 0.3 * key.normal(static_cast<std::uint64_t>(i)) : 0.0;
      set(p, value);
    });
    Tape<B> tape(ctx);
    const auto loss = [&] {
      tape.reset();
      return model.loss(tape, {batch, 5, true}).total();
    };
    tape.backward(loss());
    std::vector<Matrix<double>> gradients;
    any.parameters().for_each([&](const auto& p) { gradients.push_back(gradient_of(p)); });
    std::size_t index = 0;
    any.parameters().for_each([&](auto& p) {
      const Matrix<double>& gradient = gradients[index++];
      CHECK((p.trainable || !has_gradient(p)));
      if (!p.trainable) return;
      check_gradient(p.name, gradient,
                     central_differences(
                         doubles_of(p), [&] { return scalar(loss()); }, gradient));
    });
  });
}

TEST_CASE("embeddings and losses of every model are finite with idle users and items, before training and after") {
  const Dataset data = idle_data();
  for_each_model([&]<template <class> class M>() {
    CAPTURE(model_name<M>);
    Run<M> run;
    Context<Float> ctx(test_options(), run.settings.train.seed);
    M<Float> model(ctx, data, run.settings.model);
    run.look(ctx, model);
    const auto check = [&] {
      CHECK(run.users.rows() == data.n_users);
      CHECK(run.items.rows() == data.n_items);
      CHECK(run.users.cols() == run.items.cols());
      CHECK(all_finite(run.users));
      CHECK(all_finite(run.items));
    };
    check();
    run.train(data);  // throws for a loss that is not finite
    check();
  });
}

#if !defined(REARM_TEST_CUDA) && !defined(REARM_TEST_MINIMAL)  // they have no threads to choose
TEST_CASE("every model has the same bits after an epoch with 1 and with 2 threads") {
  const Dataset data = idle_data(300, 280);  // several chunks of everything
  for_each_model([&]<template <class> class M>() {
    CAPTURE(model_name<M>);
    Run<M> one, two, other;
    for (Run<M>* run : {&one, &two, &other}) {
      run->settings.train.epochs = 1;
      run->settings.train.batch_size = 256;
    }
    other.settings.train.seed = 8;
    one.train(data, {}, {}, 1);
    two.train(data, {}, {}, 2);
    other.train(data, {}, {}, 1);
    CHECK(same_bits(one.weights, two.weights));
    CHECK(same_bits(one.users, two.users));
    CHECK(same_bits(one.items, two.items));
    CHECK_FALSE(same_bits(one.weights, other.weights));
  });
}

TEST_CASE("a training step of every model allocates nothing once the arenas have their size") {
  using B = Float;
  const Dataset data = idle_data(300, 200);
  for_each_model([&]<template <class> class M>() {
    CAPTURE(model_name<M>);
    const auto settings = tiny_settings<M>();
    Context<B> ctx(test_options(2), settings.train.seed);
    M<B> model(ctx, data, settings.model);
    AnyRecommender<B> any(model);
    AdamW<B> optimizer({.learning_rate = settings.train.learning_rate});
    PairSampler sampler(data.train, known_items(data, false), data.n_items, 256, 7, any.n_negatives());
    Tape<B> tape(ctx);
    for (auto& table : model.parameters().tables()) table.fuses_weight_gradient = true;
    Batch batch;
    any.begin_epoch(ctx, 0);
    const auto epoch = [&] {
      sampler.begin_epoch(0);
      for (std::uint32_t step = 0; sampler.next(batch); ++step) {
        tape.reset();
        const Var<B> loss = any.loss(tape, {batch, step, true, step == 0}).total();
        tape.backward(loss, AfterBackward::release);
        optimizer.step(ctx, any.parameters());
      }
    };
    for (int i = 0; i < 3; ++i) epoch();
    const long before = allocations;
    CHECK(before > 0);  // the count works
    epoch();
    CHECK(allocations - before == 0);
  });
}

TEST_CASE("an allocation that fails while a model is made is an Error") {
  const Dataset data = idle_data();
  for_each_model([&]<template <class> class M>() {
    CAPTURE(model_name<M>);
    const auto settings = tiny_settings<M>();
    Context<Float> ctx(test_options(1), settings.train.seed);
    const auto make = [&](long n) {
      made = 0;
      failing = n;
      failing_allocations = true;
      struct End {
        ~End() { failing_allocations = false; }
      } const end;
      const M<Float> model(ctx, data, settings.model);
    };
    make(0);
    const long all = made;
    int errors = 0;
    for (long n = 1; n <= all; n += 1 + all / 40) {
      CAPTURE(n);
      try {
        make(n);  // an allocation that can be done without
      } catch (const Error&) {
        ++errors;
      } catch (const std::exception& e) {
        FAIL_CHECK(std::string(e.what()));
      }
    }
    CHECK(errors > 10);
  });
}
#endif

TEST_CASE("a saved model of every kind has the same embeddings when it is loaded") {
  const Dataset data = idle_data();
  for_each_model([&]<template <class> class M>() {
    CAPTURE(model_name<M>);
    const Folder folder("saved");
    Run<M> trained, loaded;
    trained.sample_edges();
    trained.train(data, {.directory = folder.path()});
    Context<Float> ctx(test_options(), trained.settings.train.seed);
    M<Float> model(ctx, data, trained.settings.model);
    loaded.look(ctx, model);
    CHECK_FALSE(same_bits(trained.users, loaded.users));
    load_parameters<Float>(folder.path() / "model.safetensors", model.parameters(),
                           record_settings(model_name<M>, trained.settings));
    loaded.look(ctx, model);
    CHECK(same_bits(trained.users, loaded.users));
    CHECK(same_bits(trained.items, loaded.items));
    SafetensorsFile file(folder.path() / "model.safetensors");
    Matrix<float> users(data.n_users, trained.users.cols());
    file.read("representation.user", users.view());
    CHECK(same_bits(trained.users, users));
  });
}

TEST_CASE("a run of every model that is cut off and resumed ends in the same bytes as one that is not") {
  const Dataset data = idle_data();
  for_each_model([&]<template <class> class M>() {
    CAPTURE(model_name<M>);
    const Folder whole("whole"), parts("parts");
    Run<M> at_once, cut, resumed;
    for (Run<M>* run : {&at_once, &cut, &resumed}) run->sample_edges();
    at_once.train(data, {.directory = whole.path()});
    // Interrupted in the middle of the second epoch.
    const Index steps = (data.train.size() + 15) / 16;
    Index step = 0;
    TrainOptions options;
    options.interrupted = [&] { return ++step > steps + steps / 2; };
    cut.train(data, {.directory = parts.path()}, options);
    CHECK(cut.result.interrupted);
    CHECK(cut.result.epochs == 1);
    resumed.train(data, {.directory = parts.path(), .resume = true});
    CHECK(resumed.result.epochs == at_once.result.epochs);
    CHECK(resumed.result.test == at_once.result.test);
    CHECK(bytes_of(parts.path() / "model.safetensors") == bytes_of(whole.path() / "model.safetensors"));
    // The last weights, which need not be the best.
    const auto last_of = [&](const fs::path& folder) {
      Context<Float> ctx(test_options(), at_once.settings.train.seed);
      M<Float> model(ctx, data, at_once.settings.model);
      load_weights(folder / "checkpoint.safetensors", model.parameters(),
                   record_settings(model_name<M>, at_once.settings));
      return weights_of<Float>(model.parameters());
    };
    CHECK(same_bits(last_of(parts.path()), last_of(whole.path())));
  });
}

TEST_CASE("every model that propagates over pairs trains on a part of them each epoch, and any other refuses to") {
  const Dataset data = idle_data();
  for_each_model([&]<template <class> class M>() {
    CAPTURE(model_name<M>);
    Run<M> whole, part;
    for (Run<M>* run : {&whole, &part}) {
      allow_a_part(run->settings.model);
      run->settings.train.epochs = 1;
    }
    part.settings.train.edge_keep = 0.6;
    if constexpr (trains_on_part<M>) {
      whole.train(data);
      part.train(data);
      CHECK_FALSE(same_bits(whole.weights, part.weights));
      part.settings.train.edge_keep = 1e-9;
      CHECK_THROWS_WITH_AS(part.train(data), doctest::Contains("edge_keep = 1e-09: leaves none"), ConfigError);
    } else {
      CHECK_THROWS_WITH_AS(part.train(data), doctest::Contains("with these settings trains on the whole graph"),
                           ConfigError);
    }
  });
}

#if defined(REARM_TEST_CUDA)
TEST_CASE("every model computes on a device what it computes on the CPU") {
  using B = Double;
  const Dataset data = idle_data();
  for_each_model([&]<template <class> class M>() {
    CAPTURE(model_name<M>);
    const auto settings = tiny_settings<M>();
    Context<B> ctx(test_options(), settings.train.seed);
    M<B> model(ctx, data, settings.model);
    AnyRecommender<B> any(model);
    const Batch batch = first_batch(data, settings.train, any.n_negatives());
    const HostSteps host = host_steps(std::string(model_name<M>), data, batch, 3);
    std::vector<double> losses;
    const auto [users, items] = take_steps<B>(ctx, any, BatchThere(batch), settings.train.learning_rate, 3, losses);
    for (std::size_t i = 0; i < losses.size(); ++i) CHECK(losses[i] == doctest::Approx(host.losses[i]).epsilon(1e-9));
    check_close(ConstView<double>(users.view()), host.users, 1e-8);
    check_close(ConstView<double>(items.view()), host.items, 1e-8);
  });
}
#endif

}  // namespace models_contract_test
