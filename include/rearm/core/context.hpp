#pragma once
/// @file context.hpp
/// The caller's handle to a backend: threads or stream, the workspace arena, the random seed, and the other ranks.

#include <rearm/core/arena.hpp>
#include <rearm/core/backend.hpp>
#include <rearm/core/communicator.hpp>
#include <rearm/core/random.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>

namespace rearm::REARM_ABI {

/// Owned by the caller, passed to every operator, used from one thread at a time. Holds all mutable state that does not
/// belong to a model: nothing in the library is global.
template <class B>
class Context {
 public:
  using Scalar = typename B::Scalar;
  using Memory = typename B::Memory;
  using Options = typename B::Options;

  /// Throws ConfigError when an option is out of range.
  explicit Context(Options options = {}, std::uint64_t seed = 2025)
      : resources_(detail::with_memory_errors("making a context", [&] { return typename B::Resources(options); })),
        seed_(seed) {}
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  typename B::Resources& resources() noexcept {
    enter();
    return resources_;
  }
  const typename B::Resources& resources() const noexcept {
    enter();
    return resources_;
  }
  /// Workspace for the values and gradients of one step; in branch 1 a part of its own.
  Arena<Memory>& arena() noexcept {
    enter();
    return arenas_[branch() > 0 ? 1 : 0];
  }
  /// Resets all of the workspace.
  void reset_arena() {
    join();
    for (Arena<Memory>& part : arenas_) part.reset();
  }
  /// Bytes of all of the workspace.
  std::size_t arena_capacity() const noexcept {
    std::size_t sum = 0;
    for (const Arena<Memory>& part : arenas_) sum += part.capacity();
    return sum;
  }
  /// Changes whenever any part of the workspace moves.
  std::size_t arena_generation() const noexcept {
    std::size_t sum = 0;
    for (const Arena<Memory>& part : arenas_) sum += part.generation();
    return sum;
  }
  /// On a device: the calling thread's arrays are made on this context's device from now on. Making a context and every
  /// operator do so; with contexts of several devices in one thread, call it before a model is made for one of them.
  void enter() const noexcept {
    if constexpr (requires { resources_.enter(); }) resources_.enter();
  }
  /// f(), as a step's branch 0 or 1. A device may run the branches beside each other: each begins where the work
  /// outside of both has ended, and that waits for both. So neither branch may use what the other makes, except that
  /// both may add to a gradient on the tape, and operators that follow outside may use all. Elsewhere f() is simply
  /// called, and the bits are the same. What is recorded on a tape in a branch also runs backward in it.
  template <class F>
  decltype(auto) in_branch(int branch, const F& f) {
    if constexpr (has_branches) {
      struct Back {
        typename B::Resources& resources;
        int before;
        ~Back() { resources.set_branch(before); }
      } const back{resources_, resources_.branch()};
      resources_.set_branch(branch);
      return f();
    } else {
      return f();
    }
  }
  /// Which branch work belongs to now; -1 outside of both.
  int branch() const noexcept {
    if constexpr (has_branches) return resources_.branch();
    return -1;
  }
  /// From now on work of either branch waits for that of both so far.
  void join() const {
    if constexpr (has_branches) resources_.join();
  }
  /// In a branch: from now on its work waits for what the other has been given so far.
  void wait_for_other_branch() const {
    if constexpr (has_branches) resources_.wait_for_other_branch();
  }
  std::uint64_t seed() const noexcept { return seed_; }
  void set_seed(std::uint64_t seed) noexcept { seed_ = seed; }
  /// The ranks that train together, of which this context's thread is one; null if it is alone.
  Communicator* ranks() const noexcept { return ranks_; }
  /// `ranks`, null or of one rank for none, must outlive the context. To be called before a model is made. Throws
  /// ConfigError where ranks cannot reach the backend's memory.
  void set_ranks(Communicator* ranks) {
    if (ranks != nullptr && ranks->size() > 1 && !Memory::host_accessible)
      throw ConfigError(detail::message("ranks = ", ranks->size(), ": several ranks train on the CPU so far, not on ",
                                        B::name(), "; use --backend cpu, or one process"));
    ranks_ = ranks != nullptr && ranks->size() > 1 ? ranks : nullptr;
    even_.clear();
  }
  /// n rows in equal blocks, one a rank: the same object whenever it is asked for. There must be several ranks.
  const RowBlocks& even_blocks(Index n) {
    std::unique_ptr<const RowBlocks>& found = even_[n];
    if (found == nullptr) {
      RowBlocks blocks{ranks_, {}};
      for (int rank = 0; rank <= ranks_->size(); ++rank) blocks.bounds.push_back(n * rank / ranks_->size());
      found = std::make_unique<const RowBlocks>(std::move(blocks));
    }
    return *found;
  }
  /// In a step that may be replayed, a key that counts the step from where the backend keeps it.
  RandomKey key(std::uint32_t stream, std::uint32_t step = 0) const noexcept {
    if constexpr (requires { resources_.step_source(); })
      if (resources_.step_source() != nullptr)
        return {seed_, stream, step - resources_.recorded_step(), resources_.step_source()};
    return {seed_, stream, step};
  }

 private:
  static constexpr bool has_branches = requires { B::Resources::n_branches; };
  typename B::Resources resources_;
  Arena<Memory> arenas_[has_branches ? 2 : 1];
  std::uint64_t seed_;
  Communicator* ranks_ = nullptr;
  std::map<Index, std::unique_ptr<const RowBlocks>> even_;
};

/// Scratch that an operator takes from the arena and gives back when it returns.
template <class B>
class Scratch {
 public:
  explicit Scratch(Context<B>& ctx) : arena_(ctx.arena()), mark_(arena_.mark()) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { arena_.rewind(mark_); }
  template <class T>
  T* allocate(Index n) {
    return arena_.template allocate<T>(n);
  }
  template <class T>
  MatrixView<T> matrix(Index rows, Index cols) {
    return arena_.template matrix<T>(rows, cols);
  }

 private:
  Arena<typename B::Memory>& arena_;
  typename Arena<typename B::Memory>::Mark mark_;
};

}  // namespace rearm::REARM_ABI
