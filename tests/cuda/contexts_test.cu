/// @file contexts_test.cu
/// Several contexts: in two threads of one device, on two devices in one thread, and what is recorded beside others.
#define REARM_TEST_CUDA
#include "tests/support/matrices.hpp"
#include "tests/support/shared.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace cuda_contexts_test {

namespace {

using namespace rearm;
using namespace rearm::test;
using B = CudaBackend<float>;

/// A device that is there beside the first, or -1.
int second_device() { return gpu::device_count() > 1 ? 1 : -1; }
#if defined(EMULATED_CUDA)
struct TwoDevices {
  TwoDevices() { emulated_cuda::set_devices(2); }
  ~TwoDevices() { emulated_cuda::set_devices(1); }
};
#else
struct TwoDevices {};
#endif
int current_device() {
  int device = -1;
  REQUIRE(cudaGetDevice(&device) == cudaSuccess);
  return device;
}

/// One small product and its update.
struct Work {
  Context<B> ctx;
  Tape<B> tape{ctx};
  ParameterStore<B> store;
  Parameter<B>& weight = store.add("weight", 5, 7);
  TestMatrix<float> data = upload(random_matrix<float>(9, 7, 1));
  AdamW<B> optimizer{{.learning_rate = 0.01}};
  StepReplay<B> replay{ctx};
  std::uint32_t step = 0;

  explicit Work(int device = 0) : ctx(CudaOptions{.device = device}) { init_normal(weight, 1.0, 3); }
  /// One step; `meanwhile` is called in its middle.
  void operator()(const std::function<void()>& meanwhile = {}) {
    replay.run(step++, 9, optimizer, [&] {
      tape.reset();
      const auto y = linear(tape.constant(std::as_const(data).view()), tape.parameter(weight));
      if (meanwhile) meanwhile();
      tape.backward(sum_of_squares(y), AfterBackward::release);
      optimizer.step(ctx, store);
    });
  }
  Matrix<float> result() const { return to_host(weight.value()); }
};
Matrix<float> after_steps(int n) {
  Work work;
  for (int i = 0; i < n; ++i) work();
  return work.result();
}
bool equal(const Matrix<float>& a, const Matrix<float>& b) {
  return std::equal(a.data(), a.data() + a.size(), b.data(), b.data() + b.size());
}
void twice(Context<B>& ctx, MatrixView<float> x) { scaled_copy(ctx, 2.0F, In<B>(x), x); }
bool is_times(const Matrix<float>& a, float factor, const Matrix<float>& b) {
  return std::equal(a.data(), a.data() + a.size(), b.data(), [&](float x, float y) { return x == factor * y; });
}
/// Steps until one is recorded, in whose middle `meanwhile` is called: it tells whether a thread's `other` has ended.
void record_beside(Work& work, const std::function<void()>& other, std::chrono::milliseconds longest, bool& ended) {
  std::atomic<bool> done = false;
  std::thread thread;
  for (int i = 0; i < 20 && !work.replay.recorded() && work.replay.failure().empty(); ++i)
    work([&] {
      cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
      REQUIRE(cudaStreamIsCapturing(work.ctx.resources().stream(), &status) == cudaSuccess);
      if (status == cudaStreamCaptureStatusNone || thread.joinable()) return;
      thread = std::thread([&] {
        other();
        done = true;
      });
      const auto end = std::chrono::steady_clock::now() + longest;
      while (!done && std::chrono::steady_clock::now() < end) std::this_thread::yield();
      ended = done;
    });
  REQUIRE(thread.joinable());
  thread.join();
}

}  // namespace

