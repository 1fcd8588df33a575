#pragma once
/// @file scalars.hpp
/// The scalars that cases are compiled for: as a rule both. Sanitizers, and who watches the emulated device's memory,
/// find in one what they find in the other, and have float, which takes minutes less; the minimal backend has double.

namespace rearm::test {

/// Sanitized programs are not optimized: a case that repeats something often does so less often in them.
#ifdef REARM_TEST_SANITIZED
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

/// A watched device takes ten times as long, and what it looks for shows in one of several like sizes: a case that has
/// many leaves some out. On a device, and emulated at full speed, it has all of them.
#ifdef REARM_TEST_WATCHED
inline constexpr bool watched = true;
#else
inline constexpr bool watched = false;
#endif

}  // namespace rearm::test

#if defined(REARM_TEST_SANITIZED) || defined(REARM_TEST_WATCHED)
#define REARM_TEST_SCALARS float
#elif defined(REARM_TEST_MINIMAL)
#define REARM_TEST_SCALARS double
#else
#define REARM_TEST_SCALARS float, double
#endif
