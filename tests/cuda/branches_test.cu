/// @file branches_test.cu
/// The two branches of a step: the bits of one chain, in whatever order a device runs what nothing orders, and a wait
/// that is left out is found.
#define REARM_TEST_CUDA
#include "tests/support/matrices.hpp"
#include "tests/support/small_data.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <string>
#include <vector>

namespace cuda_branches_test {

namespace {

using namespace rearm;
using namespace rearm::test;
using B = CudaBackend<float>;
using State = std::vector<std::vector<char>>;

/// Steps of REARM on one batch, recorded as soon as possible.
struct Steps {
  Context<B> ctx;
  Model<B> model;
  BatchThere batch;
  AdamW<B> optimizer{{.learning_rate = 0.01}};
  Tape<B> tape{ctx};
  StepReplay<B> replay{ctx};
  Var<B> loss;
  std::uint32_t n = 0;

  Steps(const Dataset& data, const RearmSettings& s, const GraphSet<float>& graphs, CudaOptions options = {})
      : ctx(options, s.train.seed),
        model(ctx, data, s.model, copy_graphs<B>(graphs)),
        batch(first_batch(data, s.train)) {
    for (auto& table : model.parameters().tables()) table.fuses_weight_gradient = true;
  }
  void operator()(int steps = 1) {
    for (int i = 0; i < steps; ++i) {
      replay.run(n, 1, optimizer, [&] {
        tape.reset();
        loss = model.loss(tape, {batch, n, true}).total();
        tape.backward(loss, AfterBackward::release);
        optimizer.step(ctx, model.parameters());
      });
      ++n;
    }
  }
  /// Until a step is recorded, or could not be.
  void record() {
    for (int i = 0; i < 20 && !replay.recorded() && replay.failure().empty(); ++i) (*this)();
  }
  /// Nothing that the last step left in the arena is of use to the next one.
  void spoil_arena() {
    for (const int b : {0, 1})
      ctx.in_branch(b, [&] {
        const auto n_floats = static_cast<Index>(ctx.arena().capacity() / sizeof(float));
        ctx.arena().reset();
        fill(ctx, std::numeric_limits<float>::quiet_NaN(),
             {ctx.arena().template allocate<float>(n_floats), 1, n_floats});
        ctx.arena().reset();
      });
  }
  /// All weights and moments, then gradients and the last loss.
  State state() {
    State out;
    for_each_array([&](auto* data, Index size) { out.push_back(bytes_of(data, size)); });
    auto& arrays = model.parameters().arrays();
    out.push_back(bytes_of(arrays.gradients(), arrays.size()));
    out.push_back(bytes_of(loss.value().data, 1));
    return out;
  }
  void restore(const State& then, std::uint32_t step) {
    auto next = then.begin();
    for_each_array([&](auto* data, Index) { TestMemory::copy_from_host(data, next->data(), next->size()), ++next; });
    optimizer.set_step_count(n = step);
  }