TEST_CASE("another thread's copies and zeroing go on beside a recording and do not spoil it") {
  Work work;
  Context<B> other;
  auto theirs = upload(random_matrix<float>(4, 3, 5));
  Matrix<float> seen(4, 3);
  bool ended = false;
  record_beside(
      work,
      [&] {
        for (int i = 0; i < 3; ++i) {
          twice(other, theirs.view());
          seen = to_host(theirs);
          TestMemory::zero(theirs.data(), sizeof(float));
          TestMemory::copy_from_host(theirs.data(), seen.data(), sizeof(float));
        }
      },
      std::chrono::seconds(60), ended);
  CHECK(ended);
  CHECK_MESSAGE(work.replay.recorded(), std::string(work.replay.failure()));
  CHECK(is_times(seen, 8, random_matrix<float>(4, 3, 5)));
  CHECK(equal(work.result(), after_steps(static_cast<int>(work.step))));
}

TEST_CASE("a thread that takes or frees memory, or makes a context, waits for another's recording") {
  for (int what = 0; what < 3; ++what) {
    CAPTURE(what);
    Work work;
    Buffer<float, CudaMemory> old(what == 1 ? 5 : 0);
    bool ended = true;
    record_beside(
        work,
        [&] {
          if (what == 0) Buffer<float, CudaMemory>(10);
          if (what == 1) Buffer<float, CudaMemory>().operator=(std::move(old));
          if (what == 2) Context<B>();
        },
        std::chrono::milliseconds(what == 2 ? 100 : 20), ended);
    CHECK_FALSE(ended);
    CHECK_MESSAGE(work.replay.recorded(), std::string(work.replay.failure()));
    CHECK(equal(work.result(), after_steps(static_cast<int>(work.step))));
  }
}

TEST_CASE("a step that is not recorded runs, three failures end the attempts, and it is said why") {
  Work work;
  int n = 0, calls = 0;
  for (; n < 30; ++n)
    work([&] {
      float value = 0;
      ++calls;
      TestMemory::copy_to_host(&value, work.data.data(), sizeof value);  // no recording waits
    });
  CHECK_FALSE(work.replay.recorded());
  CHECK(work.replay.launches() == 0);
  CHECK(calls == n + 3);
  CHECK(work.replay.failure().find("cudaStreamSynchronize") != std::string_view::npos);
  CHECK(equal(work.result(), after_steps(n)));

  Work once;  // fails once and is recorded then
  int failures = 0;
  for (int i = 0; i < 20; ++i) {
    once([&] {
      float value = 0;
      cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
      cudaStreamIsCapturing(once.ctx.resources().stream(), &status);
      if (status != cudaStreamCaptureStatusNone && failures++ == 0)
        TestMemory::copy_to_host(&value, once.data.data(), sizeof value);
    });
  }
  CHECK(failures == 2);
  CHECK(once.replay.recorded());
  CHECK(once.replay.failure().empty());
  CHECK(equal(once.result(), after_steps(20)));
}

TEST_CASE("two threads with a context each train beside each other") {
  Matrix<float> results[2];
  std::string failures[2];
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t)
    threads.emplace_back([&, t] {
      Work work;
      for (int i = 0; i < 40; ++i) {
        work();
        if (i % 8 == t) Buffer<float, CudaMemory>(100);  // takes, zeroes and frees
        if (i % 8 == 4 + t) work.replay.forget();        // to be recorded anew
        if (i % 8 == 7) results[t] = work.result();
      }
      failures[t] = work.replay.failure();
    });
  for (std::thread& thread : threads) thread.join();
  const Matrix<float> want = after_steps(40);
  for (int t = 0; t < 2; ++t) {
    CHECK(failures[t].empty());
    CHECK(equal(results[t], want));
  }
}

