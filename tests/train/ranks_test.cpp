// Several ranks, here threads of one process, train what one process trains: for any number of them the same weights
// and lists within rounding, the same bits in every run; checkpoints that go on with another number; one error for all.
#include <tests/data/folder.hpp>
#include <tests/models/tiny.hpp>
#include <tests/support/scalars.hpp>
#include <tests/support/small_data.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <numeric>
#include <string>
#include <vector>

#include <rearm/backend/cpu/thread_ranks.hpp>
#include <rearm/eval/shared_evaluator.hpp>
#include <rearm/run/same_ranks.hpp>
#include <rearm/run/train.hpp>
#include <rearm/train/memory.hpp>
#include <rearm/train/shared_sampler.hpp>

namespace train_ranks_test {
namespace {

using namespace rearm;
using namespace rearm::test;
using B = CpuBackend<double>;

Dataset small_data() {
  SyntheticSettings s;
  s.n_users = 90;
  s.n_items = 70;
  s.pairs_per_user = 8;
  s.latent = 4;
  s.widths = {5, 4};
  return make_synthetic(s);
}

/// What every rank has at the end, as a whole.
struct Outcome {
  std::map<std::string, std::vector<double>> weights;
  std::vector<double> losses, valid;
  TrainResult result;
  bool operator==(const Outcome& o) const {
    return weights == o.weights && losses == o.losses && valid == o.valid && result.test == o.result.test;
  }
};

template <class X>
std::vector<double> whole(const X& x) {
  std::vector<double> out(static_cast<std::size_t>(x.rows() * x.cols()));
  x.with_values([&](auto values) {
    if constexpr (std::is_same_v<decltype(values), In<B>>) {
      const Index first = x.blocks() != nullptr ? x.blocks()->begin() : 0;
      std::copy_n(values.data, values.size(), out.data() + first * x.cols());
    }
  });
  if (x.blocks() != nullptr) x.blocks()->ranks->all_gather(out.data(), x.blocks()->counts(x.cols()));
  return out;
}

template <template <class> class M>
Outcome train_one(Communicator* ranks, const Dataset& data, const Settings<ModelConfig<M>>& settings,
                  const RunOptions& where = {}, TrainOptions options = {}) {
  Context<B> ctx({.threads = 1}, settings.train.seed);
  ctx.set_ranks(ranks);
  M<B> model(ctx, data, settings.model);
  Outcome out;
  options.on_epoch = [&](const EpochReport& r) {
    out.losses.push_back(r.losses.total);
    for (const auto& [name, value] : r.valid) out.valid.push_back(value);
  };
  out.result = train(ctx, model, data, settings, where, options);
  std::as_const(model.parameters()).for_each([&](const auto& x) {
    if (x.persistent) out.weights[x.name] = whole(x);
  });
  return out;
}

/// On `n` ranks, all of which must have come to the same.
template <template <class> class M>
Outcome train_on_ranks(int n, const Dataset& data, const Settings<ModelConfig<M>>& settings,
                       const RunOptions& where = {}, const TrainOptions& options = {}) {
  std::vector<Outcome> of(static_cast<std::size_t>(n));
  run_ranks(n, [&](Communicator& ranks) {
    of[static_cast<std::size_t>(ranks.rank())] = train_one<M>(&ranks, data, settings, where, options);
  });
  for (const Outcome& other : of) CHECK(other == of.front());
  return of.front();
}

double largest_difference(const std::vector<double>& x, const std::vector<double>& y) {
  REQUIRE(x.size() == y.size());
  double largest = 0;
  for (std::size_t i = 0; i < x.size(); ++i) largest = std::max(largest, std::abs(x[i] - y[i]));
  return largest;
}
void check_close(const Outcome& a, const Outcome& b) {
  REQUIRE(a.weights.size() == b.weights.size());
  CHECK(largest_difference(a.losses, b.losses) < 1e-10);
  for (const auto& [name, values] : a.weights) {
    const std::string& parameter = name;
    CAPTURE(parameter);
    // REARM's attention ignores these biases: their gradients are rounding errors, which Adam makes larger.
    const bool idle = name.find("attention") != std::string::npos && name.ends_with("_proj.bias");
    CHECK(largest_difference(values, b.weights.at(name)) < (idle ? 1e-6 : 1e-10));
  }
}

template <template <class> class M>
Settings<ModelConfig<M>> two_epochs() {
  auto settings = tiny_settings<M>();
  settings.train.epochs = 2;
  settings.train.batch_size = 64;
  return settings;
}

template <template <class> class M>
void check_model(const Settings<ModelConfig<M>>& settings, const std::vector<int>& numbers = {1, 2, 3, 4}) {
  const Dataset data = small_data();
  CAPTURE(model_name<M>);
  const Outcome alone = train_one<M>(nullptr, data, settings);
  for (const int n : numbers) {
    CAPTURE(n);
    const Outcome ranks = train_on_ranks<M>(n, data, settings);
    check_close(alone, ranks);
    CHECK(alone.valid == ranks.valid);
    CHECK(alone.result.test == ranks.result.test);
    if (n == 3) CHECK(ranks == train_on_ranks<M>(n, data, settings));
  }
}

}  // namespace

TEST_CASE("ranks add up, gather and hand out what they have, in their order") {
  for (const int n : {1, 2, 3, 5})
    run_ranks(n, [&](Communicator& ranks) {
      for (const std::size_t size : {std::size_t{3}, std::size_t{5000}}) {  // at once, and each its share
        std::vector<float> sums(size);
        for (std::size_t i = 0; i < size; ++i)
          sums[i] = 1.0F / static_cast<float>(1 + i + static_cast<std::size_t>(ranks.rank()));
        std::vector<float> expected(size);
        for (std::size_t i = 0; i < size; ++i)
          for (int q = 0; q < n; ++q) {
            const float part = 1.0F / static_cast<float>(1 + i + static_cast<std::size_t>(q));
            expected[i] = q == 0 ? part : expected[i] + part;
          }
        ranks.sum(std::span<float>(sums));
        if (sums != expected) throw Error("a sum is not that in the order of ranks");
      }
      std::vector<Index> counts(static_cast<std::size_t>(n));
      std::iota(counts.begin(), counts.end(), Index{0});  // rank q has q numbers
      std::vector<int> all(static_cast<std::size_t>(n * (n - 1) / 2), -1), expected;
      for (int q = 0; q < n; ++q) expected.insert(expected.end(), static_cast<std::size_t>(q), 10 * q);
      std::fill_n(all.begin() + ranks.rank() * (ranks.rank() - 1) / 2, ranks.rank(), 10 * ranks.rank());
      ranks.all_gather(all.data(), counts);
      if (all != expected) throw Error("all_gather mixed something up");
      const std::vector<int> own(static_cast<std::size_t>(ranks.rank()), 10 * ranks.rank());
      std::vector<int> at_last(ranks.rank() == n - 1 ? expected.size() : 0);
      ranks.gather(n - 1, std::span<const int>(own), at_last.data(), counts);
      if (ranks.rank() == n - 1 && at_last != expected) throw Error("gather mixed something up");
      double number = ranks.rank() + 0.5;
      ranks.broadcast(n - 1, std::span<double>(&number, 1));
      if (number != n - 0.5) throw Error("broadcast brought something else");
      const auto texts = ranks.all_texts(std::string(static_cast<std::size_t>(ranks.rank()), 'x'));
      for (std::size_t q = 0; q < texts.size(); ++q)
        if (texts[q] != std::string(q, 'x')) throw Error("a text is not what its rank said");
      ranks.barrier();
    });
}

TEST_CASE("a rank that throws, or ends, ends all of them with one message that names it") {
  const auto third_waits = [](auto what) {
    return error_of<Error>([&] {
      run_ranks(3, [&](Communicator& ranks) {
        ranks.barrier();
        if (ranks.rank() == 1) what();
        if (ranks.rank() != 1) ranks.barrier();
      });
    });
  };
  CHECK(third_waits([] { throw DataError("features.npy: row 7 is NaN"); }) ==
        "rank 1 of 3: features.npy: row 7 is NaN");
  CHECK(third_waits([] {}) == "rank 1 of 3 has ended while others wait for it");
  const std::string other = error_of<Error>([] {
    run_ranks(2, [](Communicator& ranks) {
      std::vector<double> data(static_cast<std::size_t>(1 + ranks.rank()));
      ranks.sum(std::span<double>(data));
    });
  });
  CHECK(other.find("do not do the same") != std::string::npos);
  // In the middle of training, all others are in some exchange.
  const Dataset data = small_data();
  TrainOptions options;
  std::mutex mutex;
  int calls = 0;
  options.on_step = [&](const StepReport&) {
    const std::lock_guard lock(mutex);
    if (++calls == 7) throw DataError("the disk is gone");
  };
  const std::string told =
      error_of<Error>([&] { train_on_ranks<LightGcn>(3, data, two_epochs<LightGcn>(), {}, options); });
  CHECK(told.ends_with(" of 3: the disk is gone"));
}

TEST_CASE("blocks of rows are contiguous, balanced and never empty") {
  run_ranks(3, [](Communicator& ranks) {
    const auto bounds = [&](const std::vector<double>& weight) { return balanced_blocks(ranks, weight)->bounds; };
    if (bounds({1, 1, 1, 1, 1, 1}) != std::vector<Index>{0, 2, 4, 6}) throw Error("equal rows");
    if (bounds({9, 1, 1, 1}) != std::vector<Index>{0, 1, 3, 4} &&
        bounds({9, 1, 1, 1}) != std::vector<Index>{0, 1, 2, 4})
      throw Error("one heavy row");
    if (bounds({1, 1, 9}) != std::vector<Index>{0, 1, 2, 3}) throw Error("as many rows as ranks");
    const std::string told = error_of<Error>([&] { bounds({1, 1}); });
    if (told.find("ranks = 3: more than the 2") == std::string::npos) throw Error("too many ranks: " + told);
    const RowBlocks users{&ranks, {0, 2, 4, 6}}, items{&ranks, {0, 1, 5, 6}};
    const std::vector<const RowBlocks*> layout{&users, &items};
    for (const auto& [row, rank, own] :
         {std::tuple{0, 0, 0}, {3, 1, 1}, {6, 0, 2}, {7, 1, 2}, {10, 1, 5}, {11, 2, 2}}) {
      const auto place = rearm::detail::place_of(layout, row);
      if (place.rank != rank || place.row != own) throw Error("place of row " + std::to_string(row));
    }
  });
}

TEST_CASE("any number of ranks trains what one process trains") {
  check_model<BprMf>(two_epochs<BprMf>());
  check_model<LightGcn>(two_epochs<LightGcn>());
  auto part = two_epochs<LightGcn>();  // each epoch over a part of the pairs, moments in bfloat16
  part.train.edge_keep = 0.8;
  part.train.bfloat16_moments = true;
  check_model<LightGcn>(part);
  auto wide =
      two_epochs<LightGcn>();  // each rank reads nearly all rows of the others: products take some columns at a time
  wide.model.embedding_dim = 40;
  wide.train.epochs = 1;
  check_model<LightGcn>(wide, {4});
}

TEST_CASE("rows of other ranks arrive, in however many pieces they travel") {
  run_ranks(2, [](Communicator& ranks) {
    Context<B> ctx({.threads = 1});
    ctx.set_ranks(&ranks);
    constexpr Index n = 60000, width = 64;
    const auto blocks = std::make_shared<const RowBlocks>(RowBlocks{&ranks, {0, n / 4, n}});
    Csr<double> turn{n, n, Buffer<Index>(n + 1), Buffer<Id>(n), Buffer<double>(n)};  // row i reads row i + n / 4
    for (Index i = 0; i < n; ++i) {
      turn.offsets[i + 1] = i + 1;
      turn.indices[i] = static_cast<Id>((i + n / 4) % n);
      turn.values[i] = 1;
    }
    const auto shared = share_rows(SparseOperator<double>::general(std::move(turn)), {blocks}, {blocks});
    if (shared.halo()->columns_at_once(width) >= width) throw Error("all columns at once");
    Matrix<double> x(blocks->size(), width), y(blocks->size(), width);
    const auto entry = [](Index i, Index j) { return static_cast<double>(i) + 0.001 * static_cast<double>(j); };
    for (Index i = 0; i < x.rows(); ++i)
      for (Index j = 0; j < width; ++j) x(i, j) = entry(blocks->begin() + i, j);
    const auto check = [&](Index by) {
      for (Index i = 0; i < y.rows(); ++i)
        for (Index j = 0; j < width; ++j)
          if (y(i, j) != entry((blocks->begin() + i + by) % n, j)) throw Error("another row");
    };
    spmm<B>(ctx, shared.view(), shared.halo(), std::as_const(x).view(), y.view());
    check(n / 4);
    spmm_backward<B>(ctx, shared, std::as_const(x).view(), y.view());
    check(n - n / 4);
  });
}

TEST_CASE("any number of ranks trains REARM with each kind of features") {
  for (const Features kind : {Features::trainable, Features::frozen, Features::residual}) {
    auto settings = two_epochs<Model>();
    settings.model.features.kind = kind;
    settings.model.dropout_self = settings.model.dropout_cross = 0.3;
    CAPTURE(static_cast<int>(kind));
    check_model<Model>(settings, kind == Features::trainable && !sanitized ? std::vector{1, 2, 3, 4} : std::vector{3});
  }
}

TEST_CASE("a model whose rows are not shared is trained by every rank as a whole") {
  check_model<Vbpr>(two_epochs<Vbpr>());
}

TEST_CASE("operators that mix rows refuse those that ranks share") {
  const std::string told = error_of<Error>([] {
    run_ranks(2, [](Communicator& ranks) {
      Context<B> ctx({.threads = 1});
      ctx.set_ranks(&ranks);
      Parameter<B> p("p", 6, 4, std::make_shared<ParameterArrays<B>>(),
                     std::make_shared<RowBlocks>(RowBlocks{&ranks, {0, 2, 6}}));
      init_normal(p, 1.0, 7);
      Tape<B> tape(ctx);
      const Var<B> x = tape.parameter(p);
      // Row-wise, a sum over rows and a product of sums are those of a single process.
      const Var<B> y = mul(sigmoid(x), x);
      const Var<B> squares = gemm(Op::transpose, Op::none, 1.0, y, y);
      const Var<B> loss = add(add(sum_of_squares(y), sum_of_squares(squares)), frobenius_norm(y));
      tape.backward(loss);
      Context<B> alone({.threads = 1});
      Parameter<B> q("p", 6, 4);
      init_normal(q, 1.0, 7);
      Tape<B> other(alone);
      const Var<B> x1 = other.parameter(q);
      const Var<B> y1 = mul(sigmoid(x1), x1);
      const Var<B> loss1 =
          add(add(sum_of_squares(y1), sum_of_squares(gemm(Op::transpose, Op::none, 1.0, y1, y1))), frobenius_norm(y1));
      other.backward(loss1);
      if (std::abs(scalar(loss) - scalar(loss1)) > 1e-12) throw Error("another loss");
      const Index first = p.blocks()->begin();
      for (Index i = 0; i < p.own_rows(); ++i)
        for (Index j = 0; j < 4; ++j)
          if (std::abs(p.grad()(i, j) - q.grad()(first + i, j)) > 1e-12) throw Error("another gradient");
      if (error_of<Error>([&] { x.rows(1, 3); }).find("no whole part") == std::string::npos) throw Error("a slice");
      column_mean(x);
    });
  });
  CHECK(told.find("mixes rows") != std::string::npos);
}

TEST_CASE("a run begun with some ranks goes on with others; its files are those of one process") {
  const Dataset data = small_data();
  auto settings = two_epochs<LightGcn>();
  settings.train.epochs = 4;
  const Outcome whole_run = train_one<LightGcn>(nullptr, data, settings);
  const Folder folder;
  TrainOptions options;
  // Stopped in the middle of epochs, by one rank.
  int ranks_before = 3;
  for (const int ranks : {3, 1, 2}) {
    std::mutex mutex;
    int asked = 0;
    options.interrupted = [&] {
      const std::lock_guard lock(mutex);
      return ranks != 2 && ++asked == 11 * ranks;
    };
    const Outcome part = train_on_ranks<LightGcn>(
        ranks, data, settings, {.directory = folder.path(), .resume = ranks != ranks_before}, options);
    CHECK(part.result.interrupted == (ranks != 2));
    if (ranks == 2) {
      CHECK(part.result.test == whole_run.result.test);
      for (const auto& [name, values] : whole_run.weights)
        for (std::size_t i = 0; i < values.size(); ++i) CHECK(std::abs(values[i] - part.weights.at(name)[i]) < 1e-10);
    }
  }
  const auto saved = load_model<B>(folder.path() / "model.safetensors");
  CHECK(saved.users.rows() == data.n_users);
  CHECK(saved.items.rows() == data.n_items);
  const Adjacency seen = items_by_user(data.train, data.n_users);
  CHECK(saved.seen.offsets == seen.offsets);
  CHECK(saved.seen.ids == seen.ids);
}

TEST_CASE("the memory that ranks on a machine need is counted together") {
  const std::string told = error_of<OutOfMemoryError>([] {
    rearm::detail::require_memory({.held = 4 << 20, .arrays = 6 << 20, .step = 2 << 20, .ranks = 2},
                                  {.bytes = 7 << 20, .limit = "a test"});
  });
  CHECK(told.find("about 8 MiB more than the 4 MiB that its 2 ranks on this machine hold") != std::string::npos);
  run_ranks(3, [](Communicator& ranks) {
    const auto own = static_cast<std::size_t>(ranks.rank());
    const MemoryEstimate sum = rearm::detail::on_this_machine(&ranks, {.held = 10, .arrays = own, .step = 5});
    if (sum.ranks != 3 || sum.held != 30 || sum.arrays != 3 || sum.step != 15) throw Error("another sum");
  });
}

TEST_CASE("a rank that has begun another run is refused by name") {
  const auto told = [](auto change) {
    return error_of<Error>([&] {
      run_ranks(3, [&](Communicator& ranks) {
        auto settings = two_epochs<LightGcn>();
        if (ranks.rank() == 2) change(settings);
        SettingsRecord record = record_settings("light_gcn", settings);
        record.data = {{"train", ranks.rank() == 2 && settings.train.seed == 7 ? "other" : "same"}};
        require_same_ranks(ranks, record, false);
      });
    });
  };
  CHECK(told([](auto& s) { s.train.seed = 8; }).find("rank 2 has settings/train/seed = 8 but rank 0 has 7") !=
        std::string::npos);
  CHECK(told([](auto&) {}).find("rank 2 has data/train = \"other\" but rank 0 has \"same\"") != std::string::npos);
}

TEST_CASE("the lists of ranks are those of one process") {
  const Index n_users = 50, n_items = 40;
  Matrix<double> users(n_users, 6), items(n_items, 6);
  const RandomKey key{5, 1, 0};
  for (Index i = 0; i < users.size(); ++i) users.data()[i] = key.normal(static_cast<std::uint64_t>(i));
  for (Index i = 0; i < items.size(); ++i)
    items.data()[i] = std::round(2 * key.normal(static_cast<std::uint64_t>(999 + i)));
  Interactions pairs;
  for (Id u = 0; u < n_users; u += 2) {
    pairs.users.push_back(u);
    pairs.items.push_back(u % static_cast<Id>(n_items));
  }
  const Adjacency masked = items_by_user(pairs, n_users);
  std::vector<Id> ids;
  for (Id u = 0; u < n_users; u += 3) ids.push_back(u);
  Context<B> ctx({.threads = 1});
  const auto expected = recommend<B>(ctx, std::as_const(users).view(), ids, std::as_const(items).view(), &masked, 7);
  Interactions held_out;
  for (Id u = 0; u < n_users; u += 3) {
    held_out.users.push_back(u);
    held_out.items.push_back((u * 7 + 1) % static_cast<Id>(n_items));
  }
  const std::vector<Index> ks{3, 7};
  const std::vector<Metric> metrics(std::begin(all_metrics), std::end(all_metrics));
  const MetricValues values = evaluate<B>(ctx, std::as_const(users).view(), std::as_const(items).view(), &masked,
                                          items_by_user(held_out, n_users), ks, metrics);
  for (const int n : {1, 2, 4})
    run_ranks(n, [&](Communicator& ranks) {
      Context<B> own({.threads = 1});
      own.set_ranks(&ranks);
      const std::vector<double> equal_users(std::size_t(n_users), 1.0), equal_items(std::size_t(n_items), 1.0);
      const auto of_users = balanced_blocks(ranks, equal_users), of_items = balanced_blocks(ranks, equal_items);
      const Index first = of_users->begin(), size = of_users->size();
      const In<B> own_users = std::as_const(users).view().row_block(first, size);
      const In<B> own_items = std::as_const(items).view().row_block(of_items->begin(), of_items->size());
      const Adjacency own_masked = items_by_user(pairs_of_users(pairs, first, size), size);
      std::vector<Id> own_ids;
      Index before = 0;
      for (const Id id : ids) {
        before += id < first ? 1 : 0;
        if (id >= first && id < first + size) own_ids.push_back(static_cast<Id>(id - first));
      }
      const Matrix<double> all_items = whole_rows(own_items, *of_items);
      const auto found = recommend<B>(own, own_users, own_ids, all_items.view(), &own_masked, 7);
      if (!std::equal(found.ids.data(), found.ids.data() + found.ids.size(), expected.ids.row(before)) ||
          !std::equal(found.scores.data(), found.scores.data() + found.scores.size(), expected.scores.row(before)))
        throw Error("other lists");
      const Adjacency own_held_out = items_by_user(pairs_of_users(held_out, first, size), size);
      if (evaluate_shared<B>(own, own_users, own_items, *of_items, &own_masked, own_held_out, ks, metrics) != values)
        throw Error("other metrics");
    });
}

TEST_CASE("ranks draw the batches of one process together") {
  const Index n_users = 40, n_items = 30;
  Interactions train;
  const RandomKey key{3, 1, 0};
  for (Id u = 0; u < n_users; ++u)
    for (std::uint64_t i = 0; i < 1 + key.below(static_cast<std::uint64_t>(u), 9); ++i) {
      train.users.push_back(u);
      train.items.push_back(static_cast<Id>(key.below(1000 + 10 * static_cast<std::uint64_t>(u) + i, 30)));
    }
  for (const auto& [n, batch_size, n_negatives] : {std::tuple{1, 16, 1}, {2, 16, 1}, {3, 7, 3}, {4, 1000, 2}}) {
    const Index size = batch_size;
    const int negatives = n_negatives;
    run_ranks(n, [&](Communicator& ranks) {
      const auto users = balanced_blocks(ranks, std::vector<double>(std::size_t(n_users), 1.0));
      const Adjacency excluded = items_by_user(train, n_users);
      PairSampler alone(train, excluded, n_items, size, 9, negatives);
      SharedPairSampler shared(*users, train,
                               items_by_user(pairs_of_users(train, users->begin(), users->size()), users->size()),
                               n_items, size, 9, negatives);
      if (alone.n_batches() != shared.n_batches()) throw Error("another number of batches");
      for (const auto& [epoch, first] : {std::pair{0U, Index{0}}, {5U, Index{0}}, {2U, alone.n_batches() - 1}}) {
        alone.begin_epoch(epoch, first);
        shared.begin_epoch(epoch, first);
        Batch a, b;
        while (alone.next(a)) {
          if (!shared.next(b) || a.users != b.users || a.positives != b.positives || a.negatives != b.negatives)
            throw Error("another batch");
        }
        if (shared.next(b)) throw Error("one batch more");
      }
    });
  }
}

}  // namespace train_ranks_test
