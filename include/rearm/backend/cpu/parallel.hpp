#pragma once
/// @file parallel.hpp
/// Work shared by a CPU context's threads, in chunks whose size never depends on their number.

#include <rearm/backend/cpu/available_cpus.hpp>
#include <rearm/backend/cpu/blas.hpp>
#include <rearm/backend/cpu/team.hpp>
#include <rearm/core/context.hpp>
#include <rearm/core/error.hpp>

#include <algorithm>
#include <concepts>

namespace rearm::REARM_ABI {

/// Settings of a CPU context.
struct CpuOptions {
  int threads = 0;  ///< 0: one per CPU that may be used (affinity, control groups' quotas)
};

namespace cpu {

/// What a CPU context owns.
class Resources {
 public:
  explicit Resources(CpuOptions options) : team_(checked(options.threads)) { claim_product_threads(team_.threads()); }
  int threads() const noexcept { return team_.threads(); }
  Team& team() noexcept { return team_; }
  void set_dry_run(bool dry_run) noexcept { team_.set_dry_run(dry_run); }
  bool dry_run() const noexcept { return team_.dry_run(); }

 private:
  static int checked(int threads) {
    if (threads < 0 || threads > 1024)
      throw ConfigError(detail::message("threads = ", threads, ": must be 0 (all CPUs) or 1 to 1024"));
    return threads != 0 ? threads : std::min(available_cpus(), 1024);
  }
  Team team_;
};

/// Calls f(chunk) or f(chunk, thread) for every chunk in [0, n_chunks), as Team::run does. `thread` is for choosing
/// work arrays; no result may depend on it. One thread takes the same path as many: a separate serial loop would be
/// compiled a second time, and a compiler may contract the same source to different fused operations, hence different
/// bits.
template <class F>
void parallel_chunks(Resources& resources, Index n_chunks, const F& f) {
  resources.team().run(
      n_chunks,
      [](const void* erased, Index chunk, [[maybe_unused]] int thread) {
        const F& work = *static_cast<const F*>(erased);
        if constexpr (std::invocable<const F&, Index, int>)
          work(chunk, thread);
        else
          work(chunk);
      },
      &f);
}

/// A work array of `size` values per thread, from the context's arena.
template <class B>
class ThreadScratch {
 public:
  using T = typename B::Scalar;
  ThreadScratch(Context<B>& ctx, Index size)
      : scratch_(ctx),
        stride_((size + 15) / 16 * 16),
        data_(scratch_.template allocate<T>(stride_ * ctx.resources().threads())) {}
  T* data(int thread) const { return data_ + stride_ * thread; }

 private:
  Scratch<B> scratch_;
  Index stride_;
  T* data_;
};

/// Calls f(begin, end) over [0, n) in chunks of `grain`.
template <class F>
void parallel_ranges(Resources& resources, Index n, Index grain, const F& f) {
  if (n <= 0) return;
  parallel_chunks(resources, (n + grain - 1) / grain, [&](Index chunk) {
    const Index begin = chunk * grain;
    f(begin, begin + grain < n ? begin + grain : n);
  });
}

}  // namespace cpu
}  // namespace rearm::REARM_ABI