TEST_CASE("a recommender beside a trainer: the same lists and the same weights as alone") {
  Work trainer;
  const auto users = upload(random_matrix<float>(20, 4, 1));
  const auto items = upload(random_matrix<float>(40, 4, 2));
  const std::vector<Id> who{0, 7, 19};
  std::vector<Id> want;
  {
    Context<B> ctx;
    const auto lists = recommend(ctx, users.view(), who, items.view(), nullptr, 5);
    want.assign(lists.ids.data(), lists.ids.data() + lists.ids.size());
  }
  std::atomic<bool> stop = false;
  int served = 0, wrong = 0;
  std::thread recommender([&] {
    Context<B> ctx;
    do {
      const auto lists = recommend(ctx, users.view(), who, items.view(), nullptr, 5);
      wrong += std::equal(want.begin(), want.end(), lists.ids.data()) ? 0 : 1;
      ++served;
    } while (!stop);
  });
  for (int i = 0; i < 30; ++i) {
    trainer();
    if (i % 6 == 5) trainer.replay.forget();
  }
  stop = true;
  recommender.join();
  CHECK(served > 0);
  CHECK(wrong == 0);
  CHECK_MESSAGE(trainer.replay.failure().empty(), std::string(trainer.replay.failure()));
  CHECK(equal(trainer.result(), after_steps(30)));
}

TEST_CASE("contexts of two devices in one thread take their own memory and leave the current device") {
  [[maybe_unused]] const TwoDevices two;
  const int second = second_device();
  if (second < 0) return report_skip("one CUDA device only");
  REQUIRE(current_device() == 0);
  const Matrix<float> want = after_steps(10);
#if defined(EMULATED_CUDA)
  const std::size_t before[2] = {emulated_cuda::allocated_bytes(0), emulated_cuda::allocated_bytes(1)};
#endif
  {
    Work there(second);
    CHECK(current_device() == 0);
    Work here(0);
    CHECK(current_device() == 0);
    for (int i = 0; i < 10; ++i) {
      here();
      there();
      CHECK(current_device() == 0);
    }
    CHECK(here.replay.recorded());
    CHECK(there.replay.recorded());
    CHECK(equal(there.result(), want));
    CHECK(equal(here.result(), want));
    for (Work* work : {&there, &here}) {  // the arena's memory is its context's, whoever was used last
      cudaPointerAttributes attributes{};
      Context<B> fresh(CudaOptions{.device = work == &there ? second : 0});
      (work == &there ? here : there).ctx.enter();
      REQUIRE(cudaPointerGetAttributes(&attributes, fresh.arena().allocate<float>(10)) == cudaSuccess);
      CHECK(attributes.device == (work == &there ? second : 0));
    }
    there.ctx.enter();
    const auto users = upload(random_matrix<float>(3, 4, 1)), items = upload(random_matrix<float>(6, 4, 2));
    const std::vector<Id> who{2, 0};
    here.ctx.enter();
    CHECK(recommend(there.ctx, users.view(), who, items.view(), nullptr, 3).ids(0, 0) >= 0);
    CHECK(current_device() == 0);
#if defined(EMULATED_CUDA)
    CHECK(emulated_cuda::allocated_bytes(0) - before[0] == emulated_cuda::allocated_bytes(1) - before[1] -
                                                               emulated_cuda::round_up(users.view().size() * 4) -
                                                               emulated_cuda::round_up(items.view().size() * 4));
#endif
    // A thread whose own device is another one.
    Matrix<float> result;
    std::thread([&] {
      there();
      here();
      result = there.result();
      CHECK(current_device() == 0);
    }).join();
    CHECK(equal(result, after_steps(11)));
  }
#if defined(EMULATED_CUDA)
  CHECK(emulated_cuda::allocated_bytes(0) == before[0]);
  CHECK(emulated_cuda::allocated_bytes(1) == before[1]);
#endif
  CHECK(current_device() == 0);
}

TEST_CASE("a copy waits for every context of its thread, and another thread's work is waited for by hand") {
  Context<B> first, second;
  auto x = upload(random_matrix<float>(4, 3, 5));
  TestMatrix<float> y(2, 2);
  const auto want = random_matrix<float>(4, 3, 5);
  twice(first, x.view());
  first.resources().synchronize();
  twice(second, x.view());
  twice(first, y.view());
  CHECK(is_times(to_host(x), 4, want));
  std::thread([&] {
    twice(first, x.view());
    first.resources().synchronize();
  }).join();
  CHECK(is_times(to_host(x), 8, want));
}

}  // namespace cuda_contexts_test
