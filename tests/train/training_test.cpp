// Whole runs: the same bits for any number of threads, resuming, early stopping, model files, and that learning, graphs
// and modalities matter.
#include <tests/support/checkpoint.hpp>
#include <tests/support/small_data.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>

#include <unistd.h>

#include <rearm/eval/popularity.hpp>
#include <rearm/models/bpr_mf.hpp>

namespace train_training_test {

namespace {

using namespace rearm;
using namespace rearm::test;
using B = TestBackend<float>;
namespace fs = std::filesystem;

// A folder of this process that goes away with the object.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::string& name)
      : path_(fs::temp_directory_path() / ("rearm_training_" + name + "_" + std::to_string(::getpid()))) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~TemporaryFolder() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::string bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct Run {
  std::vector<std::vector<float>> weights;
  TrainResult result;
};

std::vector<std::vector<float>> weights_of(const ParameterStore<B>& parameters) {
  std::vector<std::vector<float>> out;
  parameters.for_each([&](const auto& p) {
    p.with_values([&](auto values) {
      if constexpr (std::is_same_v<decltype(values), In<B>>) out.push_back(to_host(values.data, values.size()));
    });
  });
  return out;
}

Run train(const Dataset& data, const RearmSettings& s, int threads, const RunOptions& where = {},
          TrainOptions options = {}) {
  Context<B> ctx(test_options(threads), s.train.seed);
  Model<B> model(ctx, data, s.model, graphs_of<B>(data, s));
  Run run;
  run.result = rearm::train(ctx, model, data, s, where, std::move(options));
  run.weights = weights_of(model.parameters());
  return run;
}

/// What follows the header of a safetensors file: weights and moments, without the seconds that steps took.
std::string tensors_of(const fs::path& path) {
  const std::string bytes = bytes_of(path);
  std::uint64_t header = 0;
  REQUIRE(bytes.size() > sizeof header);
  std::memcpy(&header, bytes.data(), sizeof header);
  return bytes.substr(sizeof header + header);
}

/// Both files of a run.
bool same_files(const fs::path& a, const fs::path& b) {
  return bytes_of(a / "model.safetensors") == bytes_of(b / "model.safetensors") &&
         tensors_of(a / "checkpoint.safetensors") == tensors_of(b / "checkpoint.safetensors");
}

/// The last report of each epoch, exactly.
using Curve = std::map<int, std::pair<std::vector<double>, MetricValues>>;
void note(Curve& curve, const EpochReport& r) {
  std::vector<double> losses = {r.losses.total};
  for (const auto& part : r.losses.parts()) losses.push_back(part.value);
  CHECK(curve.emplace(r.epoch, std::pair(losses, r.valid)).second);
}

bool same_bits(const Run& a, const Run& b) {
  if (a.weights.size() != b.weights.size()) return false;
  for (std::size_t i = 0; i < a.weights.size(); ++i)
    if (a.weights[i].size() != b.weights[i].size() ||
        std::memcmp(a.weights[i].data(), b.weights[i].data(), a.weights[i].size() * sizeof(float)) != 0)
      return false;
  return true;
}

SyntheticSettings learnable() {
  SyntheticSettings s;
#if defined(EMULATED_CUDA)  // a thousandth of a GPU's speed
  s.n_users = 160;
  s.n_items = 100;
#else
  s.n_users = 700;
  s.n_items = 450;
#endif
  return s;
}

RearmSettings learning_settings() {
  RearmSettings s = preset("baby");
  s.model.embedding_dim = 32;
  s.model.users.k = 10;
  s.train.batch_size = 512;
  s.train.learning_rate = 5e-3;
  s.train.epochs = 8;
  s.train.negatives = Negatives::exclude_train;
  return s;
}

}  // namespace

TEST_CASE("the same seed gives the same bits with 1, 2 and 3 threads, and twice in a row") {
  SyntheticSettings size = learnable();
#if !defined(EMULATED_CUDA)
  size.n_users = 300;  // several chunks of everything
#endif
  const Dataset data = make_synthetic(size);
  for (const Features features : {Features::trainable, Features::residual}) {
    RearmSettings s = learning_settings();
    s.model.features.kind = features;
    s.train.epochs = 1;
    s.train.batch_size = 256;
    const Run one = train(data, s, 1);
    CHECK(same_bits(one, train(data, s, 1)));
#if !defined(REARM_TEST_CUDA)  // it has no threads to choose
    CHECK(same_bits(one, train(data, s, 2)));
    CHECK(same_bits(one, train(data, s, 3)));
#endif
    RearmSettings other = s;
    other.train.seed = s.train.seed + 1;
    CHECK_FALSE(same_bits(one, train(data, other, 1)));
  }
}

#if !defined(EMULATED_CUDA)  // too long
TEST_CASE("REARM learns: three times popularity, and the homographs are worth 5 %") {
  // Few pairs a user and many items: what a user has seen says little, neighbors and features say more.
  SyntheticSettings sparse;
  sparse.n_users = 900;
  sparse.n_items = 1000;
  sparse.pairs_per_user = 5;
  const Dataset data = make_synthetic(sparse);
  RearmSettings s = learning_settings();
  RearmConfig& c = s.model;
  c.features.kind = Features::frozen;
  s.train.learning_rate = 3e-3;
  c.users.modality_weights = c.items.modality_weights = {0.5, 0.5};
  const double whole = train(data, s, 2).result.test.at("recall@20");
  c.users.use = c.items.use = false;
  const double without = train(data, s, 2).result.test.at("recall@20");

  Context<B> ctx(test_options(2));
  const Adjacency seen = items_by_user(data.train, data.n_users);
  const auto popular = popularity<float>(seen, data.n_items);
  const std::vector<Index> ks = {20};
  const std::vector<Metric> metrics = {Metric::recall};
  const auto popular_users = upload(popular.user_rows);
  const auto popular_items = upload(popular.item_rows);
  const double baseline = evaluate<B>(ctx, popular_users.view(), popular_items.view(), &seen,
                                      items_by_user(data.test, data.n_users), ks, metrics)
                              .at("recall@20");
  MESSAGE("recall@20 on synthetic data: REARM ", whole, ", without homographs ", without, ", popularity ", baseline);
  CHECK(whole >= 3 * baseline);
  CHECK(whole >= 1.05 * without);
}
#endif

TEST_CASE("a run that is cut off and resumed ends in the same bytes as one that is not") {
  const Dataset data = tiny_data();
  RearmSettings s = tiny_settings();
  s.train.epochs = 5;
  for (const int eval_every : {1, 2, 4}) {  // the last: nothing has been validated yet
    CAPTURE(eval_every);
    s.train.eval_every = eval_every;
    const TemporaryFolder whole("whole");
    const TemporaryFolder parts("parts");
    train(data, s, 1, {whole.path()});
    // Interrupted in the middle of the fourth epoch.
    int steps = 0;
    TrainOptions options;
    options.interrupted = [&] { return ++steps > 11; };
    CHECK(train(data, s, 1, {parts.path()}, options).result.interrupted);
    CHECK(fs::exists(parts.path() / "model.safetensors") == (eval_every < 4));
    const Run resumed = train(data, s, 1, {parts.path(), true});
    CHECK(resumed.result.epochs == 5);
    CHECK(same_files(whole.path(), parts.path()));
  }
}

TEST_CASE("a run that is interrupted before any of its steps, or every few, goes on from there to the same bytes") {
  const Dataset data = tiny_data();
  RearmSettings s = tiny_settings();
  s.train.epochs = 3;
  s.train.batch_size = 12;
  s.train.lr_decay = 0.9;
  s.train.warmup_epochs = 1.6;  // ends in the middle of an epoch
  const TemporaryFolder whole("steps_whole");
  Curve want;
  TrainOptions options;
  Index n_steps = 0;
  options.on_step = [&](const StepReport&) { ++n_steps; };
  options.on_epoch = [&](const EpochReport& r) { note(want, r); };
  train(data, s, 1, {whole.path()}, options);
  REQUIRE(n_steps % 3 == 0);
  REQUIRE(n_steps / 3 >= 4);
  // After that many steps, then again and again.
#if defined(EMULATED_CUDA) || defined(REARM_TEST_SANITIZED)  // each run takes a second
  const std::vector<std::pair<Index, Index>> cases = {{1, 1000}, {6, 3}};
#else
  std::vector<std::pair<Index, Index>> cases = {{1, 1}, {2, 3}, {0, 5}};
  for (Index first = 1; first < n_steps; ++first) cases.emplace_back(first, 1000);
#endif
  for (const auto& one : cases) {
    const Index first = one.first;
    const Index then = one.second;
    CAPTURE(first);
    CAPTURE(then);
    const TemporaryFolder parts("steps_parts");
    Curve curve;
    options.on_epoch = [&](const EpochReport& r) { note(curve, r); };
    Index left = first;
    Index made = 0;
    options.on_step = [&](const StepReport& r) {
      CHECK(r.step == made % (n_steps / 3));
      ++made;
      --left;
    };
    options.interrupted = [&] { return left == 0; };
    for (bool resume = false; train(data, s, 1, {parts.path(), resume}, options).result.interrupted;) {
      resume = made > 0;
      left = then;
    }
    CHECK(made == n_steps);
    CHECK(curve == want);
    CHECK(same_files(whole.path(), parts.path()));
  }
}

TEST_CASE("a run that is cut off between checkpoints goes on from the last one in the middle of an epoch") {
  const Dataset data = tiny_data();
  RearmSettings s = tiny_settings();
  s.train.epochs = 2;
  s.train.batch_size = 12;
  const TemporaryFolder whole("timed_whole"), parts("timed_parts");
  train(data, s, 1, {whole.path()});
  struct Killed {};
  TrainOptions options;
  options.checkpoint_every_seconds = 1e-9;  // after every step
  int steps = 0;
  options.on_step = [&](const StepReport& r) {
    if (++steps == 3) throw Killed();
    CHECK(r.step + 1 == steps);
  };
  CHECK_THROWS_AS(train(data, s, 1, {parts.path()}, options), Killed);
  options.on_step = [&](const StepReport& r) {
    if (steps == 3) CHECK(r.step == 2);
    ++steps;
  };
  train(data, s, 1, {parts.path(), true}, options);
  CHECK(same_files(whole.path(), parts.path()));
  options.checkpoint_every_seconds = -1;
  CHECK_THROWS_WITH_AS(train(data, s, 1, {}, options), doctest::Contains("checkpoint_every_seconds = -1"), ConfigError);
  options.checkpoint_every_seconds = 0;
  options.checkpoint_every = 0;
  CHECK_THROWS_WITH_AS(train(data, s, 1, {}, options), doctest::Contains("checkpoint_every = 0"), ConfigError);
}

namespace {

/// A model that trains a weight of its own, by an optimizer of its own, before each epoch.
class WithInner : public BprMf<B> {
 public:
  static constexpr std::string_view name = "with_inner";
  WithInner(Context<B>& ctx, const Dataset& data, const BprMfConfig& config) : BprMf<B>(ctx, data, config) {
    init_normal(weight_, 1.0, ctx.seed());
  }
  bool begin_epoch(Context<B>& ctx, int) {
    Tape<B> tape(ctx);
    for (int i = 0; i < 3; ++i) {
      tape.reset();
      tape.backward(sum_of_squares(tape.parameter(weight_)));
      optimizer_.step(ctx, inner_);
    }
    tape.reset();
    return false;
  }
  std::vector<Trained<B>> inner_networks() { return {{"inner", &inner_, &optimizer_}}; }
  Parameter<B>& inner_weight() { return weight_; }
  std::vector<float> weight() const { return to_host(weight_.value().data, weight_.value().size()); }
  std::int64_t n_updates() const { return optimizer_.step_count(); }

