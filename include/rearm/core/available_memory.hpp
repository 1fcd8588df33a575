#pragma once
/// @file available_memory.hpp
/// How much main memory this process holds, and how much more it may take: by what the machine has, the limits of its
/// control groups, and the limit of its address space.

#include <rearm/core/cgroup.hpp>
#include <rearm/core/error.hpp>

#include <sys/resource.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <string_view>

namespace rearm::REARM_ABI {

/// Bytes that may still be taken, and what says so.
struct AvailableMemory {
  std::size_t bytes = std::numeric_limits<std::size_t>::max();
  std::string limit;
};

namespace detail {

/// The number behind `name` at the beginning of a line, times `unit`; `otherwise` where there is none.
inline std::size_t read_number(const std::filesystem::path& file, std::string_view name, std::size_t unit,
                               std::size_t otherwise) {
  std::ifstream in(file);
  std::string word;
  for (std::size_t value = 0; name.empty() || in >> word; in.ignore(std::numeric_limits<std::streamsize>::max(), '\n'))
    if (name.empty() || word == name)
      return in >> value && value <= std::numeric_limits<std::size_t>::max() / unit ? value * unit : otherwise;
  return otherwise;
}

inline void lower(AvailableMemory& to, std::size_t limit, std::size_t used, const std::string& what) {
  const std::size_t left = limit - std::min(used, limit);
  if (left < to.bytes) to = {left, message(what, " of ", limit >> 20, " MiB")};
}

/// What the control groups leave. Cached pages of files make room when it is needed.
inline AvailableMemory cgroup_memory(const std::filesystem::path& membership, const std::filesystem::path& mount) {
  constexpr std::size_t none = std::numeric_limits<std::size_t>::max();
  AvailableMemory out;
  for_each_cgroup(membership, mount, "memory", [&](const std::filesystem::path& folder) {
    std::size_t limit = read_number(folder / "memory.max", "", 1, none);  // "max" is no number: no limit
    std::size_t used = read_number(folder / "memory.current", "", 1, 0);
    std::size_t cached = read_number(folder / "memory.stat", "file", 1, 0);
    std::size_t shared = read_number(folder / "memory.stat", "shmem", 1, 0);
    if (limit == none) {  // version 1
      limit = read_number(folder / "memory.limit_in_bytes", "", 1, none);
      used = read_number(folder / "memory.usage_in_bytes", "", 1, 0);
      cached = read_number(folder / "memory.stat", "total_cache", 1, 0);
      shared = read_number(folder / "memory.stat", "total_shmem", 1, 0);
    }
    if (limit < std::size_t{1} << 60)
      lower(out, limit, used - std::min(used, cached - std::min(shared, cached)), "the control group's memory limit");
  });
  return out;
}

}  // namespace detail

/// Bytes of main memory that this process holds, and the most that it has held; 0 where the system does not say.
inline std::size_t resident_bytes() { return detail::read_number("/proc/self/status", "VmRSS:", 1024, 0); }
inline std::size_t peak_resident_bytes() { return detail::read_number("/proc/self/status", "VmHWM:", 1024, 0); }

/// The least that the machine, control groups and the limit of address space leave. Of the address space `mapped` bytes
/// count as free: taken already, but not yet used.
inline AvailableMemory available_memory(std::size_t mapped = 0) {
  AvailableMemory out = detail::cgroup_memory("/proc/self/cgroup", "/sys/fs/cgroup");
  constexpr std::size_t none = std::numeric_limits<std::size_t>::max();
  const std::size_t machine = detail::read_number("/proc/meminfo", "MemAvailable:", 1024, none);
  if (machine < out.bytes) out = {machine, "the machine's free memory"};
  struct rlimit space = {};
  if (::getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY) {
    const std::size_t used = detail::read_number("/proc/self/status", "VmSize:", 1024, 0);
    detail::lower(out, space.rlim_cur, used - std::min(mapped, used), "the limit of address space (ulimit -v)");
  }
  return out;
}

}  // namespace rearm::REARM_ABI
