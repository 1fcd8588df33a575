#pragma once
/// @file cgroup.hpp
/// The control groups of this process (Linux).

#include <rearm/core/macros.hpp>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace rearm::REARM_ABI::detail {

/// f(folder) for the control groups listed in `membership` (/proc/self/cgroup) that `controller` (version 1) or all
/// controllers (version 2) belong to, and for those above them, mounted at `mount` (/sys/fs/cgroup). In a container the
/// listed path may lie outside; the mount's own top counts then.
template <class F>
void for_each_cgroup(const std::filesystem::path& membership, const std::filesystem::path& mount,
                     std::string_view controller, const F& f) {
  std::ifstream in(membership);
  for (std::string line; std::getline(in, line);) {  // hierarchy:controllers:path
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::vector<std::filesystem::path> tops = {mount};  // version 2: one tree
    if (!controllers.empty()) {
      std::istringstream names(controllers);
      bool ours = false;
      for (std::string name; std::getline(names, name, ',');) ours = ours || name == controller;
      if (!ours) continue;
      tops = {mount / controllers, mount / controller};
    }
    for (const auto& top : tops) {
      std::filesystem::path below = std::filesystem::path(line.substr(second + 1)).relative_path();
      for (; !below.empty(); below = below.parent_path()) f(top / below);
      f(top);
    }
  }
}

}  // namespace rearm::REARM_ABI::detail
