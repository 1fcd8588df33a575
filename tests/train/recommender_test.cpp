// The contract between a trainer and a model, by a model made up for it: its scores are told epoch by epoch.
#include <tests/support/backend.hpp>

#include <rearm/train/trainer.hpp>
#if !defined(REARM_TEST_CUDA)
#include <rearm/backend/cpu/ranking.hpp>
#endif

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace train_recommender_test {

namespace {

namespace contract {

using namespace rearm;
using namespace rearm::test;
using B = TestBackend<float>;

struct ToyConfig {
  template <class Self, class F>
  static void fields(Self&, F&&) {}
};

constexpr Index n_users = 2, n_items = 4;

/// Two users and four items. Item 0 is what they have in train, item 1 in valid, item 2 in test.
Dataset toy_data() {
  Dataset data;
  data.name = "toy";
  data.n_users = n_users;
  data.n_items = n_items;
  data.train = {{0, 1}, {0, 0}};
  data.valid = {{0, 1}, {1, 1}};
  data.test = {{0, 1}, {2, 2}};
  return data;
}

/// What a model without any of the optional members has.
template <Backend B>
class Plain {
 public:
  using Config = ToyConfig;
  static constexpr std::string_view name = "plain";
  Plain() {
    parameters_.add("scores", n_users, n_items);
    parameters_.add("one", n_items, n_items).trainable = false;
    Matrix<float> one(n_items, n_items);
    for (Index i = 0; i < n_items; ++i) one(i, i) = 1;
    rearm::test::set(*parameters_.find("one"), one);
  }
  ParameterStore<B>& parameters() { return parameters_; }
  Embeddings<B> embeddings(Tape<B>& tape, const Step<B>&) {
    return {tape.parameter(*parameters_.find("scores")), tape.parameter(*parameters_.find("one"))};
  }
  /// A loss whose gradient is zero: what changes the scores is not its doing.
  Loss<B> loss(Tape<B>& tape, const Step<B>& step) {
    steps.push_back(
        {step.number, step.training, step.first, step.batch.size(), static_cast<Index>(step.batch.negatives.size())});
    return {{"nothing", sum_of_squares(tape.parameter(*parameters_.find("scores")), 0.0F)}};
  }
  void set(const Matrix<float>& scores) { rearm::test::set(*parameters_.find("scores"), scores); }
  Matrix<float> scores() { return to_host(parameters_.find("scores")->value()); }

  struct Seen {
    std::uint32_t number;
    bool training, first;
    Index pairs, negatives;
  };
  std::vector<Seen> steps;

 private:
  ParameterStore<B> parameters_;
};

template <Backend B>
class Toy : public Plain<B> {
 public:
  static constexpr std::string_view name = "toy";
  static constexpr int n_negatives = 3;
  bool decays_weights() const { return decays; }
  bool begin_epoch(Context<B>&, int epoch) {
    epochs.push_back(epoch);
    if (!scores_of) return false;
    this->set(scores_of(epoch));
    return true;
  }

  bool decays = true;
  std::function<Matrix<float>(int epoch)> scores_of;
  std::vector<int> epochs;
};

/// Scores with which item 1 has that rank among the unseen ones, for each user.
Matrix<float> valid_item_at(int rank_of_first, int rank_of_second) {
  Matrix<float> scores(n_users, n_items);
  for (Index u = 0; u < n_users; ++u) {
    const int rank = u == 0 ? rank_of_first : rank_of_second;
    scores(u, 1) = 5;
    scores(u, 2) = rank > 1 ? 7.0F : 3.0F;
    scores(u, 3) = rank > 2 ? 6.0F : 2.0F;
  }
  return scores;
}

TrainConfig toy_config() {
  TrainConfig c;
  c.batch_size = 1;
  c.epochs = 6;
  c.patience = 0;
  c.metrics = {"recall"};
  c.cutoffs = {1};
  c.watch = "recall@1";
  return c;
}

static_assert(Recommender<Plain<B>, B>);
static_assert(Recommender<Toy<B>, B>);
static_assert(!Recommender<int, B>);

}  // namespace contract

}  // namespace

TEST_CASE("any model behind one type: what it has is asked of it, what it lacks has a meaning") {
  using namespace contract;
  Context<B> ctx;
  Toy<B> toy;
  const AnyRecommender<B> any(toy);
  CHECK(any.name() == "toy");
  CHECK(any.n_negatives() == 3);
  CHECK(any.decays_weights());
  toy.decays = false;
  CHECK_FALSE(any.decays_weights());
  CHECK_FALSE(any.begin_epoch(ctx, 4));
  toy.scores_of = [](int) { return valid_item_at(1, 1); };
  CHECK(any.begin_epoch(ctx, 5));
  CHECK(toy.epochs == std::vector<int>{4, 5});
  CHECK(&any.parameters() == &toy.parameters());
  Tape<B> tape(ctx);
  CHECK(any.embeddings(tape, {}).users.rows() == n_users);
  CHECK(any.loss(tape, {}).parts()[0].name == "nothing");
  CHECK(toy.steps.size() == 1);

  Plain<B> plain;
  const AnyRecommender<B> of_plain(plain);
  CHECK(of_plain.name() == "plain");
  CHECK(of_plain.n_negatives() == 1);
  CHECK(of_plain.decays_weights());
  CHECK_FALSE(of_plain.begin_epoch(ctx, 0));
}

TEST_CASE("it refers to a model, or owns one and shares it with its copies") {
  using namespace contract;
  auto model = std::make_shared<Toy<B>>();
  const std::weak_ptr<Toy<B>> watched = model;
  {
    AnyRecommender<B> any(std::move(model));
    const AnyRecommender<B> copy = any;
    any = AnyRecommender<B>(std::make_shared<Plain<B>>());
    CHECK(any.name() == "plain");
    CHECK_FALSE(watched.expired());
    CHECK(copy.name() == "toy");
  }
  CHECK(watched.expired());
}

TEST_CASE("the trainer tells a model of each epoch before its first step, and gives as many negatives as it wants") {
  using namespace contract;
  Context<B> ctx;
  const Dataset data = toy_data();
  Toy<B> toy;
  TrainConfig c = toy_config();
  c.epochs = 3;
  c.patience = 9;
  std::vector<std::size_t> before;
  toy.scores_of = [&](int) {
    before.push_back(toy.steps.size());
    return valid_item_at(1, 1);
  };
  Trainer<B>(ctx, toy, data, c).run();
  CHECK(toy.epochs == std::vector<int>{0, 1, 2});
  constexpr std::size_t looked_at = detail::DryRun<B>::possible ? 2 : 0;  // a step, for its memory
  CHECK(before == std::vector<std::size_t>{0, looked_at + 2, looked_at + 4});
  toy.steps.erase(toy.steps.begin(), toy.steps.begin() + looked_at);
  REQUIRE(toy.steps.size() == 6);  // so few that a device records none of them
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(toy.steps[i].number == i);
    CHECK(toy.steps[i].training);
    CHECK(toy.steps[i].first == (i % 2 == 0));
    CHECK(toy.steps[i].pairs == 1);
    CHECK(toy.steps[i].negatives == 3);
  }
  Plain<B> plain;
  Trainer<B>(ctx, plain, data, c).run();
  for (const auto& step : plain.steps) CHECK(step.negatives == 1);
}

