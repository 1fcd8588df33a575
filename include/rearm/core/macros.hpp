#pragma once
/// @file macros.hpp
/// Attributes and loop hints that compilers spell differently.

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "rearm looks for NaN and infinity, which -ffast-math and -ffinite-math-only assume away: compile without them"
#endif

#if defined(__CUDACC__)
#define REARM_HD __host__ __device__
#else
#define REARM_HD
#endif

#if defined(_MSC_VER)
#define REARM_RESTRICT __restrict
#else
#define REARM_RESTRICT __restrict__
#endif

// Before a loop whose iterations touch different elements, also where operands are one array: let it be vectorized.
#if defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__)
#define REARM_SIMD_LOOP _Pragma("GCC ivdep")
#else
#define REARM_SIMD_LOOP
#endif

// Before a short loop with constant bounds in a kernel: its arrays stay in registers. BY(n): before any other, for n
// rounds at once, one by one with 1.
#if defined(__CUDACC__)
#define REARM_TEXT(text) #text
#define REARM_UNROLL _Pragma("unroll")
#define REARM_UNROLL_BY(n) _Pragma(REARM_TEXT(unroll n))
#else
#define REARM_UNROLL
#define REARM_UNROLL_BY(n)
#endif

// Before a loop that adds to the named local sums: let them be added in any order (or the largest be found in any).
// Clang 14 warns where it cannot; a header that uses them stands between REARM_LOOPS_BEGIN and REARM_LOOPS_END.
#if (defined(_OPENMP) || defined(REARM_OPENMP_SIMD)) && !defined(__CUDACC__)
#define REARM_PRAGMA(text) _Pragma(#text)
#define REARM_SUM_LOOP(...) REARM_PRAGMA(omp simd reduction(+ : __VA_ARGS__))
#define REARM_MAX_LOOP(...) REARM_PRAGMA(omp simd reduction(max : __VA_ARGS__))
#else
#define REARM_SUM_LOOP(...)
#define REARM_MAX_LOOP(...)
#endif
#if defined(__clang__)
#define REARM_LOOPS_BEGIN _Pragma("clang diagnostic push") _Pragma("clang diagnostic ignored \"-Wpass-failed\"")
#define REARM_LOOPS_END _Pragma("clang diagnostic pop")
#else
#define REARM_LOOPS_BEGIN
#define REARM_LOOPS_END
#endif
