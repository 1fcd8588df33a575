/// @file device_test.cu
/// What only a device has: recorded steps, its memory running out, its own batches, id lists, ranking and libraries.
#define REARM_TEST_CUDA
#include "tests/support/matrices.hpp"
#include "tests/support/scalars.hpp"
#include "tests/support/small_data.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

namespace cuda_device_test {

namespace {

using namespace rearm;
using namespace rearm::test;
using B = CudaBackend<float>;
using Weights = std::vector<std::vector<float>>;

Weights weights_of(const ParameterStore<B>& parameters) {
  Weights out;
  parameters.for_each([&](const auto& p) {
    p.with_values([&](auto values) {
      if constexpr (std::is_same_v<decltype(values), In<B>>) out.push_back(to_host(values.data, values.size()));
    });
  });
  return out;
}
bool same_bits(const Weights& a, const Weights& b) {
  return std::ranges::equal(a, b, [](const auto& x, const auto& y) {
    return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
  });
}

/// Many steps an epoch, the last of a smaller batch; validated once, so that the last weights are the best.
RearmSettings many_steps() {
  RearmSettings s = tiny_settings();
  s.train.batch_size = 4;
  s.train.epochs = 3;
  s.train.eval_every = 3;
  return s;
}

Weights trained(const Dataset& data, const RearmSettings& s, TrainOptions options = {}) {
  Context<B> ctx({}, s.train.seed);
  Model<B> model(ctx, data, s.model, graphs_of<B>(data, s));
  Trainer<B>(ctx, model, data, s.train, std::move(options)).run();
  return weights_of(model.parameters());
}

/// The same steps as a trainer's, none of them recorded.
Weights trained_one_by_one(const Dataset& data, const RearmSettings& s) {
  const TrainConfig& c = s.train;
  Context<B> ctx({}, c.seed);
  Model<B> model(ctx, data, s.model, graphs_of<B>(data, s));
  Tape<B> tape(ctx);
  for (auto& table : model.parameters().tables()) table.fuses_weight_gradient = true;
  AdamW<B> optimizer({.learning_rate = c.learning_rate,
                      .weight_decay = s.model.variant == Variant::reference ? c.weight_decay : 0.0,
                      .bfloat16_moments = c.bfloat16_moments});
  PairSampler sampler(data.train, known_items(data, c.negatives == Negatives::exclude_all), data.n_items, c.batch_size,
                      c.seed);
  Batch batch;
  std::uint32_t step = 0;
  for (int epoch = 0; epoch < c.epochs; ++epoch) {
    sampler.begin_epoch(static_cast<std::uint32_t>(epoch));
    while (sampler.next(batch)) {
      const BatchThere there(batch);
      optimizer.set_learning_rate(learning_rate(c, epoch, step, sampler.n_batches()));
      tape.reset();
      tape.backward(model.loss(tape, {there, step++, true}).total(), AfterBackward::release);
      optimizer.step(ctx, model.parameters());
    }
  }
  return weights_of(model.parameters());
}

/// One small product and its update, for StepReplay alone.
struct SmallStep {
  Context<B> ctx;
  Tape<B> tape{ctx};
  ParameterStore<B> store;
  Parameter<B>& weight = store.add("weight", 5, 7);
  TestMatrix<float> data = upload(random_matrix<float>(9, 7, 1));
  AdamW<B> optimizer{{.learning_rate = 0.01, .weight_decay = 0.1, .bfloat16_moments = true}};
  int n_calls = 0;

