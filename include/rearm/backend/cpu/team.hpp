#pragma once
/// @file team.hpp
/// The threads of a CPU context. They share work by taking chunks, so that nobody waits for a thread that has not
/// started, and sleep when there is no work, so that they take no time from others.

#include <rearm/core/error.hpp>
#include <rearm/core/matrix_view.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI::cpu {

/// The calling thread and up to threads - 1 helpers, which start with the first work that has several chunks. OpenMP's
/// teams are not used: at the end of each region all threads wait for each other, and only an environment variable
/// decides whether they spin for milliseconds or sleep; next to any other load that costs up to a factor of 25. Used
/// from one thread at a time. If the system grants fewer threads, those do the work.
class Team {
 public:
  /// work(f, chunk, thread) with thread in [0, threads).
  using Work = void (*)(const void* f, Index chunk, int thread);

  explicit Team(int threads) : threads_(threads) {}
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;
  ~Team() {
    stop_.store(true);
    epoch_.fetch_add(2);
    epoch_.notify_all();
    for (std::thread& helper : helpers_) helper.join();
  }

  int threads() const noexcept { return threads_; }
  /// While set, `run` skips its chunks: for finding out how much memory the work takes.
  void set_dry_run(bool dry_run) noexcept { dry_run_ = dry_run; }
  bool dry_run() const noexcept { return dry_run_; }

  /// Runs every chunk of [0, n_chunks) once, in any order; the calling thread takes part. The first exception of a
  /// chunk is rethrown here; chunks that had not begun by then are not run. Throws Error when called from inside a
  /// chunk, or from a second thread at the same time.
  void run(Index n_chunks, Work work, const void* f) {
    if (busy_.exchange(true))
      throw Error("a context may be used from one thread at a time, and not from inside its own work");
    const Release release{busy_};
    if (dry_run_) return;
    if (n_chunks > 1 && threads_ > 1) {
      start();
      share(n_chunks, work, f);
    } else {
      for (Index chunk = 0; chunk < n_chunks; ++chunk) work(f, chunk, 0);
    }
  }

 private:
  struct Release {
    std::atomic<bool>& busy;
    ~Release() { busy.store(false); }
  };

  void start() {
    if (!helpers_.empty()) return;
    helpers_.reserve(static_cast<std::size_t>(threads_ - 1));
    try {
      for (int thread = 1; thread < threads_; ++thread) helpers_.emplace_back([this, thread] { help(thread); });
    } catch (const std::system_error&) {
      threads_ = static_cast<int>(helpers_.size()) + 1;
    }
  }

  void share(Index n_chunks, Work work, const void* f) {
    n_chunks_ = n_chunks;
    work_ = work;
    f_ = f;
    failure_ = nullptr;
    failed_.store(false);
    next_.store(0);
    epoch_.fetch_add(1);  // open
    if (n_chunks == 2)
      epoch_.notify_one();
    else
      epoch_.notify_all();
    take_chunks(0);
    epoch_.fetch_add(1);  // closed: a helper that joins from now on leaves at once
    for (std::uint32_t n = active_.load(); n != 0; n = active_.load())
      if (!spin([&] { return active_.load() == 0; })) active_.wait(n);
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

  /// A helper joins before it checks whether the work is still open; the caller closes the work before it checks who
  /// has joined: one of them sees the other.
  void help(int thread) {
    std::uint32_t done = 0;
    const auto is_news = [&](std::uint32_t epoch) { return (epoch % 2 == 1 && epoch != done) || stop_.load(); };
    for (;;) {
      for (std::uint32_t epoch = epoch_.load(); !is_news(epoch); epoch = epoch_.load())
        if (!spin([&] { return is_news(epoch_.load()); })) epoch_.wait(epoch);
      if (stop_.load()) return;
      active_.fetch_add(1);
      if (const std::uint32_t epoch = epoch_.load(); epoch % 2 == 1) {
        take_chunks(thread);
        done = epoch;
      }
      if (active_.fetch_sub(1) == 1) active_.notify_one();
    }
  }

  void take_chunks(int thread) {
    for (Index chunk = next_.fetch_add(1); chunk < n_chunks_; chunk = next_.fetch_add(1)) {
      try {
        work_(f_, chunk, thread);
      } catch (...) {
        if (!failed_.exchange(true)) failure_ = std::current_exception();
        next_.store(n_chunks_);
      }
    }
  }

  /// Waits for `done` without sleeping, for about as long as going to sleep and waking up would take.
  template <class F>
  static bool spin(const F& done) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(20);
    do {
      for (int i = 0; i < 16; ++i) {
        if (done()) return true;
        pause();
      }
    } while (std::chrono::steady_clock::now() < end);
    return false;
  }
  static void pause() {
#if defined(__x86_64__)
    asm volatile("pause");
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  int threads_;
  bool dry_run_ = false;
  std::vector<std::thread> helpers_;
  std::atomic<bool> busy_{false};
  std::atomic<bool> stop_{false};
  std::atomic<std::uint32_t> epoch_{0};   ///< odd while there is work to join
  std::atomic<std::uint32_t> active_{0};  ///< helpers that have joined and not left
  // The work: written before the epoch turns odd, and not again until every helper that joined has left.
  Index n_chunks_ = 0;
  Work work_ = nullptr;
  const void* f_ = nullptr;
  std::atomic<Index> next_{0};
  std::atomic<bool> failed_{false};
  std::exception_ptr failure_;
};

}  // namespace rearm::REARM_ABI::cpu
