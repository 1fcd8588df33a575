#include <rearm/core/available_memory.hpp>

#include <doctest/doctest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace core_available_memory_test {

using namespace rearm;
namespace fs = std::filesystem;

TEST_CASE("the memory that control groups leave is the least of theirs, without what is cached") {
  const fs::path root = fs::temp_directory_path() / ("rearm_memory_" + std::to_string(::getpid()));
  const auto write = [&](const fs::path& file, const std::string& text) {
    fs::create_directories((root / file).parent_path());
    std::ofstream(root / file) << text;
  };
  const auto available = [&] { return detail::cgroup_memory(root / "membership", root / "mount"); };
  fs::remove_all(root);
  CHECK(available().limit.empty());
  // Version 2.
  write("membership", "0::/user/job\n");
  write("mount/user/job/memory.max", "max\n");
  CHECK(available().limit.empty());
  write("mount/user/job/memory.max", "8388608\n");
  write("mount/user/job/memory.current", "5000000\n");
  CHECK(available().bytes == 3388608);
  CHECK(available().limit == "the control group's memory limit of 8 MiB");
  write("mount/user/job/memory.stat", "anon 1\nfile 1500000\nshmem 500000\n");
  CHECK(available().bytes == 4388608);
  write("mount/user/memory.max", "4194304\n");
  write("mount/user/memory.current", "5000000\n");
  CHECK(available().bytes == 0);
  // Version 1, in a container whose group is the mount's top.
  fs::remove_all(root / "mount");
  write("membership", "4:memory:/elsewhere\n5:cpu:/\n0::/\n");
  write("mount/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("mount/memory/memory.usage_in_bytes", "1000\n");
  CHECK(available().limit.empty());
  write("mount/memory/memory.limit_in_bytes", "2097152\n");
  write("mount/memory/memory.stat", "cache 1\ntotal_cache 400\ntotal_shmem 0\n");
  CHECK(available().bytes == 2097152 - 600);
  fs::remove_all(root);
}

TEST_CASE("a process knows what it holds and what it may take") {
  const std::size_t before = resident_bytes();
  std::string held(std::size_t{8} << 20, 'x');
  const std::size_t now = resident_bytes();
#if !defined(__SANITIZE_ADDRESS__)
  CHECK(now >= before + held.size() * 9 / 10);
#endif
  CHECK(peak_resident_bytes() >= now);
  const AvailableMemory there = available_memory();
  CHECK(there.bytes > 0);
  CHECK(!there.limit.empty());
}

}  // namespace core_available_memory_test
