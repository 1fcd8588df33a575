/// @file storage_test.cpp
/// Buffers, matrices, views and the arena: alignment, ownership, addresses that come back.

#include <rearm/core/arena.hpp>
#include <rearm/core/matrix.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <utility>
#include <vector>

namespace core_storage_test {

using namespace rearm;

namespace {

bool aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % alignment == 0; }

}  // namespace

TEST_CASE("a buffer is aligned, zeroed and move-only") {
  for (const Index n : {1, 3, 64, 1000}) {
    Buffer<float> b(n);
    CHECK(aligned(b.data()));
    for (const float v : b) CHECK(v == 0.0F);
  }
  // Large ones are mappings of their own, of huge pages and what is left.
  for (const Index bytes : {(1 << 21) - 1, 1 << 21, (1 << 21) + 1, (1 << 21) + (1 << 16), 3 << 21}) {
    Buffer<char> b(bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(b.data()) %
              (REARM_MAPS_LARGE_ARRAYS != 0 && bytes >= (1 << 21) ? std::uintptr_t{1} << 21 : alignment) ==
          0);
    CHECK(std::ranges::all_of(b, [](char c) { return c == 0; }));
    std::ranges::fill(b, 'x');
    CHECK(b[bytes - 1] == 'x');
  }
#if REARM_MAPS_LARGE_ARRAYS  // the allocator of AddressSanitizer ends the program instead
  CHECK_THROWS_WITH_AS(Buffer<char>(Index{1} << 62),
                       "out of memory: an array of 4611686018427387904 bytes was asked for", OutOfMemoryError);
#endif
  static_assert(!std::is_copy_constructible_v<Buffer<int>>);
  const std::vector<int> values{3, 1, 4};
  Buffer<int> a(values);
  const int* address = a.data();
  Buffer<int> b(std::move(a));
  CHECK(b.data() == address);
  CHECK(b.size() == 3);
  CHECK(a.empty());  // NOLINT(bugprone-use-after-move): the moved-from state is what is tested
  Buffer<int> c(5);
  c = std::move(b);
  CHECK(c.data() == address);
  CHECK(std::vector<int>(c.begin(), c.end()) == values);
  CHECK(Buffer<int>(0).data() == nullptr);
  CHECK_THROWS_WITH_AS(Buffer<int>(-2), "Buffer: negative size -2", ShapeError);
}

TEST_CASE("a matrix is row-major, moves its storage and clones on purpose") {
  Matrix<double> m(3, 5);
  CHECK(aligned(m.data()));
  m(1, 2) = 7;
  CHECK(m.data()[7] == 7);
  CHECK(m.row(1)[2] == 7);
  Matrix<double> copy = m.clone();
  copy(1, 2) = 8;
  CHECK(m(1, 2) == 7);
  const double* address = m.data();
  Matrix<double> moved(std::move(m));
  CHECK(moved.data() == address);
  CHECK(moved(1, 2) == 7);
  static_assert(!std::is_copy_constructible_v<Matrix<double>>);
  CHECK(Matrix<float>(0, 5).empty());
  CHECK(Matrix<float>(0, 5).cols() == 5);
  CHECK_THROWS_AS(Matrix<float>(-1, 5), ShapeError);
}

TEST_CASE("blocks of a view keep the stride") {
  Matrix<int> m(4, 6);
  for (Index i = 0; i < 24; ++i) m.data()[i] = static_cast<int>(i);
  const MatrixView<int> block = m.view().row_block(1, 2).col_block(2, 3);
  CHECK(block.stride == 6);
  CHECK(block(0, 0) == 8);
  CHECK(block(1, 2) == 16);
  CHECK_FALSE(block.contiguous());
  CHECK(block.row_block(0, 1).contiguous());
  CHECK(m.view().row_block(1, 2).contiguous());
  const MatrixView<const int> constant = block;
  CHECK(constant(1, 2) == 16);
  CHECK(shape_string(block) == "2x3");
  CHECK_THROWS_WITH_AS(detail::require_shape(block, 3, 2, "op", "x"), "op: x is 2x3 but must be 3x2", ShapeError);
}

