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
#include <functional>
#include <iterator>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

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

// A model of the list and settings of it, as one who does not know which model it is sees them: so a case's body is
// compiled once, and not for each model.
struct Kind {
  std::string name;
  TrainConfig& train;
  bool trains_on_part = false;

  Kind(std::string_view name_, TrainConfig& train_) : name(name_), train(train_) {}
  Kind(const Kind&) = delete;
  Kind& operator=(const Kind&) = delete;
  virtual ~Kind() = default;
  virtual AnyRecommender<Float> make(Context<Float>& ctx, const Dataset& data) const = 0;
  virtual AnyRecommender<Double> make(Context<Double>& ctx, const Dataset& data) const = 0;
  // Makes one in automatic memory, and no handle.
  virtual void construct(Context<Float>& ctx, const Dataset& data) const = 0;
  virtual std::pair<AnyRecommender<Float>, TrainResult> fit(Context<Float>& ctx, const Dataset& data, RunOptions where,
                                                            TrainOptions options) const = 0;
  virtual SettingsRecord record() const = 0;
  virtual bool allow_a_part() = 0;
  virtual bool can_train_on_part_by_default() const = 0;
  virtual void leave_out_stopped_gradients() = 0;
};

template <template <class> class M>
struct KindOf final : Kind {
  Settings<ModelConfig<M>> settings = tiny_settings<M>();

  KindOf() : Kind(model_name<M>, settings.train) {
    trains_on_part = requires(M<Float> & model, const Interactions& pairs) { model.train_on(pairs); };
  }
  AnyRecommender<Float> make(Context<Float>& ctx, const Dataset& data) const override {
    return AnyRecommender<Float>(std::make_shared<M<Float>>(ctx, data, settings.model));
  }
  AnyRecommender<Double> make(Context<Double>& ctx, const Dataset& data) const override {
    return AnyRecommender<Double>(std::make_shared<M<Double>>(ctx, data, settings.model));
  }
  void construct(Context<Float>& ctx, const Dataset& data) const override {
    const M<Float> model(ctx, data, settings.model);
  }
  std::pair<AnyRecommender<Float>, TrainResult> fit(Context<Float>& ctx, const Dataset& data, RunOptions where,
                                                    TrainOptions options) const override {
    const auto model = std::make_shared<M<Float>>(ctx, data, settings.model);
    TrainResult result = rearm::train<Float>(ctx, *model, data, settings, std::move(where), std::move(options));
    return {AnyRecommender<Float>(model), std::move(result)};
  }
  SettingsRecord record() const override { return record_settings(model_name<M>, settings); }
  bool allow_a_part() override { return models_contract_test::allow_a_part(settings.model); }
  bool can_train_on_part_by_default() const override {
    auto other = settings.model;
    return models_contract_test::allow_a_part(other);
  }
  void leave_out_stopped_gradients() override { models_contract_test::leave_out_stopped_gradients(settings.model); }
};

using MakeKind = std::function<std::unique_ptr<Kind>()>;

// f(make) for every model in the list; make() gives one of them with tiny settings.
void for_each_kind(const std::function<void(const MakeKind&)>& f) {
  static const std::vector<std::pair<std::string, MakeKind>> kinds = [] {
    std::vector<std::pair<std::string, MakeKind>> all;
    for_each_model([&]<template <class> class M>() {
      all.emplace_back(model_name<M>, [] { return std::make_unique<KindOf<M>>(); });
    });
    return all;
  }();
  for (const auto& [name, make] : kinds) {
    CAPTURE(name);
    f(make);
  }
}

// A model with settings, trained by the library's own trainer.
struct Run {
  std::unique_ptr<Kind> kind;
  TrainResult result;
  std::vector<float> weights;
  Matrix<float> users, items;

