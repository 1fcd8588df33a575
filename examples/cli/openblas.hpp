#pragma once
/// @file openblas.hpp
/// The kernels of OpenBLAS that a program runs with.

#include <rearm/backend/cpu/blas.hpp>

#include <unistd.h>

#include <cstdlib>

namespace rearm::cli {

/// Starts the program again with OPENBLAS_CORETYPE, if OpenBLAS has loaded kernels narrower than the processor's
/// vectors
/// (`better_openblas_kernels`) and nobody has set the variable; returns otherwise. Before anything else.
inline void use_best_openblas(char** argv) {
  constexpr const char* name = "OPENBLAS_CORETYPE";
  const char* const best = cpu::better_openblas_kernels();
  if (best == nullptr || std::getenv(name) != nullptr) return;
  if (::setenv(name, best, 1) == 0) ::execv("/proc/self/exe", argv);
}

}  // namespace rearm::cli