  SmallStep() { set(weight, random_matrix<float>(5, 7, 2)); }
  void operator()() {
    ++n_calls;
    tape.reset();
    const auto y = linear(tape.constant(std::as_const(data).view()), tape.parameter(weight));
    tape.backward(sum_of_squares(y), AfterBackward::release);
    optimizer.step(ctx, store);
  }
};

Adjacency lists_of(const std::vector<std::vector<Id>>& rows) {
  Adjacency out{{0}, {}};
  for (const auto& row : rows) {
    out.ids.insert(out.ids.end(), row.begin(), row.end());
    out.offsets.push_back(static_cast<Index>(out.ids.size()));
  }
  return out;
}

std::vector<Id> random_ids(Index n, Index n_rows, std::uint32_t stream) {
  const RandomKey key{9, stream, 0};
  std::vector<Id> ids;
  for (Index i = 0; i < n; ++i)
    ids.push_back(static_cast<Id>(key.below(static_cast<std::uint64_t>(i), static_cast<std::uint32_t>(n_rows))));
  return ids;
}

}  // namespace

TEST_CASE("a step is recorded once the arena has settled, and outlives one batch of another size, not two") {
  SmallStep once, replayed;
  StepReplay<B> replay(replayed.ctx);
  constexpr int steps = 12;
  for (int t = 0; t < steps; ++t) {
    once();
    replay.run(static_cast<std::uint32_t>(t), 9, replayed.optimizer, [&] { replayed(); });
    CHECK((t >= 3 || !replay.recorded()));
  }
  CHECK(replay.recorded());
  CHECK(replayed.n_calls < steps);  // the others were replayed
  CHECK(replayed.optimizer.step_count() == steps);
  CHECK(same_bits(weights_of(once.store), weights_of(replayed.store)));

  int t = steps;
  const auto run = [&](Index batch_size) {
    const int before = replayed.n_calls;
    once();
    replay.run(static_cast<std::uint32_t>(t++), batch_size, replayed.optimizer, [&] { replayed(); });
    CHECK(same_bits(weights_of(once.store), weights_of(replayed.store)));
    return replayed.n_calls - before;
  };
  CHECK(run(8) == 1);  // the last batch of an epoch
  CHECK(replay.recorded());
  CHECK(run(9) == 0);
  CHECK(run(8) == 1);
  CHECK(run(8) == 1);
  CHECK_FALSE(replay.recorded());
}

TEST_CASE("steps that are replayed and steps that are not compute the same, at any learning rate") {
  SmallStep replayed, never;
  StepReplay<B> replays(replayed.ctx), forgets(never.ctx);
  for (SmallStep* small : {&replayed, &never}) small->weight.learning_rate_scale = 100;
  for (std::uint32_t t = 0; t < 40; ++t) {
    replays.run(t, 9, replayed.optimizer, [&] { replayed(); });
    if (t % 2 == 0) forgets.forget();
    forgets.run(t, 9, never.optimizer, [&] { never(); });
  }
  CHECK(replayed.n_calls < 10);
  CHECK(never.n_calls == 40);
  CHECK(same_bits(weights_of(replayed.store), weights_of(never.store)));
}

TEST_CASE("recording is given up when the step throws, and the context goes on") {
  SmallStep small;
  StepReplay<B> replay(small.ctx);
  bool fails = false;
  const auto f = [&] {
    if (fails) throw DataError("on purpose");
    small();
  };
  std::uint32_t t = 0;
  for (; t < 3; ++t) replay.run(t, 9, small.optimizer, f);
  for (; !replay.recorded() && t < 20; ++t) {
    fails = true;
    CHECK_THROWS_AS(replay.run(t, 9, small.optimizer, f), DataError);
    fails = false;
    CHECK(small.optimizer.step_count() == static_cast<std::int64_t>(t));
    replay.run(t, 9, small.optimizer, f);
  }
  CHECK(replay.recorded());
  SmallStep once;
  for (std::uint32_t i = 0; i < t; ++i) once();
  CHECK(same_bits(weights_of(once.store), weights_of(small.store)));
}

TEST_CASE("a recorded step of the model starts no more kernels than it used to") {
  const Dataset data = tiny_data();
  const RearmSettings s = many_steps();
  Context<B> ctx({}, s.train.seed);
  Model<B> model(ctx, data, s.model, graphs_of<B>(data, s));
  const BatchThere batch(first_batch(data, s.train));
  AdamW<B> optimizer({.learning_rate = 0.01});
  Tape<B> tape(ctx);
  StepReplay<B> replay(ctx);
  for (std::uint32_t t = 0; t < 10; ++t)
    replay.run(t, 1, optimizer, [&] {
      tape.reset();
      tape.backward(model.loss(tape, {batch, t, true}).total(), AfterBackward::release);
      optimizer.step(ctx, model.parameters());
    });
  REQUIRE(replay.recorded());
  MESSAGE(replay.launches(), " launches a step");
  CHECK(replay.launches() > 100);
#if defined(EMULATED_CUDA)  // cuBLAS may start several for one product
  CHECK(replay.launches() <= 255);
#endif
}

TEST_CASE("training by recorded steps ends in the same bits as step by step") {
  const Dataset data = tiny_data();
  for (const bool rounded : {false, true}) {
    RearmSettings s = many_steps();
    s.model.features.kind = rounded ? Features::residual : Features::trainable;
    s.train.bfloat16_moments = rounded;
    s.train.warmup_epochs = rounded ? 0 : 2;  // through recorded steps
#if defined(EMULATED_CUDA)
    const auto before = emulated_cuda::counters().graph_launches;
#endif
    const Weights replayed = trained(data, s);
#if defined(EMULATED_CUDA)
    CHECK(emulated_cuda::counters().graph_launches > before);
#endif
    CHECK(same_bits(replayed, trained_one_by_one(data, s)));
  }
}

#if defined(EMULATED_CUDA)
TEST_CASE("a settled step allocates nothing, waits for nothing and copies nothing") {
  const Dataset data = tiny_data();
  TrainOptions options;
  options.read_losses_every = 0;
  std::vector<emulated_cuda::Counters> at;
  int n_settled = 0;
  options.on_step = [&](const StepReport& r) {
    if (r.step == 0) at.clear();
    at.push_back(emulated_cuda::counters());
    if (r.epoch < 1 || r.step < 5 || r.step + 1 == r.n_steps) return;  // the last reads the losses
    const auto& now = at.back();
    const auto& then = at[at.size() - 2];
    CHECK(now.allocations == then.allocations);
    CHECK(now.synchronizations == then.synchronizations);
    CHECK(now.copies_to_host == then.copies_to_host);
    CHECK(now.copies_to_device == then.copies_to_device);
    CHECK(now.graph_launches == then.graph_launches + 1);
    CHECK(now.launches <= then.launches + 2);  // the batch and what changes from step to step
    ++n_settled;
  };
  trained(data, many_steps(), options);
  CHECK(n_settled > 4);
}

TEST_CASE("without a device a context says so") {
  emulated_cuda::set_failure(cudaErrorInsufficientDriver);
  CHECK(rearm::gpu::device_count() == 0);
  CHECK_THROWS_WITH_AS(Context<B>(), doctest::Contains("no CUDA device"), DeviceError);
  CHECK_THROWS_WITH_AS(Context<B>(), doctest::Contains("cudaErrorInsufficientDriver, CUDA driver version is"),
                       DeviceError);
  emulated_cuda::set_failure(cudaSuccess);
  CHECK(rearm::gpu::device_count() == 1);
  CHECK_NOTHROW(Context<B>());
}

TEST_CASE("a training step that finds no memory leaves the context usable") {
  const Dataset data = tiny_data();
  const RearmSettings s = tiny_settings();
  const std::size_t before = emulated_cuda::allocated_bytes();
  {
    Context<B> ctx({}, s.train.seed);
    Model<B> model(ctx, data, s.model, graphs_of<B>(data, s));
    const BatchThere batch(first_batch(data, s.train));
    Tape<B> tape(ctx);
    emulated_cuda::set_memory_limit(emulated_cuda::allocated_bytes() + 1000);
    CHECK_THROWS_WITH_AS(model.loss(tape, {batch, 0, true}), doctest::Contains("bytes were asked for"), DeviceError);
    emulated_cuda::set_memory_limit(emulated_cuda::heap_bytes / 2);
    tape.reset();
    CHECK(std::isfinite(scalar(model.loss(tape, {batch, 0, true}).total())));
  }
  CHECK(emulated_cuda::allocated_bytes() == before);
}
#endif

TEST_CASE("more memory than there is names the bytes asked for and free, and the context goes on") {
  Sandbox<float> s;
  constexpr Index bytes = Index{1} << 46;
  CHECK_THROWS_WITH_AS((Buffer<unsigned char, CudaMemory>(bytes)), doctest::Contains(std::to_string(bytes).c_str()),
                       DeviceError);
  CHECK_THROWS_WITH_AS((Buffer<unsigned char, CudaMemory>(bytes)), doctest::Contains("free"), DeviceError);
  const auto x = random_matrix<float>(3, 4, 1);
  check_close(scale(s(x.view()), 2.0F), tabulate(3, 4, [&](Index i, Index j) { return 2.0 * x(i, j); }));
}

TEST_CASE("a device that is not there is refused by number") {
  CHECK_THROWS_AS(Context<B>({.device = 1000}), ConfigError);
  CHECK_THROWS_AS(Context<B>({.device = -1}), ConfigError);
}

TEST_CASE("the device's batches are the sampler's, epoch for epoch") {
  constexpr Index n_users = 30;
  constexpr Index n_items = 50;
  std::vector<std::vector<Id>> excluded(n_users);
  Interactions train;
  for (Id u = 0; u < n_users; ++u) {
    auto ids = random_ids(8, n_items, static_cast<std::uint32_t>(u));
    std::ranges::sort(ids);
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    for (const Id item : ids) {
      train.users.push_back(u);
      train.items.push_back(item);
    }
    if (u % 10 == 0) {  // all items but one: hardly a draw succeeds
      ids.clear();
      for (Id item = 0; item < n_items; ++item)
        if (item != 7 + u) ids.push_back(item);
    }
    excluded[static_cast<std::size_t>(u)] = ids;
  }
  const Adjacency known = lists_of(excluded);
  Context<B> ctx;
  for (const auto& [batch_size, n_negatives] :
       {std::pair<Index, int>{1, 1}, {32, 1}, {64, 1}, {100000, 1}, {7, 2}, {64, 3}, {100000, 5}}) {
    CAPTURE(batch_size);
    CAPTURE(n_negatives);
    PairSampler sampler(train, known, n_items, batch_size, 11, n_negatives);
    BatchSource<B> source(ctx, train, known, n_items, batch_size, 11, n_negatives);
    CHECK(source.n_batches() == sampler.n_batches());
    for (const std::uint32_t epoch : {0U, 1U, 5U, 1U}) {
      sampler.begin_epoch(epoch);
      source.begin_epoch(epoch);
      Batch want;
      Index n = 0;
      while (sampler.next(want)) {
        REQUIRE(source.next());
        const auto got = source.batch();
        REQUIRE(got.size() == want.size());
        CHECK(to_host(got.users.data(), got.size()) == want.users);
        CHECK(to_host(got.positives.data(), got.size()) == want.positives);
        REQUIRE(got.negatives.size() == want.negatives.size());
        CHECK(to_host(got.negatives.data(), got.size() * n_negatives) == want.negatives);
        ++n;
      }
      CHECK_FALSE(source.next());
      CHECK(n == source.n_batches());
    }
  }
  CHECK_THROWS_AS(BatchSource<B>(ctx, train, known, n_items, 0, 11), ConfigError);
  CHECK_THROWS_AS(BatchSource<B>(ctx, train, known, n_items, 4, 11, 0), ConfigError);
}

TEST_CASE("id lists are grouped by id in the order of their positions") {
  Context<B> ctx;
  for (const Index n : {1, 2, 31, 256, 257, 8192, 8193})
    for (const Index n_rows : {1, 2, 40, 100000}) {
      if (n > 8000 && (n_rows != 40 || (watched && n == 8192))) continue;  // where counting ends, whatever the rows
      CAPTURE(n);
      CAPTURE(n_rows);
      const auto ids = random_ids(n, n_rows, 1);
      const auto there = upload(ids);
      const IndexList list = make_index_list(ctx, there.span(), n_rows);
      REQUIRE(list.size == n);
      CHECK(to_host(list.ids, n) == ids);
      std::vector<Id> order(ids.size());
      for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<Id>(i);
      const auto id_at = [&](Id position) { return ids[static_cast<std::size_t>(position)]; };
      std::ranges::stable_sort(order, {}, id_at);
      auto got = to_host(list.order, n);
      CHECK(got == order);
      std::vector<Index> segments;
      for (std::size_t i = 0; i < order.size(); ++i)
        if (i == 0 || id_at(order[i]) != id_at(order[i - 1])) segments.push_back(static_cast<Index>(i));
      segments.resize(static_cast<std::size_t>(list.n_segments) + 1, n);  // the rest are empty
      CHECK(to_host(list.segments, list.n_segments + 1) == segments);
      ctx.arena().reset();
    }
  CHECK(make_index_list(ctx, std::span<const Id>(), 5).size == 0);
}

TEST_CASE("distinct lists have each id once, ascending, and valid padding") {
  Context<B> ctx;
  for (const Index n_a : {1, 40, 8100})
    for (const Index n_b : {0, 1, 300})
      for (const Index n_rows : {1, 40, 100000}) {
        if (n_a > 8000 && (n_rows != 40 || (watched && n_b < 300))) continue;
        CAPTURE(n_a);
        CAPTURE(n_b);
        CAPTURE(n_rows);
        const auto a = random_ids(n_a, n_rows, 1);
        const auto b = random_ids(n_b, n_rows, 2);
        const auto a_there = upload(a), b_there = upload(b);
        const IndexList list = make_distinct_list(ctx, a_there.span(), b_there.span(), n_rows);
        std::vector<Id> want = a;
        want.insert(want.end(), b.begin(), b.end());
        std::ranges::sort(want);
        want.erase(std::unique(want.begin(), want.end()), want.end());
        const auto n = static_cast<Index>(want.size());
        REQUIRE(list.size == n_a + n_b);
        CHECK(to_host(list.count, 1)[0] == n);
        auto ids = to_host(list.ids, list.size);
        CHECK(std::equal(want.begin(), want.end(), ids.begin()));
        CHECK(std::all_of(ids.begin() + n, ids.end(), [&](Id id) { return id >= 0 && id < n_rows; }));
        const auto segments = to_host(list.segments, list.n_segments + 1);
        const auto order = to_host(list.order, list.size + 1);
        for (Index i = 0; i <= list.n_segments; ++i) CHECK(segments[static_cast<std::size_t>(i)] == std::min(i, n));
        for (Index i = 0; i < n; ++i) CHECK(order[static_cast<std::size_t>(i)] == i);
        CHECK(order.back() >= 0);
        ctx.arena().reset();
      }
}

TEST_CASE_TEMPLATE("ranking with ties, masks and more places than items", T, REARM_TEST_SCALARS) {
  Context<CudaBackend<T>> ctx;
  for (const Index n_items : {1, 31, 33, 200}) {
    const Matrix<double> users = tabulate(3, 2, [](Index i, Index j) { return static_cast<double>(i * 2 + j); });
    const Matrix<double> items =
        tabulate(n_items, 2, [](Index i, Index j) { return static_cast<double>((i * 7 + j) % 4); });
    const auto as = [](const Matrix<double>& m) {
      Matrix<T> out(m.rows(), m.cols());
      std::copy_n(m.data(), m.size(), out.data());
      return upload(out);
    };
    const auto users_there = as(users), items_there = as(items);
    std::vector<Id> all;
    for (Id i = 0; i < n_items; ++i) all.push_back(i);
    std::vector<Id> odd;
    for (Id i = 1; i < n_items; i += 2) odd.push_back(i);
    const Adjacency masked = lists_of({odd, {}, all});
    const std::vector<Id> who{2, 0, 1, 0};
    for (const Index k : {1, 5, 32, 33, 70, 300}) {
      CAPTURE(n_items);
      CAPTURE(k);
      const auto got = recommend(ctx, users_there.view(), who, items_there.view(), &masked, k);
      Index wrong = 0;
      for (std::size_t r = 0; r < who.size(); ++r) {
        const auto score = [&](Id i) { return users(who[r], 0) * items(i, 0) + users(who[r], 1) * items(i, 1); };
        std::vector<Id> want;
        for (const Id i : all)
          if (!masked.contains(who[r], i)) want.push_back(i);
        std::ranges::stable_sort(want, std::greater<>{}, score);
        for (Index j = 0; j < k; ++j) {
          const bool padding = j >= static_cast<Index>(want.size());
          const Id id = padding ? -1 : want[static_cast<std::size_t>(j)];
          const T value = padding ? -std::numeric_limits<T>::infinity() : static_cast<T>(score(id));
          wrong += got.ids(static_cast<Index>(r), j) != id || got.scores(static_cast<Index>(r), j) != value;
        }
      }
      CHECK(wrong == 0);
    }
  }
  auto users = upload(random_matrix<T>(3, 4, 1));
  const auto items = upload(random_matrix<T>(40, 4, 2));
  put(users, 5, std::numeric_limits<T>::quiet_NaN());
  const std::vector<Id> who{0, 1, 2};
  CHECK_THROWS_WITH_AS(recommend(ctx, users.view(), who, items.view(), nullptr, 3), doctest::Contains("user 1"),
                       NumericError);
  const std::vector<Id> others{0, 2};
  CHECK_NOTHROW(recommend(ctx, users.view(), others, items.view(), nullptr, 3));
}

TEST_CASE_TEMPLATE("attention of 64 columns keeps which weights it dropped, and goes back by them", T,
                   REARM_TEST_SCALARS) {
  Context<CudaBackend<T>> ctx;
  constexpr Index n = 3, d = 64;
  const auto q = upload(random_matrix<T>(n, d, 1)), k = upload(random_matrix<T>(n, d, 2)),
             v = upload(random_matrix<T>(n, d, 3)), d_out = upload(random_matrix<T>(n, d, 4));
  CHECK(attention_bits(ctx, n, d, 0.0) == nullptr);
  CHECK(attention_bits(ctx, n, d - 1, 0.4) == nullptr);
  std::uint64_t* const kept = attention_bits(ctx, n, d, 0.4);
  REQUIRE(kept != nullptr);
  const RandomKey key{1, 2, 3};
  TestMatrix<T> out(n, d);
  rank_one_attention(ctx, std::as_const(q).view(), std::as_const(k).view(), std::as_const(v).view(), T(0.5), 0.4, key,
                     out.view(), 7, kept);
  const auto backward = [&](std::uint64_t* bits) {
    TestMatrix<T> all(3 * n, d);
    const auto part = [&](Index i) { return all.view().row_block(i * n, n); };
    rank_one_attention_backward(ctx, std::as_const(q).view(), std::as_const(k).view(), std::as_const(v).view(), T(0.5),
                                0.4, key, std::as_const(out).view(), std::as_const(d_out).view(), part(0), part(1),
                                part(2), 7, bits);
    return to_host(all.view().data, all.view().size());
  };
  const auto drawn = backward(nullptr);
  CHECK(backward(kept) == drawn);
  auto bits = to_host(kept, n * d);
  const functors::DropoutMask mask = functors::DropoutMask::make(key, 0.4);
  Index wrong = 0;
  for (Index row = 0; row < n * d; ++row)
    for (Index b = 0; b < d; ++b) {
      const auto draw = static_cast<std::uint64_t>(7 * d + row) * functors::DropoutMask::draws(d);
      wrong += ((bits[static_cast<std::size_t>(row)] >> b & 1) != 0) != mask.keep(draw, b, d);
    }
  CHECK(wrong == 0);
  for (std::uint64_t& word : bits) word = ~word;  // it reads them, all of them
  TestMemory::copy_from_host(kept, bits.data(), bits.size() * sizeof(std::uint64_t));
  const auto other = backward(kept);
  Index same = 0;
  for (std::size_t i = static_cast<std::size_t>(2 * n * d); i < other.size(); ++i) same += other[i] == drawn[i] ? 1 : 0;
  CHECK(same == 0);
}

TEST_CASE_TEMPLATE("the library's sparse product is that of our kernel", T, REARM_TEST_SCALARS) {
  Context<CudaBackend<T>> in_order, library(CudaOptions{.deterministic = false});
  const auto a = general(random_csr<T>(90, 70, 0.2, 1));
  for (const Index width : {1, 3, 64, 65, 200})
    for (const Write write : {Write::overwrite, Write::accumulate}) {
      for (const Index stride : {width + 5, (width + 11) / 8 * 8}) {  // rows that begin anywhere, and every 16 bytes
        const auto x = upload(random_matrix<T>(70, stride, 2));
        TestMatrix<T> y[2] = {upload(random_matrix<T>(90, stride, 3)), upload(random_matrix<T>(90, stride, 3))};
        for (const Index first : {2, 4}) {  // floats: not where the library takes them, and where it does
          spmm(in_order, a.view(), x.view().col_block(first, width), {y[0].view().col_block(first, width), write});
#if defined(EMULATED_CUDA)
          const auto before = emulated_cuda::counters().sparse_products;
          const bool aligned = first * sizeof(T) % 16 == 0 && stride * sizeof(T) % 16 == 0;
#endif
          spmm(library, a.view(), x.view().col_block(first, width), {y[1].view().col_block(first, width), write});
#if defined(EMULATED_CUDA)
          CHECK(emulated_cuda::counters().sparse_products == before + (aligned ? 1 : 0));
#endif
        }
        const Matrix<T> want = to_host(y[0]);
        check_close(y[1], tabulate(90, stride, [&](Index r, Index c) { return static_cast<double>(want(r, c)); }));
      }
    }
}

TEST_CASE("a model represents users and items as it does on the CPU") {
  SyntheticSettings settings;
  settings.n_users = 90;
  settings.n_items = 60;
  const Dataset data = make_synthetic(settings);
  for (const Variant variant : {Variant::reference, Variant::paper})
    for (const Features features : {Features::frozen, Features::residual}) {
      RearmSettings s = tiny_settings();
      s.model.variant = variant;
      s.model.features.kind = features;
      Context<B> ctx({}, s.train.seed);
      Model<B> model(ctx, data, s.model, graphs_of<B>(data, s));
      Tape<B> tape(ctx, false);
      const Matrix<float> want = host_representation(data, s.model, s.train.seed);
      check_close(model.forward(tape, {}).representation, tabulate(want.rows(), want.cols(), [&](Index i, Index j) {
                    return static_cast<double>(want(i, j));
                  }));
    }
}

}  // namespace cuda_device_test
