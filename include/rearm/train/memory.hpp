#pragma once
/// @file memory.hpp
/// How much memory a training run will need.

#include <rearm/core/available_memory.hpp>
#include <rearm/core/communicator.hpp>
#include <rearm/core/context.hpp>
#include <rearm/core/error.hpp>

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

namespace rearm::REARM_ABI {

/// In bytes. A run's peak is what the process held before it plus all that it makes.
struct MemoryEstimate {
  std::size_t held = 0;     ///< by the process, the model and its data included
  std::size_t arrays = 0;   ///< gradients, moments and copies of weights that are not there yet
  std::size_t step = 0;     ///< values and gradients of one step, or of an evaluation if that is more
  std::size_t ranking = 0;  ///< the lists of one evaluation

  std::size_t more() const noexcept { return arrays + step + ranking; }
  std::size_t peak() const noexcept { return std::max(held + more(), peak_before); }
  std::size_t peak_before = 0;  ///< the most that the process had held before
  int ranks = 1;                ///< that it is the sum of, those of one machine
};

namespace detail {

inline constexpr const char* less_memory =
    "use a smaller batch_size or embedding_dim, features = frozen or residual, bfloat16_tables, bfloat16_moments, or "
    "more memory";

/// The estimates of all ranks on this machine together; every rank must call it. Null: the estimate itself.
inline MemoryEstimate on_this_machine(Communicator* ranks, const MemoryEstimate& own) {
  if (ranks == nullptr) return own;
  char name[256] = "";
  static_cast<void>(::gethostname(name, sizeof name - 1));
  const std::vector<std::string> hosts = ranks->all_texts(name);
  std::vector<MemoryEstimate> of(hosts.size());
  of[static_cast<std::size_t>(ranks->rank())] = own;
  ranks->all_gather(of.data(), std::vector<Index>(of.size(), 1));
  MemoryEstimate sum;
  sum.ranks = 0;
  for (std::size_t q = 0; q < of.size(); ++q) {
    if (hosts[q] != name) continue;
    ++sum.ranks;
    for (const auto part : {&MemoryEstimate::held, &MemoryEstimate::arrays, &MemoryEstimate::step,
                            &MemoryEstimate::ranking, &MemoryEstimate::peak_before})
      sum.*part += of[q].*part;
  }
  return sum;
}

/// Throws OutOfMemoryError where more is needed than there is.
inline void require_memory(const MemoryEstimate& need, const AvailableMemory& there) {
  if (need.more() <= there.bytes) return;
  const auto mib = [](std::size_t bytes) { return (bytes + (std::size_t{1} << 20) - 1) >> 20; };
  throw OutOfMemoryError(
      message("training needs about ", mib(need.more()), " MiB more than the ", mib(need.held), " MiB that ",
              need.ranks > 1 ? message("its ", need.ranks, " ranks on this machine hold (") : "the process holds (",
              mib(need.arrays), " for gradients, moments and weights, ", mib(need.step), " for a step, ",
              mib(need.ranking), " for ranking), but ", there.bytes >> 20, " MiB are available by ", there.limit, "; ",
              less_memory, "; check_memory = false (--no-check-memory) goes on nevertheless"));
}

/// While it exists, a context whose backend can do that records and allocates what it is asked for and computes
/// nothing.
template <class B>
class DryRun {
 public:
  static constexpr bool possible = requires(Context<B> & ctx) { ctx.resources().set_dry_run(true); };
  explicit DryRun(Context<B>& ctx) : ctx_(ctx) { ctx_.resources().set_dry_run(true); }
  DryRun(const DryRun&) = delete;
  DryRun& operator=(const DryRun&) = delete;
  ~DryRun() { ctx_.resources().set_dry_run(false); }

 private:
  Context<B>& ctx_;
};

}  // namespace detail
}  // namespace rearm::REARM_ABI