 private:
  ParameterStore<B> inner_;
  Parameter<B>& weight_ = inner_.add("user_id", 3, 5);  // the model has that name too
  AdamW<B> optimizer_{{.learning_rate = 0.01}};
};

}  // namespace

TEST_CASE("a network that a model trains inside itself goes on with the run") {
  const Dataset data = tiny_data();
  Settings<BprMfConfig> settings;
  settings.train.epochs = 4;
  settings.train.batch_size = 64;
  const TemporaryFolder parts("inner_parts");
  const auto run = [&](int epochs, const RunOptions& where) {
    settings.train.epochs = epochs;
    Context<B> ctx(test_options(1), settings.train.seed);
    WithInner model(ctx, data, settings.model);
    train(ctx, model, data, settings, where);
    CHECK(model.n_updates() == 3 * epochs);
    return model.weight();
  };
  const std::vector<float> at_once = run(4, {});
  CHECK(run(2, {parts.path()}) != at_once);
  CHECK(run(4, {parts.path(), true}) == at_once);
  // A checkpoint that says nothing of it is refused, and the model stays as it was.
  Context<B> ctx(test_options(1), settings.train.seed);
  BprMf<B> other(ctx, data, settings.model);
  const SettingsRecord record = record_settings("with_inner", settings);
  {
    AdamW<B> optimizer({});
    const Trained<B> trained{"", &other.parameters(), &optimizer};
    save_checkpoint<B>(parts.path() / "without", std::span(&trained, 1), record, {});
  }
  WithInner model(ctx, data, settings.model);
  const std::vector<float> before = model.weight();
  AdamW<B> optimizer({});
  std::vector<Trained<B>> all = model.inner_networks();
  all.push_back({"", &model.parameters(), &optimizer});
  CHECK_THROWS_WITH_AS(load_checkpoint<B>(parts.path() / "without", all, record), doctest::Contains("'inner'"),
                       DataError);
  CHECK(model.weight() == before);
}

namespace {

/// A model whose epochs depend on what its parameters and its inner network were when they began.
class Remembering : public WithInner {
 public:
  static constexpr std::string_view name = "remembering";
  Remembering(Context<B>& ctx, const Dataset& data, const BprMfConfig& config)
      : WithInner(ctx, data, config), users_(*parameters().find("user_id")), start_(users_.rows(), users_.cols()) {}
  bool begin_epoch(Context<B>& ctx, int epoch) {
    const bool moved = WithInner::begin_epoch(ctx, epoch);
    Tape<B> tape(ctx, false);
    const Var<B> pull = tape.parameter(users_) * tape.parameter(inner_weight()).cols(0, 1).rows(0, 1);
    B::Memory::copy(start_.data(), pull.value().data, static_cast<std::size_t>(start_.size()) * sizeof(float));
    tape.reset();
    return moved;
  }
  Loss<B> loss(Tape<B>& tape, const Step<B>& step) {
    Loss<B> loss = WithInner::loss(tape, step);
    loss.add("pull", sum_of_squares(tape.parameter(users_) - tape.constant(start_.view()), 1e-2F));
    return loss;
  }

