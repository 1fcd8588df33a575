#pragma once
/// @file allocator.hpp
/// What a program with allocator.cpp knows of its allocations: calls of operator new and mmap.

#include <atomic>

namespace rearm::test {

extern std::atomic<long> allocations;          ///< so far
extern std::atomic<bool> failing_allocations;  ///< they are counted in `made`, and one may fail
extern std::atomic<long> made;
extern std::atomic<long> failing;  ///< the number of the one that gets nothing, from 1
extern std::atomic<long> spared;   ///< that got something nevertheless
extern std::atomic<long> living;   ///< arrays of operator new that have not been deleted
extern std::atomic<long> mapped;   ///< bytes of mmap that have not been given back

}  // namespace rearm::test
