#pragma once
/// @file scalars.hpp
/// The scalars that cases are compiled for: as a rule both. Sanitizers find in one what they find in the other, and
/// have float, which takes minutes less to compile; the minimal backend has double.

#if defined(REARM_TEST_SANITIZED)
#define REARM_TEST_SCALARS float
#elif defined(REARM_TEST_MINIMAL)
#define REARM_TEST_SCALARS double
#else
#define REARM_TEST_SCALARS float, double
#endif