 private:
  Parameter<B>& users_;
  Matrix<float, B::Memory> start_;
};

}  // namespace

TEST_CASE("an epoch that depends on how it began is resumed in its middle to the same bytes") {
  const Dataset data = tiny_data();
  Settings<BprMfConfig> settings;
  settings.train.epochs = 3;
  settings.train.batch_size = 12;
  settings.train.learning_rate = 1e-2;
  std::vector<float> weight;
  const auto run = [&](const RunOptions& where, TrainOptions options = {}) {
    Context<B> ctx(test_options(1), settings.train.seed);
    Remembering model(ctx, data, settings.model);
    const TrainResult result = train(ctx, model, data, settings, where, std::move(options));
    weight = model.weight();
    return result;
  };
  const TemporaryFolder whole("remembering_whole");
  run({whole.path()});
  const std::vector<float> want = weight;
  for (const Index every : {1, 2, 3, 7}) {
    CAPTURE(every);
    const TemporaryFolder parts("remembering_parts");
    Index left = every;
    TrainOptions options;
    options.on_step = [&](const StepReport&) { --left; };
    options.interrupted = [&] { return left == 0; };
    int times = 0;
    for (; run({parts.path(), times > 0}, options).interrupted; ++times) left = every;
    CHECK(times > 0);
    CHECK(weight == want);
    CHECK(same_files(whole.path(), parts.path()));
  }
}

namespace {

/// The same of what it keeps among its own arrays.
class Keeping : public BprMf<B> {
 public:
  static constexpr std::string_view name = "keeping";
  Keeping(Context<B>& ctx, const Dataset& data, const BprMfConfig& config)
      : BprMf<B>(ctx, data, config),
        users_(*parameters().find("user_id")),
        start_(parameters().add("start", users_.rows(), users_.cols())) {
    start_.trainable = false;
  }
  bool begin_epoch(Context<B>& ctx, int epoch) {
    begun.push_back(epoch);
    scaled_copy<B>(ctx, 1, users_.value(), start_.value());
    return true;
  }
  void resume_epoch(Context<B>&, int epoch) { resumed.push_back(epoch); }
  Loss<B> loss(Tape<B>& tape, const Step<B>& step) {
    first.push_back(step.first);
    Loss<B> loss = BprMf<B>::loss(tape, step);
    loss.add("pull", sum_of_squares(tape.parameter(users_) - tape.parameter(start_), step.first ? 1e-1F : 1e-2F));
    return loss;
  }

