#pragma once
/// @file macros.hpp
/// The two attributes that host and device compilers spell differently.

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