TEST_CASE("weight decay is applied unless the model's loss has a penalty of its own") {
  using namespace contract;
  Context<B> ctx;
  const Dataset data = toy_data();
  TrainConfig c = toy_config();
  c.epochs = 1;
  c.learning_rate = 0.1;
  c.weight_decay = 0.5;
  for (const bool decays : {true, false}) {
    Toy<B> toy;
    toy.decays = decays;
    toy.set(valid_item_at(1, 2));
    Trainer<B>(ctx, toy, data, c).run();
    CHECK(toy.scores()(0, 1) == doctest::Approx(decays ? 5 * 0.95 * 0.95 : 5).epsilon(1e-6));  // two steps
  }
}

TEST_CASE("the watched metric decides which epoch is best and when to stop") {
  using namespace contract;
  Context<B> ctx;
  const Dataset data = toy_data();
  // recall@1 is 0.5 and then 0, recall@2 is 0.5 and then 1.
  const auto scores_of = [](int epoch) { return epoch == 0 ? valid_item_at(1, 3) : valid_item_at(2, 2); };
  for (const std::string watch : {"recall@1", "recall@2"}) {
    CAPTURE(watch);
    const int best = watch == "recall@1" ? 0 : 1;
    TrainConfig c = toy_config();
    c.watch = watch;
    Toy<B> toy;
    toy.scores_of = scores_of;
    c.cutoffs = {1, 2};
    TrainOptions options;
    std::vector<bool> improved;
    options.on_epoch = [&](const EpochReport& r) { improved.push_back(r.improved); };
    const TrainResult result = Trainer<B>(ctx, toy, data, c, options).run();
    CHECK(result.best_epoch == best);
    CHECK(result.epochs == best + 2);
    CHECK(improved == (best == 0 ? std::vector<bool>{true, false} : std::vector<bool>{true, true, false}));
    CHECK(result.valid.at("recall@1") == (best == 0 ? 0.5 : 0.0));
    CHECK(result.valid.at("recall@2") == (best == 0 ? 0.5 : 1.0));
    const Matrix<float> kept = toy.scores(), want = scores_of(best);
    CHECK(std::equal(kept.data(), kept.data() + kept.size(), want.data()));
    CHECK(result.test.at("recall@1") == (best == 0 ? 0.5 : 1.0));
  }
}