  explicit Run(const MakeKind& make) : kind(make()) {}
  // Epochs see a part of the pairs, which evaluation must not.
  void sample_edges() {
    if (kind->trains_on_part && kind->can_train_on_part_by_default()) {
      kind->train.edge_keep = 0.6;
      kind->train.edge_sampling = EdgeSampling::degree;
    }
  }
  void train(const Dataset& data, RunOptions where = {}, TrainOptions options = {}, int threads = 1) {
    Context<Float> ctx(test_options(threads), kind->train.seed);
    auto [model, trained] = kind->fit(ctx, data, std::move(where), std::move(options));
    result = std::move(trained);
    look(ctx, model);
  }
  void look(Context<Float>& ctx, const AnyRecommender<Float>& model) {
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
  for_each_kind([&](const MakeKind& make) {
    const std::unique_ptr<Kind> kind = make();
    kind->leave_out_stopped_gradients();
    Context<B> ctx(test_options(1), kind->train.seed);
    const AnyRecommender<B> model = kind->make(ctx, data);
    model.begin_epoch(ctx, 0);
    const BatchThere batch(first_batch(data, kind->train, model.n_negatives()));
    model.parameters().for_each([&](auto& p) {
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
    model.parameters().for_each([&](const auto& p) { gradients.push_back(gradient_of(p)); });
    std::size_t index = 0;
    model.parameters().for_each([&](auto& p) {
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
  for_each_kind([&](const MakeKind& make) {
    Run run(make);
    Context<Float> ctx(test_options(), run.kind->train.seed);
    run.look(ctx, run.kind->make(ctx, data));
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
  for_each_kind([&](const MakeKind& make) {
    Run one(make), two(make), other(make);
    for (const Run* run : {&one, &two, &other}) {
      run->kind->train.epochs = 1;
      run->kind->train.batch_size = 256;
    }
    other.kind->train.seed = 8;
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
  for_each_kind([&](const MakeKind& make) {
    const std::unique_ptr<Kind> kind = make();
    Context<B> ctx(test_options(2), kind->train.seed);
    const AnyRecommender<B> model = kind->make(ctx, data);
    AdamW<B> optimizer({.learning_rate = kind->train.learning_rate});
    PairSampler sampler(data.train, known_items(data, false), data.n_items, 256, 7, model.n_negatives());
    Tape<B> tape(ctx);
    for (auto& table : model.parameters().tables()) table.fuses_weight_gradient = true;
    Batch batch;
    model.begin_epoch(ctx, 0);
    const auto epoch = [&] {
      sampler.begin_epoch(0);
      for (std::uint32_t step = 0; sampler.next(batch); ++step) {
        tape.reset();
        const Var<B> loss = model.loss(tape, {batch, step, true, step == 0}).total();
        tape.backward(loss, AfterBackward::release);
        optimizer.step(ctx, model.parameters());
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
  for_each_kind([&](const MakeKind& make) {
    const std::unique_ptr<Kind> kind = make();
    Context<Float> ctx(test_options(1), kind->train.seed);
    const auto construct = [&](long n) {
      made = 0;
      failing = n;
      failing_allocations = true;
      struct End {
        ~End() { failing_allocations = false; }
      } const end;
      kind->construct(ctx, data);
    };
    construct(0);
    const long all = made;
    int errors = 0;
    for (long n = 1; n <= all; n += 1 + all / 40) {
      CAPTURE(n);
      try {
        construct(n);  // an allocation that can be done without
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
  for_each_kind([&](const MakeKind& make) {
    const Folder folder("saved");
    Run trained(make), loaded(make);
    trained.sample_edges();
    trained.train(data, {.directory = folder.path()});
    Context<Float> ctx(test_options(), trained.kind->train.seed);
    const AnyRecommender<Float> model = trained.kind->make(ctx, data);
    loaded.look(ctx, model);
    CHECK_FALSE(same_bits(trained.users, loaded.users));
    load_parameters<Float>(folder.path() / "model.safetensors", model.parameters(), trained.kind->record());
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
  for_each_kind([&](const MakeKind& make) {
    const Folder whole("whole"), parts("parts");
    Run at_once(make), cut(make), resumed(make);
    for (Run* run : {&at_once, &cut, &resumed}) run->sample_edges();
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
      Context<Float> ctx(test_options(), at_once.kind->train.seed);
      const AnyRecommender<Float> model = at_once.kind->make(ctx, data);
      load_weights(folder / "checkpoint.safetensors", model.parameters(), at_once.kind->record());
      return weights_of<Float>(model.parameters());
    };
    CHECK(same_bits(last_of(parts.path()), last_of(whole.path())));
  });
}

TEST_CASE("every model that propagates over pairs trains on a part of them each epoch, and any other refuses to") {
  const Dataset data = idle_data();
  for_each_kind([&](const MakeKind& make) {
    Run whole(make), part(make);
    for (const Run* run : {&whole, &part}) {
      run->kind->allow_a_part();
      run->kind->train.epochs = 1;
    }
    part.kind->train.edge_keep = 0.6;
    if (part.kind->trains_on_part) {
      whole.train(data);
      part.train(data);
      CHECK_FALSE(same_bits(whole.weights, part.weights));
      part.kind->train.edge_keep = 1e-9;
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
  for_each_kind([&](const MakeKind& make) {
    const std::unique_ptr<Kind> kind = make();
    Context<B> ctx(test_options(), kind->train.seed);
    const AnyRecommender<B> model = kind->make(ctx, data);
    const Batch batch = first_batch(data, kind->train, model.n_negatives());
    const HostSteps host = host_steps(kind->name, data, batch, 3);
    std::vector<double> losses;
    const auto [users, items] = take_steps<B>(ctx, model, BatchThere(batch), kind->train.learning_rate, 3, losses);
    for (std::size_t i = 0; i < losses.size(); ++i) CHECK(losses[i] == doctest::Approx(host.losses[i]).epsilon(1e-9));
    check_close(ConstView<double>(users.view()), host.users, 1e-8);
    check_close(ConstView<double>(items.view()), host.items, 1e-8);
  });
}
#endif

}  // namespace models_contract_test
