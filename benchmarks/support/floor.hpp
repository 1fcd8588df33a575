#pragma once
/// @file floor.hpp
/// What the machine allows: three rates, measured once a run, and the least time that they leave for a piece of work.

#include <rearm/rearm.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <vector>

namespace rearm::bench {

using B = CpuBackend<float>;

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

/// Rates with the run's number of threads: dense products (FLOP/s), a = b + s c over arrays far larger than the caches
/// and reads of 768-byte rows in random order (bytes/s). Best of several, so that a floor is rather too low.
class Machine {
 public:
  explicit Machine(int threads) : ctx_({.threads = threads}), sgemm_(measure_sgemm()), triad_(measure_triad()) {}
  int threads() const { return ctx_.resources().threads(); }
  double sgemm() const { return sgemm_; }
  double triad() const { return triad_; }
  /// The gather rate from a table of `rows` rows: how much of it a cache holds matters.
  double gather(Index rows) {
    const auto known = gather_.find(rows);
    return known != gather_.end() ? known->second : gather_.emplace(rows, measure_gather(rows)).first->second;
  }

 private:
  double measure_sgemm() {
    const Index n = 3072;
    Matrix<float> a(n, n), b(n, n), c(n, n);
    for (Index i = 0; i < n * n; ++i) a.data()[i] = b.data()[i] = static_cast<float>(i % 7);
    const double seconds = best_seconds(4, [&] {
      gemm(ctx_, Op::none, Op::none, 1.0F, ConstView<float>(a.view()), ConstView<float>(b.view()), c.view());
    });
    return 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n) / seconds;
  }
  double measure_triad() {
    const Index n = Index{1} << 25;  // 128 MiB an array
    Matrix<float> a(n / 4096, 4096), b(n / 4096, 4096), c(n / 4096, 4096);
    const double seconds =
        best_seconds(5, [&] { add(ctx_, ConstView<float>(b.view()), 1.5F, ConstView<float>(c.view()), a.view()); });
    return 3.0 * static_cast<double>(n) * sizeof(float) / seconds;
  }
  double measure_gather(Index rows) {
    const Index width = 192, chunk = 1024, n_chunks = 512;
    Matrix<float> table(rows, width), sums(n_chunks, width);
    const RandomKey key{1, 2, 3};
    std::vector<Id> ids(static_cast<std::size_t>(chunk * n_chunks));
    for (std::size_t i = 0; i < ids.size(); ++i)
      ids[i] = static_cast<Id>(key.bits(i).word[0] % static_cast<std::uint32_t>(rows));
    const double seconds = best_seconds(3, [&] {
      cpu::parallel_chunks(ctx_.resources(), n_chunks, [&](Index c) {
        float* REARM_RESTRICT sum = sums.row(c);
        for (Index i = 0; i < chunk; ++i) {
          const float* REARM_RESTRICT row = table.row(ids[static_cast<std::size_t>(c * chunk + i)]);
          for (Index j = 0; j < width; ++j) sum[j] += row[j];
        }
      });
    });
    return static_cast<double>(chunk * n_chunks * width) * sizeof(float) / seconds;
  }

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
/// being the median of the iterations.
template <class F>
void measure(benchmark::State& state, Machine& machine, Index table_rows, const Work& work, const F& f) {
  std::vector<double> seconds;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    f();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::ranges::sort(seconds);
  const double median = seconds[seconds.size() / 2];
  const double floor =
      work.flops / machine.sgemm() + work.streamed / machine.triad() + work.gathered / machine.gather(table_rows);
  state.counters["median_ms"] = median * 1e3;
  state.counters["GFLOP"] = work.flops / 1e9;
  state.counters["GB"] = (work.streamed + work.gathered) / 1e9;
  state.counters["floor_ms"] = floor * 1e3;
  state.counters["x_floor"] = median / floor;
}

}  // namespace rearm::bench
