#pragma once
/// @file arena.hpp
/// A bump allocator that is reset once a step: after the first steps it hands out the same addresses without
/// allocating.

#include <rearm/core/matrix.hpp>

#include <cstddef>
#include <vector>

namespace rearm {

/// Not thread-safe: one arena belongs to one context, used from the thread that drives it.
template <class Memory = HostMemory>
class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() { release(); }

  /// Uninitialised storage for n elements, 64-byte aligned, valid until reset().
  template <class T>
  T* allocate(Index n) {
    const std::size_t bytes = (static_cast<std::size_t>(n) * sizeof(T) + alignment - 1) / alignment * alignment;
    if (blocks_.empty() || blocks_.back().used + bytes > blocks_.back().size) grow(bytes);
    Block& block = blocks_.back();
    void* p = block.data + block.used;
    block.used += bytes;
    return static_cast<T*>(p);
  }
  template <class T>
  MatrixView<T> matrix(Index rows, Index cols) {
    return {allocate<T>(rows * cols), rows, cols};
  }
  /// Forgets everything handed out. If the last round needed several blocks they become one of the joint size.
  void reset() {
    if (blocks_.size() > 1) {
      std::size_t total = 0;
      for (const Block& block : blocks_) total += block.size;
      release();
      add_block(total);
    }
    if (!blocks_.empty()) blocks_.back().used = 0;
  }
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
    const std::size_t floor = blocks_.empty() ? (std::size_t{1} << 20) : blocks_.back().size;
    add_block(bytes > floor ? bytes : floor);
  }
  void add_block(std::size_t bytes) {
    blocks_.reserve(blocks_.size() + 1);
    blocks_.push_back({static_cast<std::byte*>(Memory::allocate(bytes)), bytes, 0});
  }
  void release() noexcept {
    for (const Block& block : blocks_) Memory::deallocate(block.data);
    blocks_.clear();
  }
  std::vector<Block> blocks_;
};

}  // namespace rearm
