#pragma once
/// @file blas.hpp
/// One serial dense product: CBLAS when the build found one (REARM_HAS_BLAS), Eigen otherwise. Threads are ours
/// (parallel.hpp), never the product's: blocks of fixed size are multiplied serially so that bits do not depend on
/// the number of threads.

#include <rearm/core/backend.hpp>

#if defined(REARM_HAS_BLAS)
#include <cblas.h>
#else
#include <Eigen/Core>
#endif

#include <algorithm>
#include <array>
#include <mutex>
#include <string_view>

namespace rearm::REARM_ABI::cpu {

/// The kernels of OpenBLAS (its name for them) for a processor with these instructions, where those that it has loaded
/// have narrower vectors; otherwise null. Names that are not known are taken for the best.
constexpr const char* wider_openblas_kernels(std::string_view loaded, bool avx2_and_fma, bool avx512) {
  constexpr std::array avx2 = {"Haswell", "Zen", "Excavator"};
  constexpr std::array narrow = {"Unknown",   "Katmai",       "Coppermine", "Northwood",  "Prescott",    "Banias",
                                 "Atom",      "Core2",        "Penryn",     "Dunnington", "Nehalem",     "Athlon",
                                 "Opteron",   "Nano",         "Bobcat",     "Generic",    "Sandybridge", "Bulldozer",
                                 "Barcelona", "Opteron_SSE3", "Piledriver", "Steamroller"};
  const bool is_narrow = std::ranges::find(narrow, loaded) != narrow.end();
  if (avx512 && (is_narrow || std::ranges::find(avx2, loaded) != avx2.end())) return "SkylakeX";
  return avx2_and_fma && is_narrow ? "Haswell" : nullptr;
}

/// What the environment variable OPENBLAS_CORETYPE should be on this processor; null where nothing is gained by it, or
/// another BLAS or Eigen multiplies. An OpenBLAS older than the processor does not know it and may take the kernels of
/// one of 2004 (0.3.21 of Debian 12 on a Xeon of 2023), with which training takes twice as long. It chooses before
/// `main` begins, so a program that sets the variable has to start itself again.
inline const char* better_openblas_kernels() {
#if defined(REARM_HAS_OPENBLAS_THREADS) && defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  return wider_openblas_kernels(openblas_get_corename(), avx2, avx512);
#else
  return nullptr;
#endif
}

/// Some BLAS libraries and Eigen start threads of their own; the context owns the threads, so they are limited to one.
/// Throws ConfigError for an OpenBLAS built without threads: it has no locks, so products on several of our threads
/// would share a work buffer and come out wrong.
inline void claim_product_threads(int threads) {
  static std::mutex claiming;  // contexts are made in several threads, while others multiply: set once
  const std::lock_guard lock(claiming);
#if defined(REARM_HAS_BLAS) && defined(REARM_HAS_OPENBLAS_THREADS)
  if (threads > 1 && openblas_get_parallel() == 0)
    throw ConfigError(detail::message("threads = ", threads,
                                      ": the OpenBLAS in use was built without threads and is not safe to call from "
                                      "several; install a threaded one (libopenblas-pthread) or use one thread"));
  if (openblas_get_num_threads() != 1) openblas_set_num_threads(1);
#else
  static_cast<void>(threads);
#if !defined(REARM_HAS_BLAS)
  if (Eigen::nbThreads() != 1) Eigen::setNbThreads(1);
#endif
#endif
}

/// C = alpha op(A) op(B) (+ C), on the calling thread. C is m x n, the inner dimension k.
template <class T>
void gemm_serial(Op op_a, Op op_b, T alpha, MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c,
                 Write write) {
  if (c.empty()) return;
  const Index k = op_a == Op::none ? a.cols : a.rows;
  if (k == 0) {
    if (write == Write::overwrite)
      for (Index i = 0; i < c.rows; ++i) std::fill_n(c.row(i), c.cols, T{0});
    return;
  }
#if defined(REARM_HAS_BLAS)
  const auto trans = [](Op op) { return op == Op::none ? CblasNoTrans : CblasTrans; };
  const auto n32 = [](Index i) { return static_cast<int>(i); };
  const T beta = write == Write::overwrite ? T{0} : T{1};
  if constexpr (std::is_same_v<T, float>)
    cblas_sgemm(CblasRowMajor, trans(op_a), trans(op_b), n32(c.rows), n32(c.cols), n32(k), alpha, a.data, n32(a.stride),
                b.data, n32(b.stride), beta, c.data, n32(c.stride));
  else
    cblas_dgemm(CblasRowMajor, trans(op_a), trans(op_b), n32(c.rows), n32(c.cols), n32(k), alpha, a.data, n32(a.stride),
                b.data, n32(b.stride), beta, c.data, n32(c.stride));
#else
  using Dense = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using Stride = Eigen::OuterStride<>;
  const Eigen::Map<const Dense, 0, Stride> ea(a.data, a.rows, a.cols, Stride(a.stride));
  const Eigen::Map<const Dense, 0, Stride> eb(b.data, b.rows, b.cols, Stride(b.stride));
  Eigen::Map<Dense, 0, Stride> ec(c.data, c.rows, c.cols, Stride(c.stride));
  if (write == Write::overwrite) ec.setZero();
  if (op_a == Op::none && op_b == Op::none)
    ec.noalias() += alpha * (ea * eb);
  else if (op_a == Op::transpose && op_b == Op::none)
    ec.noalias() += alpha * (ea.transpose() * eb);
  else if (op_a == Op::none)
    ec.noalias() += alpha * (ea * eb.transpose());
  else
    ec.noalias() += alpha * (ea.transpose() * eb.transpose());
#endif
}

}  // namespace rearm::REARM_ABI::cpu
