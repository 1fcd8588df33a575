#pragma once
/// @file parallel.hpp
/// The CPU's threads: OpenMP teams of the size the context asks for, over chunks whose size never depends on it.

#include <rearm/backend/cpu/blas.hpp>
#include <rearm/core/context.hpp>
#include <rearm/core/error.hpp>

#if defined(_OPENMP)
#include <omp.h>
#endif

#include <exception>

namespace rearm {

/// Settings of a CPU context.
struct CpuOptions {
  int threads = 0;  ///< 0: as many as OpenMP would use
};

namespace cpu {

/// What a CPU context owns.
class Resources {
 public:
  explicit Resources(CpuOptions options) : threads_(options.threads) {
    if (threads_ < 0 || threads_ > 1024)
      throw ConfigError(detail::message("threads = ", threads_, ": must be 0 (all cores) or 1 to 1024"));
#if defined(_OPENMP)
    if (threads_ == 0) threads_ = omp_get_max_threads();
#else
    threads_ = 1;
#endif
    claim_product_threads(threads_);
  }
  int threads() const noexcept { return threads_; }

 private:
  int threads_;
};

/// f(chunk) for chunk in [0, n_chunks), dynamically scheduled. The first exception is rethrown on the calling thread.
/// One thread takes the same path as many: a serial loop of its own would be compiled a second time, and a compiler may
/// contract the same source to different fused operations, hence different bits.
template <class F>
void parallel_chunks(const Resources& resources, Index n_chunks, const F& f) {
  if (n_chunks <= 0) return;
  std::exception_ptr failure;
#if defined(_OPENMP)
  const int threads = static_cast<int>(n_chunks < resources.threads() ? n_chunks : resources.threads());
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
#else
  static_cast<void>(resources);
#endif
  for (Index chunk = 0; chunk < n_chunks; ++chunk) {
    try {
      f(chunk);
    } catch (...) {
#if defined(_OPENMP)
#pragma omp critical(rearm_parallel_failure)
#endif
      if (!failure) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

/// Inside a chunk: which of the context's threads runs it. For work arrays only; no result may depend on it.
inline int thread_index() {
#if defined(_OPENMP)
  return omp_get_thread_num();
#else
  return 0;
#endif
}

/// A work array of `size` numbers a thread, from the context's arena.
template <class B>
class ThreadScratch {
 public:
  using T = typename B::Scalar;
  ThreadScratch(Context<B>& ctx, Index size)
      : scratch_(ctx),
        stride_((size + 15) / 16 * 16),
        data_(scratch_.template allocate<T>(stride_ * ctx.resources().threads())) {}
  /// The calling thread's.
  T* data() const { return data_ + stride_ * thread_index(); }

 private:
  Scratch<B> scratch_;
  Index stride_;
  T* data_;
};

/// f(begin, end) over [0, n) in chunks of `grain`.
template <class F>
void parallel_ranges(const Resources& resources, Index n, Index grain, const F& f) {
  if (n <= 0) return;
  parallel_chunks(resources, (n + grain - 1) / grain, [&](Index chunk) {
    const Index begin = chunk * grain;
    f(begin, begin + grain < n ? begin + grain : n);
  });
}

}  // namespace cpu
}  // namespace rearm
