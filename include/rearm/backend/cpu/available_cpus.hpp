#pragma once
/// @file available_cpus.hpp
/// How many CPUs this process may keep busy: its affinity mask and the quotas of its control groups, not the host's
/// cores.

#include <rearm/core/cgroup.hpp>
#include <rearm/core/macros.hpp>

#include <sched.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <limits>
#include <thread>

namespace rearm::REARM_ABI::cpu {
/// CPUs allowed by the quota in `folder` (cpu.max of cgroup v2, cpu.cfs_* of v1); infinity if there is none.
inline double quota_cpus(const std::filesystem::path& folder) {
  double quota = -1;
  double period = 0;
  if (std::ifstream both(folder / "cpu.max"); both) {
    both >> quota >> period;  // "max 100000" cannot be read as a number: no quota
  } else {
    std::ifstream(folder / "cpu.cfs_quota_us") >> quota;
    std::ifstream(folder / "cpu.cfs_period_us") >> period;
  }
  return quota > 0 && period > 0 ? quota / period : std::numeric_limits<double>::infinity();
}

/// The smallest quota of the control groups listed in `membership`, mounted at `mount` (core/cgroup.hpp).
inline double cgroup_cpus(const std::filesystem::path& membership, const std::filesystem::path& mount) {
  double least = std::numeric_limits<double>::infinity();
  detail::for_each_cgroup(membership, mount, "cpu",
                          [&](const std::filesystem::path& folder) { least = std::min(least, quota_cpus(folder)); });
  return least;
}

/// At least 1. A quota of 1.5 CPUs counts as 2.
inline int available_cpus() {
  int n = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  for (int capacity = 1024; capacity <= 1 << 16; capacity *= 2) {  // the kernel refuses a mask that is too short
    cpu_set_t* const mask = CPU_ALLOC(static_cast<std::size_t>(capacity));
    if (mask == nullptr) break;
    const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(capacity));
    const bool read = sched_getaffinity(0, bytes, mask) == 0;
    if (read) n = CPU_COUNT_S(bytes, mask);
    CPU_FREE(mask);
    if (read) break;
  }
#endif
  const double quota = cgroup_cpus("/proc/self/cgroup", "/sys/fs/cgroup");
  if (quota < n) n = static_cast<int>(quota) + (quota > static_cast<int>(quota) ? 1 : 0);
  return std::max(n, 1);
}

}  // namespace rearm::REARM_ABI::cpu
