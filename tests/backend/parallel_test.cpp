/// @file parallel_test.cpp
/// The CPU's threads: settings, coverage, exceptions.

#include <rearm/backend/cpu/cpu_backend.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <string>
#include <vector>

using namespace rearm;

TEST_CASE("the number of threads is checked and named") {
  CHECK_THROWS_WITH_AS(Context<CpuBackend<float>>(CpuOptions{-1}), "threads = -1: must be 0 (all cores) or 1 to 1024",
                       ConfigError);
  CHECK_THROWS_AS(Context<CpuBackend<double>>(CpuOptions{1025}), ConfigError);
  CHECK(Context<CpuBackend<float>>(CpuOptions{0}).resources().threads() >= 1);
}

TEST_CASE("a context carries the seed into its keys") {
  Context<CpuBackend<float>> ctx(CpuOptions{1}, 99);
  CHECK(ctx.key(3, 4).seed == 99);
  CHECK(ctx.key(3, 4).stream == 3);
  CHECK(ctx.key(3, 4).step == 4);
  ctx.set_seed(7);
  CHECK(ctx.key(3).seed == 7);
}

TEST_CASE("every chunk runs once, ranges cover everything") {
  for (const int threads : {1, 2, 3}) {
    const cpu::Resources resources(CpuOptions{threads});
    for (const Index n : {0, 1, 2, 63, 64, 65, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(n));
      cpu::parallel_chunks(resources, n, [&](Index chunk) { ++runs[static_cast<std::size_t>(chunk)]; });
      for (const auto& r : runs) REQUIRE(r == 1);
      cpu::parallel_ranges(resources, n, 64, [&](Index begin, Index end) {
        if (end - begin > 64 || end <= begin) throw ShapeError("a range of the wrong size");
        for (Index i = begin; i < end; ++i) ++runs[static_cast<std::size_t>(i)];
      });
      for (const auto& r : runs) REQUIRE(r == 2);
    }
  }
}

TEST_CASE("an exception in a chunk reaches the caller with its type, and the threads work on") {
  for (const int threads : {1, 2}) {
    const cpu::Resources resources(CpuOptions{threads});
    const auto run = [&] {
      cpu::parallel_chunks(resources, 50, [](Index chunk) {
        if (chunk == 31) throw DataError("chunk 31");
      });
    };
    CHECK_THROWS_WITH_AS(run(), "chunk 31", DataError);
    std::atomic<int> done{0};
    cpu::parallel_chunks(resources, 50, [&](Index) { ++done; });
    CHECK(done == 50);
  }
}
