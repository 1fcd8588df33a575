#pragma once
/// @file macros.hpp
/// Attributes and loop hints that compilers spell differently, and the namespace that carries how a source is compiled.

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
// rounds at once, one by one with 1. For the device alone: nvcc's host compiler does not know it.
#if defined(__CUDA_ARCH__)
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

// The address sanitizer guards what operator new gives, not mappings.
#if defined(__SANITIZE_ADDRESS__)
#define REARM_MAPS_LARGE_ARRAYS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define REARM_MAPS_LARGE_ARRAYS 0
#endif
#endif
#if !defined(REARM_MAPS_LARGE_ARRAYS)
#if defined(__linux__)
#define REARM_MAPS_LARGE_ARRAYS 1
#else
#define REARM_MAPS_LARGE_ARRAYS 0
#endif
#endif

// Everything stands in `namespace rearm::REARM_ABI`, which is inline and named by what changes the code of an inline
// function: instructions, hints for sums, who multiplies matrices, who allocates. Of two objects compiled differently
// the linker would otherwise keep one copy of such a function for both. nvcc shows the host's macros in all its passes.
#if defined(__AVX512VBMI2__)
#define REARM_ABI_ISA abi_avx512vbmi2
#elif defined(__AVX512F__)
#define REARM_ABI_ISA abi_avx512
#elif defined(__AVX2__)
#define REARM_ABI_ISA abi_avx2
#elif defined(__AVX__)
#define REARM_ABI_ISA abi_avx
#elif defined(__SSE4_1__)
#define REARM_ABI_ISA abi_sse4
#elif defined(__SSE3__)
#define REARM_ABI_ISA abi_sse3
#elif defined(__ARM_FEATURE_SVE)
#define REARM_ABI_ISA abi_sve
#else
#define REARM_ABI_ISA abi_base
#endif
#if defined(__FMA__)
#define REARM_ABI_FMA _fma
#else
#define REARM_ABI_FMA
#endif
#if defined(_OPENMP) || defined(REARM_OPENMP_SIMD)
#define REARM_ABI_SUMS _simd
#else
#define REARM_ABI_SUMS
#endif
#if !defined(REARM_HAS_BLAS)
#define REARM_ABI_PRODUCTS _eigen
#elif !defined(REARM_HAS_OPENBLAS_THREADS)
#define REARM_ABI_PRODUCTS _blas
#else
#define REARM_ABI_PRODUCTS _openblas
#endif
#if REARM_MAPS_LARGE_ARRAYS
#define REARM_ABI_MEMORY
#else
#define REARM_ABI_MEMORY _heap
#endif
#define REARM_JOIN_EXPANDED(isa, fma, sums, products, memory) isa##fma##sums##products##memory
#define REARM_JOIN(...) REARM_JOIN_EXPANDED(__VA_ARGS__)
#define REARM_ABI inline REARM_JOIN(REARM_ABI_ISA, REARM_ABI_FMA, REARM_ABI_SUMS, REARM_ABI_PRODUCTS, REARM_ABI_MEMORY)
