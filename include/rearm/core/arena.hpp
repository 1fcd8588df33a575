#pragma once
/// @file arena.hpp
/// A bump allocator that is reset once per step: after the first steps it hands out the same addresses without
/// allocating.

#include <rearm/core/matrix.hpp>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace rearm::REARM_ABI {

/// Not thread-safe: one arena belongs to one context, used from the thread that drives it.
template <class Memory = HostMemory>
class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() { free_blocks(); }

  /// Uninitialized storage for n elements, 64-byte aligned, valid until reset().
  template <class T>
  T* allocate(Index n) {
    const std::size_t bytes = (static_cast<std::size_t>(n) * sizeof(T) + alignment - 1) / alignment * alignment;
    if (blocks_.empty() || blocks_.back().used + bytes > blocks_.back().size) grow(bytes);
    Block& block = blocks_.back();
    void* p = block.data + block.used;
    block.used += bytes;
    if (before_ + block.used > peak_) peak_ = before_ + block.used;
    return static_cast<T*>(p);
  }
  template <class T>
  MatrixView<T> matrix(Index rows, Index cols) {
    return {allocate<T>(rows * cols), rows, cols};
  }
  /// Forgets everything handed out. If the last round needed several blocks they become one as large as was in use at
  /// once, scratch that could not go back included. After that a round that finds one block and needs more than any
  /// such round before says how much of it was enough: that stays, also when smaller rounds follow.
  void reset() {
    if (blocks_.size() > 1) {
      grown_ = true;
      replace_blocks();
    } else if (grown_ && peak_ > enough_ + enough_ / 6) {
      enough_ = peak_;
      if (blocks_.back().size > peak_ + peak_ / 6) replace_blocks();
    }
    peak_ = 0;
    if (!blocks_.empty()) blocks_.back().used = 0;
  }
  /// Gives all memory back: what was handed out is no longer valid.
  void release() noexcept {
    free_blocks();
    peak_ = enough_ = 0;
    grown_ = false;
  }
  /// Most bytes in use at once since the last reset.
  std::size_t peak() const noexcept { return peak_; }
  /// Changes whenever a block is taken or given back: as long as it stays, so do the addresses.
  std::size_t generation() const noexcept { return generation_; }
  std::size_t capacity() const noexcept {
    std::size_t total = 0;
    for (const Block& block : blocks_) total += block.size;
    return total;
  }
  /// Position to return to with `rewind`, for scratch inside one operator.
  struct Mark {
    std::size_t blocks;
    std::size_t used;
  };
  Mark mark() const noexcept { return {blocks_.size(), blocks_.empty() ? 0 : blocks_.back().used}; }
  /// Gives back what was allocated since `m`, if no block was added since; otherwise keeps it until reset().
  void rewind(Mark m) noexcept {
    if (blocks_.size() == m.blocks && !blocks_.empty()) blocks_.back().used = m.used;
  }

 private:
  struct Block {
    std::byte* data;
    std::size_t size;
    std::size_t used;
  };
  void grow(std::size_t bytes) {
    const std::size_t floor =
        blocks_.empty() ? (std::size_t{1} << 20) : std::min(2 * blocks_.back().size, std::size_t{64} << 20);
    const std::size_t used = blocks_.empty() ? 0 : blocks_.back().used;
    add_block(bytes > floor ? bytes : floor);
    before_ += used;
  }
  void add_block(std::size_t bytes) {
    ++generation_;
    detail::with_memory_errors("the arena's list of blocks", [&] { blocks_.reserve(blocks_.size() + 1); });
    blocks_.push_back({static_cast<std::byte*>(Memory::allocate(bytes)), bytes, 0});
  }
  void replace_blocks() {
    free_blocks();
    add_block(peak_ + peak_ / 16);  // rounds differ a little: a batch has more distinct ids than the last one
  }
  void free_blocks() noexcept {
    ++generation_;
    for (const Block& block : blocks_) Memory::deallocate(block.data, block.size);
    blocks_.clear();
    before_ = 0;
  }
  std::vector<Block> blocks_;
  std::size_t generation_ = 0;
  std::size_t before_ = 0;  ///< bytes used in all blocks but the last
  std::size_t peak_ = 0;    ///< most bytes in use at once since the last reset
  std::size_t enough_ = 0;  ///< that of a round in one block, since the blocks became one
  bool grown_ = false;      ///< there have been several blocks
};

}  // namespace rearm::REARM_ABI