TEST_CASE("settings that cannot be used are refused when a trainer is made, before anything is trained") {
  using namespace contract;
  Context<B> ctx;
  const Dataset data = toy_data();
  Toy<B> toy;
  const auto make = [&](const TrainConfig& c, TrainOptions options) {
    const Trainer<B> trainer(ctx, toy, data, c, std::move(options));
  };
  TrainConfig c = toy_config();
  c.watch = "recall@20";
  c.cutoffs = {5, 10};
  CHECK_THROWS_WITH_AS(make(c, {}), doctest::Contains("watch = 'recall@20'"), ConfigError);
  CHECK_THROWS_WITH_AS(make(c, {}), doctest::Contains("recall@5, recall@10"), ConfigError);
  c.metrics = {"mrr", "recall"};
  CHECK_THROWS_WITH_AS(make(c, {}), doctest::Contains("mrr@5, mrr@10, recall@5, recall@10"), ConfigError);
  c.metrics = {"luck"};
  CHECK_THROWS_WITH_AS(make(c, {}), doctest::Contains("metric = 'luck'"), ConfigError);
  c.metrics = {"recall"};
  c.cutoffs = {};
  CHECK_THROWS_WITH_AS(make(c, {}), doctest::Contains("none is asked for"), ConfigError);
  c.cutoffs = {20, 0};
  CHECK_THROWS_WITH_AS(make(c, {}), doctest::Contains("cutoffs"), ConfigError);
  c.cutoffs = {5, 20};
  CHECK_NOTHROW(make(c, {}));
  c.watch = "ndcg@20";
  CHECK_THROWS_WITH_AS(make(c, {}), doctest::Contains("ndcg@20"), ConfigError);
  c.metrics = {"recall", "ndcg"};
  CHECK_NOTHROW(make(c, {}));
  c.watch = "";
  CHECK_THROWS_AS(make(c, {}), ConfigError);
  c = toy_config();
  c.batch_size = 0;
  CHECK_THROWS_WITH_AS(make(c, {}), doctest::Contains("batch_size = 0"), ConfigError);
  c = toy_config();
  c.eval_every = 0;
  CHECK_THROWS_WITH_AS(make(c, {}), doctest::Contains("eval_every"), ConfigError);
  TrainOptions never;
  never.checkpoint_every = 0;
  CHECK_THROWS_WITH_AS(make(toy_config(), never), doctest::Contains("checkpoint_every = 0"), ConfigError);
  CHECK(toy.steps.empty());
}

}  // namespace train_recommender_test
