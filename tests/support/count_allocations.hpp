#pragma once
/// @file count_allocations.hpp

#include <atomic>

namespace rearm::test {

/// Calls of operator new so far, in a program with count_allocations.cpp.
extern std::atomic<long> allocations;

}  // namespace rearm::test