TEST_CASE("rows_apart: no row of one view meets another row of the other, and true for blocks of the same rows") {
  float numbers[64];
  const auto meets = [](const MatrixView<float>& a, const MatrixView<float>& b) {
    for (Index i = 0; i < a.rows; ++i)
      for (Index j = 0; j < b.rows; ++j)
        if (i != j && a.row(i) < b.row(j) + b.cols && b.row(j) < a.row(i) + a.cols) return true;
    return false;
  };
  int apart = 0;
  int together = 0;
  for (const Index stride : {4, 5})
    for (Index at = 0; at < 22; ++at)
      for (Index rows = 1; rows <= 3; ++rows)
        for (Index cols = 1; cols <= 4; ++cols)
          for (Index other_cols = 1; other_cols <= 4; ++other_cols)
            for (const Index other_stride : {4, 5}) {
              const MatrixView<float> a(numbers + 10, rows, cols, stride);
              const MatrixView<float> b(numbers + at, 3, other_cols, other_stride);
              if (detail::rows_apart(a, b)) {
                ++apart;
                CHECK_FALSE(meets(a, b));
              } else {
                ++together;
              }
            }
  CHECK(apart > 1000);
  CHECK(together > 1000);
  const MatrixView<float> whole(numbers, 6, 8);
  CHECK(detail::rows_apart(whole, whole));
  CHECK(detail::rows_apart(whole.col_block(0, 4), whole.col_block(2, 6)));
  CHECK(detail::rows_apart(whole.row_block(0, 3), whole.row_block(3, 3)));
  CHECK(detail::rows_apart(whole, MatrixView<float>{}));
  CHECK_FALSE(detail::rows_apart(whole.row_block(0, 5), whole.row_block(1, 5)));
}

TEST_CASE("an arena hands out the same aligned addresses after a reset") {
  Arena<> arena;
  const auto round = [&] {
    std::vector<void*> addresses;
    for (const Index n : {1, 17, 1000, 5}) addresses.push_back(arena.allocate<float>(n));
    addresses.push_back(arena.matrix<double>(7, 9).data);
    return addresses;
  };
  const auto first = round();
  for (std::size_t i = 0; i < first.size(); ++i) {
    CHECK(aligned(first[i]));
    for (std::size_t j = 0; j < i; ++j) CHECK(first[i] != first[j]);
  }
  arena.reset();
  CHECK(round() == first);
  CHECK(arena.allocate<float>(0) != nullptr);
}

TEST_CASE("an arena that grew becomes one block, and then stays") {
  Arena<> arena;
  const auto round = [&] {
    std::vector<void*> addresses;
    for (int i = 0; i < 5; ++i) {
      char* p = arena.allocate<char>(700'000);
      p[0] = p[699'999] = 'x';  // the sanitizer would object if this were not ours
      addresses.push_back(p);
    }
    return addresses;
  };
  round();
  const std::size_t grown = arena.capacity();
  CHECK(grown >= 5 * 700'000);
  arena.reset();
  const std::size_t settled = arena.capacity();
  CHECK(settled >= 5 * 700'000);
  CHECK(settled < grown);
  const auto second = round();
  CHECK(arena.capacity() == settled);
  arena.reset();
  CHECK(round() == second);
  CHECK(arena.capacity() == settled);
}

TEST_CASE("an arena keeps no more than scratch that goes back needs") {
  Arena<> arena;
  const auto round = [&] {
    arena.allocate<char>(500'000);
    for (int i = 0; i < 4; ++i) {
      const auto mark = arena.mark();
      arena.allocate<char>(900'000);
      arena.rewind(mark);
    }
  };
  for (int i = 0; i < 3; ++i) {
    round();
    arena.reset();
  }
  CHECK(arena.capacity() >= 1'400'000);
  CHECK(arena.capacity() < 1'500'000);
}

TEST_CASE("an arena keeps what its largest round needs, whatever rounds lie between") {
  Arena<> arena;
  const auto round = [&](Index kept, Index scratch) {
    arena.allocate<char>(kept);
    for (int i = 0; i < 4; ++i) {
      const auto mark = arena.mark();
      arena.allocate<char>(scratch);
      arena.rewind(mark);
    }
    arena.reset();
  };
  const auto epoch = [&] {
    round(500'000, 2'000'000);
    for (int i = 0; i < 3; ++i) round(500'000, 900'000 + i);
  };
  for (int i = 0; i < 3; ++i) epoch();
  CHECK(arena.capacity() >= 2'500'000);
  CHECK(arena.capacity() < 2'700'000);
  const std::size_t generation = arena.generation();
  epoch();
  CHECK(arena.generation() == generation);
  arena.release();
  CHECK(arena.capacity() == 0);
  round(1'000, 1'000);
  CHECK(arena.capacity() < 2'500'000);
}

TEST_CASE("rewind gives back what came after the mark, unless the arena grew since") {
  Arena<> arena;
  auto* kept = arena.allocate<int>(10);
  kept[0] = 5;
  const auto mark = arena.mark();
  auto* scratch = arena.allocate<int>(100);
  arena.rewind(mark);
  CHECK(arena.allocate<int>(100) == scratch);
  arena.rewind(mark);
  arena.allocate<char>(3 << 20);  // a second block
  arena.rewind(mark);
  auto* after = arena.allocate<int>(1);
  CHECK(after != kept);
  CHECK(after != scratch);
  CHECK(kept[0] == 5);
}

}  // namespace core_storage_test
