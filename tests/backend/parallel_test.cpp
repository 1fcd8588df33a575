/// @file parallel_test.cpp
/// The CPU's threads: settings, coverage, exceptions.

#include <rearm/backend/cpu/cpu_backend.hpp>

#include <doctest/doctest.h>

#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace backend_parallel_test {

using namespace rearm;

TEST_CASE("the number of threads is checked and named") {
  CHECK_THROWS_WITH_AS(Context<CpuBackend<float>>(CpuOptions{-1}), "threads = -1: must be 0 (all CPUs) or 1 to 1024",
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
    cpu::Resources resources(CpuOptions{threads});
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
    cpu::Resources resources(CpuOptions{threads});
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

TEST_CASE("a chunk is told which thread runs it, no two at once the same") {
  cpu::Resources resources(CpuOptions{3});
  std::atomic<int> inside[3] = {};
  std::atomic<bool> alone{true};
  cpu::parallel_chunks(resources, 2000, [&](Index, int thread) {
    if (thread < 0 || thread >= 3 || inside[thread]++ != 0) alone = false;
    --inside[thread];
  });
  CHECK(alone);
}

TEST_CASE("many short works in a row each run all their chunks, and see what the caller wrote before") {
  cpu::Resources resources(CpuOptions{4});
  int written = 0;
  for (int round = 0; round < 20000; ++round) {
    written = round;
    std::atomic<int> right{0};
    cpu::parallel_chunks(resources, 1 + round % 5, [&](Index) { right += written == round ? 1 : 100; });
    REQUIRE(right == 1 + round % 5);
  }
}

TEST_CASE("work inside work of the same context is refused") {
  for (const int threads : {1, 2}) {
    cpu::Resources resources(CpuOptions{threads});
    const auto nested = [&] {
      cpu::parallel_chunks(resources, 4, [&](Index) { cpu::parallel_chunks(resources, 4, [](Index) {}); });
    };
    CHECK_THROWS_WITH_AS(nested(), "a context may be used from one thread at a time, and not from inside its own work",
                         Error);
    cpu::parallel_chunks(resources, 4, [](Index) {});  // and works on
  }
}

TEST_CASE("two contexts in two threads, and one inside another's work") {
  cpu::Resources outer(CpuOptions{2});
  std::atomic<int> done{0};
  cpu::parallel_chunks(outer, 4, [&](Index) {
    cpu::Resources inner(CpuOptions{2});
    cpu::parallel_chunks(inner, 10, [&](Index) { ++done; });
  });
  CHECK(done == 40);
}

#if defined(__linux__)
namespace {
/// Threads of this process, apart from the calling one, that are not asleep.
int threads_awake() {
  int awake = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    if (task.path().filename() == std::to_string(::gettid())) continue;
    std::string text;
    std::getline(std::ifstream(task.path() / "stat"), text);
    if (const auto end = text.rfind(") "); end != std::string::npos && text[end + 2] != 'S') ++awake;
  }
  return awake;
}
}  // namespace

TEST_CASE("threads without work go to sleep, while others' work goes on and after it") {
  cpu::Resources resources(CpuOptions{3});
  const auto fall_asleep = [] {
    for (int i = 0; i < 2000 && threads_awake() != 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return threads_awake() == 0;
  };
  std::atomic<bool> asleep_meanwhile{false};
  cpu::parallel_chunks(resources, 2, [&](Index chunk) {
    if (chunk == 1) asleep_meanwhile = fall_asleep();  // whoever has this chunk, the others have nothing to do soon
  });
  CHECK(asleep_meanwhile);
  CHECK(fall_asleep());
}
#endif

TEST_CASE("quotas of control groups: the smallest on the way up, either version, none where there is none") {
  const std::filesystem::path root =
      std::filesystem::temp_directory_path() / ("rearm_cgroup_" + std::to_string(::getpid()));
  const auto write = [&](const char* name, const char* text) {
    std::filesystem::create_directories((root / name).parent_path());
    std::ofstream(root / name) << text;
  };
  const auto cpus = [&](const char* membership) {
    write("membership", membership);
    return cpu::cgroup_cpus(root / "membership", root / "mount");
  };
  constexpr double none = std::numeric_limits<double>::infinity();
  CHECK(cpu::cgroup_cpus(root / "absent", root / "mount") == none);
  CHECK(cpus("0::/a/b\n") == none);
  write("mount/a/b/cpu.max", "max 100000\n");
  CHECK(cpus("0::/a/b\n") == none);
  write("mount/a/cpu.max", "150000 100000\n");
  CHECK(cpus("0::/a/b\n") == 1.5);
  CHECK(cpus("0::/\n") == none);
  write("mount/cpu.max", "50000 100000\n");  // the top of a container's own mount
  CHECK(cpus("0::/not/seen/here\n") == 0.5);
  write("mount/cpu,cpuacct/job/cpu.cfs_quota_us", "300000\n");
  write("mount/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
  CHECK(cpus("4:cpu,cpuacct:/job\n3:memory:/other\n") == 3);
  write("mount/cpu,cpuacct/job/cpu.cfs_quota_us", "-1\n");
  CHECK(cpus("4:cpu,cpuacct:/job\n") == none);
  CHECK(cpus("7:cpuset:/job\nnonsense\n:\n") == none);
  std::filesystem::remove_all(root);
  CHECK(cpu::available_cpus() >= 1);
}

}  // namespace backend_parallel_test
