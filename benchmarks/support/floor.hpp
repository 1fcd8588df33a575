#pragma once
/// @file floor.hpp
/// What the machine allows: three rates, measured once a run, and the least time that they leave for a piece of work.

#include <benchmarks/support/backend.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <vector>

namespace rearm::bench {

/// Best of some calls after one to warm up, in seconds.
template <class F>
double best_seconds(int calls, const F& f) {
  f();
  double best = 1e30;
  for (int i = 0; i < calls; ++i) {
    const auto start = std::chrono::steady_clock::now();
    f();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

/// The sizes at which rates are measured: far larger than the caches, a device's being larger. REARM_BENCH_SMALL is for
/// trying the program where a device is emulated.
struct RateSizes {
  Index product;   ///< rows and columns
  Index triad;     ///< elements an array
  Index chunk;     ///< rows gathered into one sum
  Index n_chunks;  ///< sums
};
#if defined(REARM_BENCH_SMALL)
inline constexpr RateSizes rate_sizes{64, Index{1} << 14, 16, 64};
#elif defined(REARM_BENCH_CUDA)
inline constexpr RateSizes rate_sizes{8192, Index{1} << 27, 64, 16384};
#else
inline constexpr RateSizes rate_sizes{3072, Index{1} << 25, 1024, 512};
#endif
/// Width of gathered rows: 768 bytes.
inline constexpr Index gather_width = 192;

#if defined(REARM_BENCH_CUDA)
/// sums_i = the sum of `chunk` rows of the table.
struct GatherSum {
  ConstView<float> table;
  const Id* ids;
  Index chunk;
  MatrixView<float> sums;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    constexpr Index columns = gather_width / L::step;
    float sum[columns] = {};
    for (Index c = 0; c < chunk; ++c) {
      const float* const row = table.row(ids[i * chunk + c]) + lane.first();
      for (Index j = 0; j < columns; ++j) sum[j] += row[j * L::step];
    }
    for (Index j = 0; j < columns; ++j) sums(i, lane.first() + j * L::step) = sum[j];
  }
};
#endif

/// Rates of the machine (with the run's number of threads) or of its device: dense products (FLOP/s), a = b + s c over
/// arrays far larger than the caches and reads of 768-byte rows in random order (bytes/s). Best of several, so that a
/// floor is rather too low.
class Machine {
 public:
  explicit Machine(B::Options options)
      : options_(options), ctx_(options), sgemm_(measure_sgemm()), triad_(measure_triad()) {}
  const B::Options& options() const { return options_; }
  const Context<B>& context() const { return ctx_; }
  double sgemm() const { return sgemm_; }
  double triad() const { return triad_; }
  /// The gather rate from a table of `rows` rows: how much of it a cache holds matters.
  double gather(Index rows) {
    const auto known = gather_.find(rows);
    return known != gather_.end() ? known->second : gather_.emplace(rows, measure_gather(rows)).first->second;
  }

 private:
  double measure_sgemm() {
    const Index n = rate_sizes.product;
    BackendMatrix a(n, n), b(n, n), c(n, n);
    for (BackendMatrix* m : {&a, &b})
      fill_on_host(*m, [&](Index, MatrixView<float> rows) {
        for (Index i = 0; i < rows.size(); ++i) rows.data[i] = static_cast<float>(i % 7);
      });
    const double seconds = best_seconds(4, [&] {
      gemm(ctx_, Op::none, Op::none, 1.0F, ConstView<float>(a.view()), ConstView<float>(b.view()), c.view());
      finish(ctx_);
    });
    return 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n) / seconds;
  }
  double measure_triad() {
    const Index n = rate_sizes.triad;
    BackendMatrix a(n / 4096, 4096), b(n / 4096, 4096), c(n / 4096, 4096);
    const double seconds = best_seconds(5, [&] {
      add(ctx_, ConstView<float>(b.view()), 1.5F, ConstView<float>(c.view()), a.view());
      finish(ctx_);
    });
    return 3.0 * static_cast<double>(n) * sizeof(float) / seconds;
  }
  double measure_gather(Index rows) {
    const Index chunk = rate_sizes.chunk, n_chunks = rate_sizes.n_chunks;
    BackendMatrix table(rows, gather_width), sums(n_chunks, gather_width);
    const RandomKey key{1, 2, 3};
    std::vector<Id> ids(static_cast<std::size_t>(chunk * n_chunks));
    for (std::size_t i = 0; i < ids.size(); ++i)
      ids[i] = static_cast<Id>(key.bits(i).word[0] % static_cast<std::uint32_t>(rows));
#if defined(REARM_BENCH_CUDA)
    const Buffer<Id, B::Memory> there(ids);
    const double seconds = best_seconds(3, [&] {
      B::for_each(ctx_, n_chunks, GatherSum{table.view(), there.data(), chunk, sums.view()});
      finish(ctx_);
    });
#else
    const double seconds = best_seconds(3, [&] {
      cpu::parallel_chunks(ctx_.resources(), n_chunks, [&](Index c) {
        float* REARM_RESTRICT sum = sums.row(c);
        for (Index i = 0; i < chunk; ++i) {
          const float* REARM_RESTRICT row = table.row(ids[static_cast<std::size_t>(c * chunk + i)]);
          for (Index j = 0; j < gather_width; ++j) sum[j] += row[j];
        }
      });
    });
#endif
    return static_cast<double>(chunk * n_chunks * gather_width) * sizeof(float) / seconds;
  }

  B::Options options_;
  Context<B> ctx_;
  double sgemm_;
  double triad_;
  std::map<Index, double> gather_;
};

/// What a piece of work cannot avoid.
struct Work {
  double flops = 0;     ///< of dense products
  double streamed = 0;  ///< bytes of large arrays, each read and written once
  double gathered = 0;  ///< nonzeros x bytes of a row
  Work& operator+=(const Work& other) {
    flops += other.flops;
    streamed += other.streamed;
    gathered += other.gathered;
    return *this;
  }
};
/// Of m x n x k multiply-adds.
inline double product_flops(Index m, Index n, Index k) {
  return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
}
inline double bytes_of(Index rows, Index cols) { return static_cast<double>(rows) * static_cast<double>(cols) * 4.0; }

/// Runs `f` under the benchmark's clock and reports GFLOP, GB, the floor in seconds and x_floor = time / floor, time
/// being the median of the iterations. A device may work on the floor's terms side by side, so its largest term is
/// given as well. It is waited for after every `calls` of them, which are timed together.
template <class F>
void measure(benchmark::State& state, Machine& machine, Context<B>& ctx, Index table_rows, const Work& work, const F& f,
             int calls = 1) {
  const double terms[] = {work.flops / machine.sgemm(), work.streamed / machine.triad(),
                          work.gathered / machine.gather(table_rows)};
  const double floor = terms[0] + terms[1] + terms[2];
  if constexpr (!on_host) f();  // libraries load their kernels when they are first called
  finish(ctx);
  set_profiled(true);
  std::vector<double> seconds;
  while (state.KeepRunningBatch(calls)) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i) f();
    finish(ctx);
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / calls);
  }
  set_profiled(false);
  std::ranges::sort(seconds);
  const double median = seconds[seconds.size() / 2];
  state.counters["median_ms"] = median * 1e3;
  state.counters["GFLOP"] = work.flops / 1e9;
  state.counters["GB"] = (work.streamed + work.gathered) / 1e9;
  state.counters["floor_ms"] = floor * 1e3;
  if constexpr (!on_host) state.counters["largest_term_ms"] = std::ranges::max(terms) * 1e3;
  state.counters["x_floor"] = median / floor;
}

}  // namespace rearm::bench