 private:
  template <class F>
  void for_each_array(const F& f) {
    model.parameters().for_each([&](auto& p) { p.with_values([&](auto m) { f(m.data, m.size()); }); });
    optimizer.for_each_moment(model.parameters(), [&](auto&, auto m, auto v) {
      f(m.data, m.size());
      f(v.data, v.size());
    });
  }
  template <class T>
  static std::vector<char> bytes_of(const T* data, Index size) {
    std::vector<char> bytes(static_cast<std::size_t>(size) * sizeof(T));
    if (!bytes.empty()) TestMemory::copy_to_host(bytes.data(), data, bytes.size());
    return bytes;
  }
};
}  // namespace

TEST_CASE("branches have streams, counters and parts of the arena of their own, and work outside waits for both") {
  Context<B> ctx;
  const auto& resources = ctx.resources();
  CHECK(ctx.branch() == -1);
  const auto outside = resources.stream();
  Arena<CudaMemory>* const arena = &ctx.arena();
  struct Of {
    cudaStream_t stream;
    cublasHandle_t blas;
    cusparseHandle_t sparse;
    unsigned* arrived;
    Arena<CudaMemory>* arena;
  } of[2];
  for (int b = 0; b < 2; ++b)
    of[b] = ctx.in_branch(b, [&] {
      CHECK(ctx.branch() == b);
      return Of{resources.stream(), resources.blas(), resources.sparse(), resources.arrived(), &ctx.arena()};
    });
  CHECK(of[0].stream == outside);
  CHECK(of[0].arena == arena);
  CHECK(of[0].stream != of[1].stream);
  CHECK(of[0].blas != of[1].blas);
  CHECK(of[0].sparse != of[1].sparse);
  CHECK(of[0].arrived != of[1].arrived);
  CHECK(of[0].arena != of[1].arena);
  cudaStream_t of_handles[2];
  for (int b = 0; b < 2; ++b) {
    REQUIRE(cublasGetStream(of[b].blas, &of_handles[b]) == CUBLAS_STATUS_SUCCESS);
    CHECK(of_handles[b] == of[b].stream);
  }
  // Thrown through a branch, which ends it.
  CHECK_THROWS_AS(ctx.in_branch(1, [] { throw DataError("on purpose"); }), DataError);
  CHECK(ctx.branch() == -1);

  auto x = upload(random_matrix<float>(4, 3, 5)), y = upload(random_matrix<float>(4, 3, 6));
  const auto twice = [&](MatrixView<float> m) { scaled_copy(ctx, 2.0F, In<B>(m), m); };
  twice(x.view());
  for (const int b : {0, 1, 0, 1}) ctx.in_branch(b, [&] { twice(b == 0 ? x.view() : y.view()); });
  scaled_copy(ctx, 1.0F, In<B>(y.view()), add_to(x.view()));
  const Matrix<float> seen = to_host(x), a = random_matrix<float>(4, 3, 5), c = random_matrix<float>(4, 3, 6);
  for (Index i = 0; i < seen.size(); ++i) CHECK(seen.data()[i] == 8 * a.data()[i] + 4 * c.data()[i]);

  Context<B> chain(CudaOptions{.branches = false});
  chain.in_branch(1, [&] {
    CHECK(chain.branch() == -1);
    CHECK(chain.arena().generation() == 0);
  });
}

TEST_CASE("two branches of a step compute the bits of one chain") {
  for (const Features kind : {Features::trainable, Features::residual}) {
    RearmSettings s = tiny_settings();
    s.model.features.kind = kind;
    const Dataset data = tiny_data();
    const auto graphs = host_graphs<float>(data, s.model, s.train.seed);
    Steps chain(data, s, graphs, {.branches = false}), branches(data, s, graphs);
    for (Steps* steps : {&chain, &branches}) {
      steps->record();
      REQUIRE_MESSAGE(steps->replay.recorded(), std::string(steps->replay.failure()));
      (*steps)(20 - static_cast<int>(steps->n));
    }
    CHECK(branches.replay.launches() == chain.replay.launches());
    CHECK(branches.state() == chain.state());
  }
}

#if defined(EMULATED_CUDA)
TEST_CASE("the bits do not depend on which branch runs first, and without one of the waits between them they do") {
  using emulated_cuda::GraphOrder;
  struct Recorded {  // whatever fails, the order is again what it was
    ~Recorded() {
      emulated_cuda::set_graph_order(GraphOrder::recorded);
      emulated_cuda::skip_wait(-1);
    }
  } const recorded;
  const Dataset data = tiny_data();
  const RearmSettings s = tiny_settings();
  const auto graphs = host_graphs<float>(data, s.model, s.train.seed);
  Steps chain(data, s, graphs, {.branches = false}), branches(data, s, graphs);
  branches.record();
  REQUIRE(branches.replay.recorded());
  const int waits = emulated_cuda::last_graph_waits();
  const std::uint32_t step = branches.n;
  chain(static_cast<int>(step) + 1);
  const State want = chain.state();
  const State before = branches.state();
  // Whether one more step without wait number `fault` ends elsewhere.
  const auto found = [&](int fault) {
    emulated_cuda::skip_wait(fault);
    for (const GraphOrder order : {GraphOrder::first_stream, GraphOrder::last_stream}) {
      branches.restore(before, step);
      branches.spoil_arena();
      emulated_cuda::set_graph_order(order);
      branches();
      if (branches.state() != want) return true;
    }
    return false;
  };
  CHECK_FALSE(found(-1));
  int n_found = 0;
  std::string unseen;
  for (int fault = 0; fault < waits; ++fault)
    if (found(fault))
      ++n_found;
    else
      unseen += " " + std::to_string(fault);
  MESSAGE(waits, " waits between the branches of a step; nothing needs number", unseen);
  CHECK(n_found >= 12);
  // What a branch makes at once needs nothing of what stands before; or another wait, right after, is for more.
  CHECK(waits - n_found <= 6);
}
#endif

}  // namespace cuda_branches_test
