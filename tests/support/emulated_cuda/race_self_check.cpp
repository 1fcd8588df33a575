// Tests of race_check.cpp: what it must report and what it must not. Compiled with -fsanitize=thread.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "self_check.hpp"

namespace {

// `sync` 0: nothing, 1: a shuffle, 2: __syncwarp, 3: __syncthreads.
__device__ void meet(int sync) {
  if (sync == 1) __shfl_sync(full, 0, 0);
  if (sync == 2) __syncwarp();
  if (sync == 3) __syncthreads();
}

// Each thread writes a number and reads that of the thread `step` further on.
__global__ void pass_shared(int step, int sync, int* out) {
  __shared__ int numbers[64];
  const int t = static_cast<int>(threadIdx.x);
  numbers[t] = t;
  meet(sync);
  out[t] = numbers[(t + step) % static_cast<int>(blockDim.x)];
}
__global__ void pass_device(int step, int sync, int* numbers, int* out) {
  const int t = static_cast<int>(threadIdx.x);
  numbers[t] = t;
  meet(sync);
  out[t] = numbers[(t + step) % static_cast<int>(blockDim.x)];
}
// The other way round: what thread t + 1 writes must not be there yet.
__global__ void pass_back(int sync, int* numbers) {
  const int t = static_cast<int>(threadIdx.x);
  const int taken = numbers[(t + 1) % 32];
  meet(sync);
  numbers[t] = taken;
}
// Neighbors within eight bytes are not one place.
__global__ void write_halves(unsigned short* numbers) {
  numbers[threadIdx.x] = static_cast<unsigned short>(threadIdx.x);
}

// Every block leaves a number; the last one to come adds them up.
__global__ void add_blocks(bool fence_before, bool fence_after, int* numbers, unsigned* arrived, int* sum) {
  __shared__ bool last;
  if (threadIdx.x == 1) numbers[blockIdx.x] = 1;
  __syncthreads();
  if (threadIdx.x == 0) {
    if (fence_before) __threadfence();
    last = atomicInc(arrived, gridDim.x - 1) == gridDim.x - 1;
    if (fence_after) __threadfence();
  }
  __syncthreads();
  if (!last || threadIdx.x != 2) return;
  int total = 0;
  for (unsigned b = 0; b < gridDim.x; ++b) total += numbers[b];
  *sum = total;
}

// The number comes from the thread that fences: before the fence, or behind it.
__global__ void add_late(bool late, int* numbers, unsigned* arrived, int* sum) {
  if (!late) numbers[blockIdx.x] = 1;
  __threadfence();
  if (late) numbers[blockIdx.x] = 1;
  const bool last = atomicInc(arrived, gridDim.x - 1) == gridDim.x - 1;
  __threadfence();
  for (unsigned b = 0; last && b < gridDim.x; ++b) *sum += numbers[b];
}

__global__ void count(bool plain, int* counter) {
  if (plain && threadIdx.x == 0)
    ++*counter;
  else
    atomicAdd(counter, 1);
}

__global__ void read_stale(int* out) {
  __shared__ int number;
  if (blockIdx.x == 0) number = 7;
  if (blockIdx.x == 1) *out = number;
}

__global__ void read_through(const int* p, int* out) { *out = *p; }

// What the checker says of a kernel: "" or its report.
template <class... P, class... A>
std::string says(dim3 grid, unsigned threads, void (*kernel)(P...), A... arguments) {
  return death([&] {
    launch(nullptr, grid, dim3(threads), kernel, arguments...);
    cudaDeviceSynchronize();
  });
}

}  // namespace

TEST_CASE("threads of a warp need __syncwarp between a write and a read, and a shuffle is none") {
  const Device<int> out(64), numbers(64);
  for (const int sync : {0, 1}) {
    CHECK(contains(says(1, 32, pass_shared, 1, sync, out.p), "race"));
    CHECK(contains(says(1, 32, pass_device, 1, sync, numbers.p, out.p), "race"));
    CHECK(contains(says(1, 32, pass_back, sync, numbers.p), "race"));
  }
  for (const int sync : {2, 3}) {
    CHECK(says(1, 32, pass_shared, 1, sync, out.p) == "");
    CHECK(says(1, 32, pass_device, 1, sync, numbers.p, out.p) == "");
    CHECK(says(1, 32, pass_back, sync, numbers.p) == "");
  }
  CHECK(says(1, 32, pass_shared, 0, 0, out.p) == "");  // its own number
}

TEST_CASE("warps of a block need __syncthreads") {
  const Device<int> out(64), numbers(64);
  for (const int sync : {0, 1, 2}) {
    const std::string text = says(1, 64, pass_shared, 32, sync, out.p);
    CHECK(contains(text, "race"));
    CHECK(contains(text, "pass_shared"));
    CHECK(contains(says(1, 64, pass_device, 32, sync, numbers.p, out.p), "race"));
  }
  CHECK(says(1, 64, pass_shared, 32, 3, out.p) == "");
  CHECK(says(1, 64, pass_device, 32, 3, numbers.p, out.p) == "");
}

TEST_CASE("blocks need a fence on both sides of an atomic operation") {
  const Device<int> numbers(8), sum(1);
  const Device<unsigned> arrived(std::vector<unsigned>{0});
  CHECK(contains(says(8, 32, add_blocks, false, true, numbers.p, arrived.p, sum.p), "race"));
  CHECK(contains(says(8, 32, add_blocks, true, false, numbers.p, arrived.p, sum.p), "race"));
  CHECK(says(8, 32, add_blocks, true, true, numbers.p, arrived.p, sum.p) == "");
  CHECK(contains(says(8, 1, add_late, true, numbers.p, arrived.p, sum.p), "race"));
  CHECK(says(8, 1, add_late, false, numbers.p, arrived.p, sum.p) == "");
  CHECK(contains(says(2, 32, pass_device, 0, 3, numbers.p, sum.p), "race"));  // two blocks, the same places
}

TEST_CASE("atomic operations agree among themselves only, and neighbors do not collide") {
  const Device<int> counter(std::vector<int>{0});
  CHECK(says(2, 64, count, false, counter.p) == "");
  CHECK(contains(says(1, 64, count, true, counter.p), "race"));
  const Device<unsigned short> halves(64);
  CHECK(says(1, 64, write_halves, halves.p) == "");
}

TEST_CASE("shared memory is the block's own, and the host's is out of reach") {
  const Device<int> out(1), number(std::vector<int>{1});
  CHECK(contains(says(2, 1, read_stale, out.p), "has not written"));
  CHECK(says(1, 1, read_stale, out.p) == "");
  const std::vector<int> here(4);
  CHECK(contains(says(1, 1, read_through, here.data(), out.p), "host memory"));
  CHECK(says(1, 1, read_through, static_cast<const int*>(number.p), out.p) == "");
}