  std::vector<int> begun, resumed;
  std::vector<bool> first;

 private:
  Parameter<B>& users_;
  Parameter<B>& start_;
};

}  // namespace

TEST_CASE("a model that keeps what its epoch began with goes on from there, and its first step is known as that") {
  const Dataset data = tiny_data();
  Settings<BprMfConfig> settings;
  settings.train.epochs = 2;
  settings.train.batch_size = 12;
  settings.train.learning_rate = 1e-2;
  std::vector<int> begun, resumed;
  std::vector<bool> first;
  const auto run = [&](const RunOptions& where, TrainOptions options = {}) {
    Context<B> ctx(test_options(1), settings.train.seed);
    Keeping model(ctx, data, settings.model);
    const TrainResult result = train(ctx, model, data, settings, where, std::move(options));
    begun = model.begun;
    resumed = model.resumed;
    const int looked_at = detail::DryRun<B>::possible ? 2 : 0;  // a step, for its memory
    first.assign(model.first.begin() + looked_at, model.first.end());
    return result;
  };
  const TemporaryFolder whole("keeping_whole"), parts("keeping_parts");
  run({whole.path()});
  CHECK(begun == std::vector<int>{0, 1});
  CHECK(resumed.empty());
  CHECK(first[0]);
  CHECK(std::count(first.begin(), first.end(), true) == 2);
  TrainOptions options;
  Index left = 2;
  options.on_step = [&](const StepReport&) { --left; };
  options.interrupted = [&] { return left == 0; };
  CHECK(run({parts.path()}, options).interrupted);
  CHECK(first == std::vector<bool>{true, false});
  const SafetensorsFile file(parts.path() / "checkpoint.safetensors");
  CHECK(file.contains("value/start"));
  CHECK_FALSE(file.contains("epoch_start/value/user_id"));
  run({parts.path(), true});
  CHECK(resumed == std::vector<int>{0});
  CHECK(begun == std::vector<int>{1});
  CHECK_FALSE(first[0]);
  CHECK(same_files(whole.path(), parts.path()));
}

TEST_CASE("tables and moments in bfloat16: half the bytes, as good a model, resumed to the same bytes") {
  const Dataset data = make_synthetic(learnable());
  RearmSettings s = learning_settings();
  s.train.epochs = 2;
  const TemporaryFolder wide("wide");
  const double full = train(data, s, 2, {wide.path()}).result.test.at("recall@20");
  s.model.features.bfloat16_tables = s.train.bfloat16_moments = true;
  const TemporaryFolder whole("rounded");
  const double rounded = train(data, s, 2, {whole.path()}).result.test.at("recall@20");
  CHECK(rounded > 0.97 * full);
  CHECK(fs::file_size(whole.path() / "checkpoint.safetensors") <
        0.65 * static_cast<double>(fs::file_size(wide.path() / "checkpoint.safetensors")));
  const TemporaryFolder parts("rounded_parts");
  s.train.epochs = 1;
  train(data, s, 1, {parts.path()});
  s.train.epochs = 2;
  train(data, s, 1, {parts.path(), true});
  CHECK(bytes_of(parts.path() / "model.safetensors") == bytes_of(whole.path() / "model.safetensors"));
  for (const bool tables : {false, true}) {
    RearmSettings other = s;
    (tables ? other.model.features.bfloat16_tables : other.train.bfloat16_moments) = false;
    CHECK_THROWS_WITH_AS(train(data, other, 1, {whole.path(), true}),
                         doctest::Contains(tables ? "bfloat16_tables" : "bfloat16_moments"), ConfigError);
  }
  // A file whose tensors are not what its config says.
  RearmSettings floats = s;
  floats.model.features.bfloat16_tables = false;
  Context<B> ctx(test_options(1), s.train.seed);
  Model<B> model(ctx, data, floats.model, graphs_of<B>(data, floats));
  SafetensorsFile file(whole.path() / "checkpoint.safetensors");
  CHECK_THROWS_WITH_AS(detail::require_parameters(file, whole.path(), "value/", model.parameters()),
                       doctest::Contains("bfloat16_tables"), DataError);
#if !defined(EMULATED_CUDA)  // it takes a minute there
  // The best weights, not the last, come back from memory as from the file.
  s.train.learning_rate = 2e-2;
  s.train.epochs = 40;
  s.train.patience = 0;
  const TemporaryFolder folder("rounded_best");
  const TrainResult kept = train(data, s, 1).result;
  CHECK(kept.epochs > kept.best_epoch + 1);
  CHECK(kept.test == train(data, s, 1, {folder.path()}).result.test);
#endif
}

TEST_CASE("a checkpoint of another config or a damaged one is refused and stays as it is") {
  const Dataset data = tiny_data();
  RearmSettings s = tiny_settings();
  s.train.epochs = 1;
  const TemporaryFolder folder("refuse");
  train(data, s, 1, {folder.path()});
  const std::string before = bytes_of(folder.path() / "checkpoint.safetensors");
  s.train.epochs = 3;
  s.model.rank = 3;
  CHECK_THROWS_WITH_AS(train(data, s, 1, {folder.path(), true}), doctest::Contains("rank"), ConfigError);
  s.model.rank = 2;
  fs::resize_file(folder.path() / "checkpoint.safetensors", before.size() - 3);
  CHECK_THROWS_AS(train(data, s, 1, {folder.path(), true}), Error);
  CHECK(bytes_of(folder.path() / "checkpoint.safetensors") == before.substr(0, before.size() - 3));
}

TEST_CASE("training stops early, keeps the best weights, and its model file recommends alone") {
  const Dataset data = make_synthetic(learnable());
  RearmSettings s = learning_settings();
  s.train.learning_rate = 2e-2;
  s.train.epochs = 40;
  s.train.patience = 1;
  const TemporaryFolder folder("best");
  std::vector<double> curve;
  TrainOptions options;
  options.on_epoch = [&](const EpochReport& r) { curve.push_back(r.valid.at("recall@20")); };
  const TrainResult result = train(data, s, 2, {folder.path()}, options).result;
  CHECK(result.epochs < 40);
  REQUIRE(result.best_epoch >= 0);
  const double best = *std::max_element(curve.begin(), curve.end());
  CHECK(result.valid.at("recall@20") == best);
  CHECK(curve[static_cast<std::size_t>(result.best_epoch)] == best);
  CHECK(result.epochs == result.best_epoch + 3);

  Context<B> ctx(test_options(1));
  const SavedModel<B> recommender = load_model<B>(folder.path() / "model.safetensors");
  const Adjacency seen = items_by_user(data.train, data.n_users);
  CHECK(recommender.seen.ids == seen.ids);
  const std::vector<Index> ks = {20};
  const std::vector<Metric> metrics = {Metric::recall};
  CHECK(evaluate<B>(ctx, recommender.users.view(), recommender.items.view(), &recommender.seen,
                    items_by_user(data.test, data.n_users), ks, metrics)
            .at("recall@20") == doctest::Approx(result.test.at("recall@20")).epsilon(1e-6));
  const std::vector<Id> users = {0, 5};
  const auto top = recommender.recommend(ctx, users, 10);
  for (Index i = 0; i < 10; ++i) CHECK_FALSE(seen.contains(5, top.ids(1, i)));
}

TEST_CASE("gradients that a step left behind when it was ended count for nothing") {
  const Dataset data = tiny_data();
  RearmSettings s = tiny_settings();
  s.train.epochs = 1;
  Context<B> ctx(test_options(1), s.train.seed);
  Model<B> model(ctx, data, s.model, graphs_of<B>(data, s));
  Tape<B> tape(ctx);
  tape.backward(sum_of_squares(model.forward(tape, {}).representation), AfterBackward::release);
  CHECK(std::ranges::any_of(model.parameters(), [](const auto& p) { return p.has_grad; }));
  Run run;
  run.result = Trainer<B>(ctx, model, data, s.train).run();
  run.weights = weights_of(model.parameters());
  CHECK(same_bits(run, train(data, s, 1)));
}

TEST_CASE("a loss that is not finite ends the run with its parts named") {
  const Dataset data = tiny_data();
  RearmSettings s = tiny_settings();
  s.train.learning_rate = 1e18;
  s.train.epochs = 20;
  CHECK_THROWS_WITH_AS(train(data, s, 1), doctest::Contains("bpr"), NumericError);
}

namespace {

/// A model with a parameter of its own, 1e-18, whose square times 1e36 is a part of the loss.
class Fragile : public BprMf<B> {
 public:
  static constexpr std::string_view name = "fragile";
  Fragile(Context<B>& ctx, const Dataset& data, const BprMfConfig& config) : BprMf<B>(ctx, data, config) {
    factor_.learning_rate_scale = 0;
    set_factor(1e-18F);
  }
  Loss<B> loss(Tape<B>& tape, const Step<B>& step) {
    Loss<B> loss = BprMf<B>::loss(tape, step);
    loss.add("factor", sum_of_squares(tape.parameter(factor_) * 1e18F));
    return loss;
  }
  void set_factor(float value) {
    fill_on_host<B::Memory>(factor_.value(),
                            [=](Index, MatrixView<float> part) { std::fill_n(part.data, part.size(), value); });
  }

 private:
  Parameter<B>& factor_ = parameters().add("factor", 2, 2);
};

}  // namespace

TEST_CASE("a loss that is not finite names the tensor, epoch and step, and the last checkpoint stays") {
  const Dataset data = tiny_data();
  Settings<BprMfConfig> settings;
  settings.train.epochs = 3;
  settings.train.batch_size = 12;
  const TemporaryFolder folder("fragile");
  const fs::path checkpoint = folder.path() / "checkpoint.safetensors";
  // 1e10 is a number, but the square is none, nor the gradient.
  for (const float value : {std::numeric_limits<float>::infinity(), 1e10F}) {
    CAPTURE(value);
    Context<B> ctx(test_options(1), settings.train.seed);
    Fragile model(ctx, data, settings.model);
    TrainOptions options;
    options.read_losses_every = 1;
    Index n_steps = 0;
    std::string before;
    options.on_step = [&](const StepReport& r) {
      if (r.epoch != 1 || r.step != 1) return;
      n_steps = r.n_steps;
      before = bytes_of(checkpoint);
      model.set_factor(value);
    };
    std::string said;
    try {
      train(ctx, model, data, settings, {folder.path()}, options);
    } catch (const NumericError& e) {
      said = e.what();
    }
    CAPTURE(said);
    // A device's loss is read after the update.
    const bool gradient = B::Memory::host_accessible && std::isfinite(value);
    CHECK(said.find(gradient ? "the gradient of 'factor'" : "parameter 'factor'") != std::string::npos);
    CHECK(said.find("at step 2 of epoch 1") != std::string::npos);
    CHECK(!before.empty());
    CHECK(bytes_of(checkpoint) == before);
    CHECK(read_train_state(checkpoint, record_settings("fragile", settings)).step == n_steps);
  }
}

TEST_CASE("a run is refused before it begins where its memory is not there, and its estimate changes no bit") {
  MemoryEstimate need;
  need.held = 100U << 20;
  need.arrays = 200U << 20;
  need.step = 30U << 20;
  need.ranking = 1;
  CHECK(need.more() == (230U << 20) + 1);
  CHECK(need.peak() == (330U << 20) + 1);
  detail::require_memory(need, {need.more(), "the test"});
  CHECK_THROWS_WITH_AS(detail::require_memory(need, {need.more() - 1, "the test"}),
                       doctest::Contains("needs about 231 MiB more than the 100 MiB that the process holds"),
                       OutOfMemoryError);
  const Dataset data = tiny_data();
  RearmSettings s = tiny_settings();
  s.train.epochs = 2;
  TrainOptions unchecked;
  unchecked.check_memory = false;
  CHECK(same_bits(train(data, s, 1), train(data, s, 1, {}, unchecked)));
  CHECK((train(data, s, 1).result.estimated_peak_bytes > 0) == B::Memory::host_accessible);
}

TEST_CASE("a schedule decides the learning rate") {
  const Dataset data = tiny_data();
  RearmSettings s = tiny_settings();
  s.train.epochs = 1;
  const Run usual = train(data, s, 1);
  TrainOptions options;
  options.schedule = [](int epoch) { return 3e-3 * std::pow(0.5, epoch); };
  const Run scheduled = train(data, s, 1, {}, options);
  CHECK_FALSE(same_bits(scheduled, usual));
  s.train.learning_rate = 3e-3;
  CHECK(same_bits(scheduled, train(data, s, 1)));
}

TEST_CASE("the learning rate rises step by step to its full value, and decays from epoch to epoch") {
  TrainConfig c;
  c.learning_rate = 8e-3;
  c.lr_decay = 0.5;
  c.warmup_epochs = 2;
  CHECK(learning_rate(c, 0, 0, 2) == 2e-3);
  CHECK(learning_rate(c, 1, 2, 2) == 3e-3);
  CHECK(learning_rate(c, 1, 3, 2) == 4e-3);
  CHECK(learning_rate(c, 2, 1000, 2) == 2e-3);
  c.warmup_epochs = 0.5;
  CHECK(learning_rate(c, 0, 0, 2) == 8e-3);
  CHECK(learning_rate(c, 0, 0, 8) == 2e-3);
  c.warmup_epochs = 0;
  CHECK(learning_rate(c, 0, 0, 8) == 8e-3);

  const Dataset data = tiny_data();
  RearmSettings s = tiny_settings();
  s.train.batch_size = 100000;  // one step an epoch
  s.train.epochs = 3;
  s.train.learning_rate = 8e-3;
  const Run none = train(data, s, 1);
  s.train.warmup_epochs = 2;
  const Run warm = train(data, s, 1);
  CHECK_FALSE(same_bits(warm, none));
  s.train.warmup_epochs = 0;
  TrainOptions options;
  options.schedule = [](int epoch) { return epoch == 0 ? 4e-3 : 8e-3; };
  CHECK(same_bits(warm, train(data, s, 1, {}, options)));
  s.train.warmup_epochs = 1;
  CHECK(same_bits(none, train(data, s, 1)));
}

}  // namespace train_training_test
