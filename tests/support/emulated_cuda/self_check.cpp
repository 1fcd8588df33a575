// Tests of the emulator itself. Its name does not end in _test.cpp: it does not belong to the tests of the library.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "self_check.hpp"

#include <cublas_v2.h>
#include <cusparse.h>

#include <cub/cub.cuh>
#include <random>

namespace {

__global__ void block_sum(const float* in, int n, float* out) {
  __shared__ float warp_sums[32];
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  float sum = i < n ? in[i] : 0;
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_down_sync(full, sum, static_cast<unsigned>(offset));
  if (threadIdx.x % 32 == 0) warp_sums[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  sum = threadIdx.x < blockDim.x / 32 ? warp_sums[threadIdx.x] : 0;
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(full, sum, offset);
  if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

__global__ void shuffles(int* out, double* wide) {
  const int lane = static_cast<int>(threadIdx.x);
  int* row = out + 8 * threadIdx.x;
  row[0] = __shfl_sync(full, lane, 5);
  row[1] = __shfl_sync(full, lane, 3, 8);
  row[2] = __shfl_down_sync(full, lane, 3);
  row[3] = __shfl_up_sync(full, lane, 3, 16);
  row[4] = __shfl_xor_sync(full, lane, 6);
  row[5] = static_cast<int>(__ballot_sync(full, lane % 3 == 0));
  row[6] = __any_sync(full, lane == 7) * 2 + __all_sync(full, lane < 32);
  row[7] = __shfl_xor_sync(full, lane, 4, 4);  // from a later group of 4: its own; from an earlier one: that value
  wide[lane] = __shfl_xor_sync(full, lane + 0.5, 1);
}

__global__ void ragged(int live, int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  if (lane >= live) return;
  int sum = 0;
  if (lane < 4) {
    sum = __shfl_xor_sync(0xFu, lane, 1);
  } else {
    sum = __shfl_sync(~0xFu, lane, 4);
  }
  __syncwarp();
  __syncthreads();
  out[lane] = sum + 100 * static_cast<int>(__popc(__ballot_sync(full, 1)));
}

__global__ void from_an_absent_lane(float* out) {
  if (threadIdx.x < 8) out[threadIdx.x] = __shfl_sync(0xFFu, 1.0f, 20);
}

__global__ void coordinates(unsigned* out) {
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned group = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  out[group * blockDim.x * blockDim.y * blockDim.z + thread] = group * 1000 + thread;
}

__global__ void atomics(int* counts, float* sum, double* wide, unsigned* round) {
  atomicInc(round, 99);
  atomicAdd(&counts[0], 1);
  atomicMax(&counts[1], static_cast<int>(threadIdx.x));
  atomicMin(&counts[2], -static_cast<int>(threadIdx.x));
  atomicAdd(sum, 0.5f);
  atomicAdd(wide, 0.25);
}

__global__ void add(float* p, int n, float value) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) p[i] += value;
}

__global__ void mixed_collectives() {
  if (threadIdx.x == 3) {
    __any_sync(full, 1);
  } else {
    __syncwarp();
  }
}
__global__ void half_a_barrier() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncwarp(~2u | 2u);
    if (threadIdx.x == 33) __shfl_sync(full, 1, 0);
    __syncthreads();
  }
}
__global__ void not_in_the_mask() { __shfl_sync(1u, 1, 0); }
__global__ void past_the_end(float* p, int n) { p[n + static_cast<int>(threadIdx.x)] = 1; }
__global__ void without_a_barrier(int* out) {
  __shared__ int value;
  if (threadIdx.x == 0) value = static_cast<int>(blockIdx.x) + 1;
  out[blockIdx.x * blockDim.x + threadIdx.x] = value;
}
__global__ void many_shuffles(float* out, int count) {
  float sum = static_cast<float>(threadIdx.x);
  for (int i = 0; i < count; ++i) sum = 0.5f * __shfl_xor_sync(full, sum, 1 << (i % 5));
  out[threadIdx.x] = sum;
}
__global__ void many_barriers(float* out, int count) {
  for (int i = 0; i < count; ++i) __syncthreads();
  out[threadIdx.x] = 1;
}

}  // namespace

TEST_CASE("a block reduces with shuffles, shared memory and a barrier, in both orders") {
  const int n = 1000;
  std::vector<float> values(n);
  std::iota(values.begin(), values.end(), 1.0f);
  const Device<float> in(values), out(4);
  for (const bool reverse : {true, false}) {
    emulated_cuda::set_reverse_order(reverse);
    REQUIRE(launch(nullptr, 4, 256, block_sum, in.p, n, out.p) == cudaSuccess);
    const std::vector<float> sums = out.get();
    CHECK(sums[0] == 256 * 257 / 2);
    CHECK(sums[0] + sums[1] + sums[2] + sums[3] == n * (n + 1) / 2);
  }
}

TEST_CASE("shuffles and votes follow the definitions of the hardware") {
  const Device<int> out(32 * 8);
  const Device<double> wide(32);
  REQUIRE(launch(nullptr, 1, 32, shuffles, out.p, wide.p) == cudaSuccess);
  const std::vector<int> rows = out.get();
  const std::vector<double> halves = wide.get();
  for (int lane = 0; lane < 32; ++lane) {
    const int* row = rows.data() + 8 * lane;
    CHECK(row[0] == 5);
    CHECK(row[1] == lane / 8 * 8 + 3);
    CHECK(row[2] == (lane + 3 < 32 ? lane + 3 : lane));
    CHECK(row[3] == (lane % 16 >= 3 ? lane - 3 : lane));
    CHECK(row[4] == (lane ^ 6));
    CHECK(row[5] == 0x49249249);
    CHECK(row[6] == 3);
    CHECK(row[7] == (lane % 8 < 4 ? lane : lane - 4));
    CHECK(halves[static_cast<std::size_t>(lane)] == (lane ^ 1) + 0.5);
  }
}

TEST_CASE("lanes which have returned are not waited for, and two groups of a warp go their own way") {
  for (const int live : {32, 20, 5}) {
    const Device<int> out(32);
    REQUIRE(launch(nullptr, 1, 32, ragged, live, out.p) == cudaSuccess);
    const std::vector<int> values = out.get();
    for (int lane = 0; lane < live; ++lane) {
      CHECK(values[static_cast<std::size_t>(lane)] == 100 * live + (lane < 4 ? lane ^ 1 : 4));
    }
  }
  const Device<float> out(8);
  REQUIRE(launch(nullptr, 1, 32, from_an_absent_lane, out.p) == cudaSuccess);
  CHECK(std::isnan(out.get()[0]));
}

TEST_CASE("every thread of a three-dimensional grid knows its place") {
  const Device<unsigned> out(2 * 3 * 2 * 5 * 7 * 2);
  REQUIRE(launch(nullptr, {2, 3, 2}, {5, 7, 2}, coordinates, out.p) == cudaSuccess);
  const std::vector<unsigned> values = out.get();
  for (unsigned i = 0; i < values.size(); ++i) CHECK(values[i] == i / 70 * 1000 + i % 70);
}

TEST_CASE("atomics count every thread") {
  const Device<int> counts(std::vector<int>{0, 0, 0});
  const Device<float> sum(std::vector<float>{0});
  const Device<double> wide(std::vector<double>{0});
  const Device<unsigned> round(std::vector<unsigned>{0});
  REQUIRE(launch(nullptr, 7, 96, atomics, counts.p, sum.p, wide.p, round.p) == cudaSuccess);
  CHECK(counts.get() == std::vector<int>{7 * 96, 95, -95});
  CHECK(sum.get()[0] == 7 * 48);
  CHECK(wide.get()[0] == 7 * 24);
  CHECK(round.get()[0] == 7 * 96 % 100);
}

TEST_CASE("a launch that hardware refuses is refused") {
  const auto refused = [](dim3 grid, dim3 threads) {
    return launch(nullptr, grid, threads, mixed_collectives) == cudaErrorInvalidConfiguration;
  };
  CHECK(refused(0, 32));
  CHECK(refused(1, 0));
  CHECK(refused(1, 1025));
  CHECK(refused(1, {32, 33, 1}));
  CHECK(refused({1, 65536, 1}, 32));
  CHECK(refused(1u << 31, 32));
  CHECK(cudaPeekAtLastError() == cudaErrorInvalidConfiguration);
  CHECK(cudaGetLastError() == cudaErrorInvalidConfiguration);
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(std::string(cudaGetErrorName(cudaErrorInvalidConfiguration)) == "cudaErrorInvalidConfiguration");
}

TEST_CASE("errors in kernels stop the program and say where") {
  const auto run = [](void (*kernel)(), unsigned threads) {
    return death([=] {
      launch(nullptr, 1, threads, kernel);
      cudaDeviceSynchronize();
    });
  };
  CHECK(contains(run(mixed_collectives, 32), "divergence in a warp"));
  CHECK(contains(run(mixed_collectives, 32), "__any_sync"));
  const std::string deadlock = run(half_a_barrier, 64);
  CHECK(contains(deadlock, "deadlock: 64 threads"));
  CHECK(contains(deadlock, "thread (33, 0, 0), lane 1 of warp 1, waits at __shfl_sync with mask ffffffff"));
  CHECK(contains(run(not_in_the_mask, 32), "not in its mask"));
  CHECK(contains(death([] { __syncthreads(); }), "outside a kernel"));
  CHECK_FALSE(death([] {
                const Device<float> p(10);
                launch(nullptr, 1, 1, past_the_end, p.p, 10);
                cudaDeviceSynchronize();
              }).empty());
}

TEST_CASE("the reverse order shows a missing barrier") {
  const Device<int> out(4 * 64);
  const auto differ = [&](bool reverse) {
    emulated_cuda::set_reverse_order(reverse);
    REQUIRE(launch(nullptr, 4, 64, without_a_barrier, out.p) == cudaSuccess);
    const std::vector<int> values = out.get();
    emulated_cuda::set_reverse_order(false);
    return values[63] != 1 || values[255] != 4;
  };
  CHECK_FALSE(differ(false));
  CHECK(differ(true));
}

TEST_CASE("device memory is out of the host's reach, poisoned and limited") {
  const std::size_t before = emulated_cuda::allocated_bytes();
  {
    const Device<float> p(100);
    CHECK(reinterpret_cast<std::uintptr_t>(p.p) % 256 == 0);
    CHECK(std::isnan(p.get()[99]));
    CHECK_FALSE(death([&] { *static_cast<volatile float*>(p.p) = 1; }).empty());
    CHECK(emulated_cuda::allocated_bytes() == before + 512);
    CHECK(cudaFree(p.p + 64) == cudaErrorInvalidValue);
    int on_the_host = 0;
    CHECK(cudaFree(&on_the_host) == cudaErrorInvalidValue);
  }
  CHECK(emulated_cuda::allocated_bytes() == before);

  emulated_cuda::set_memory_limit(before + 1024);
  void* p = nullptr;
  CHECK(cudaMalloc(&p, 1025) == cudaErrorMemoryAllocation);
  CHECK(cudaMalloc(&p, ~std::size_t{0}) == cudaErrorMemoryAllocation);
  CHECK(p == nullptr);
  CHECK(cudaMalloc(&p, 1000) == cudaSuccess);
  std::size_t available = 1, total = 0;
  CHECK(cudaMemGetInfo(&available, &total) == cudaSuccess);
  CHECK(available == 0);
  CHECK(total == before + 1024);
  CHECK(cudaFree(p) == cudaSuccess);
  emulated_cuda::set_memory_limit(std::size_t{8} << 30);
  cudaGetLastError();

  emulated_cuda::set_failure(cudaErrorNoDevice);
  int devices = 5;
  CHECK(cudaGetDeviceCount(&devices) == cudaErrorNoDevice);
  CHECK(devices == 0);
  CHECK(cudaMalloc(&p, 8) == cudaErrorNoDevice);
  emulated_cuda::set_failure(cudaSuccess);
  CHECK(cudaGetDeviceCount(&devices) == cudaSuccess);
  cudaGetLastError();
}

TEST_CASE("free memory is found again") {
  std::vector<char*> p(8);
  for (char*& q : p) REQUIRE(cudaMalloc(&q, 1000) == cudaSuccess);
  REQUIRE(cudaFree(p[3]) == cudaSuccess);
  char* again = nullptr;
  REQUIRE(cudaMalloc(&again, 700) == cudaSuccess);
  CHECK(again == p[3]);
  p[3] = again;
  for (char* q : p) CHECK(cudaFree(q) == cudaSuccess);
}

TEST_CASE("copies are checked") {
  const Device<int> p(10), q(10);
  std::vector<int> host(11);
  CHECK(cudaMemcpy(p.p, host.data(), 44, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(cudaMemcpy(p.p, host.data(), 40, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
  CHECK(cudaMemcpy(host.data(), host.data() + 1, 40, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
  CHECK(cudaMemset(p.p, 0, 41) == cudaErrorInvalidValue);
  CHECK(cudaMemcpyAsync(p.p, q.p, 40, cudaMemcpyDeviceToDevice, reinterpret_cast<cudaStream_t>(&host)) ==
        cudaErrorInvalidResourceHandle);
  CHECK(cudaMemset(p.p, 0, 40) == cudaSuccess);
  CHECK(cudaMemcpy(q.p, p.p, 40, cudaMemcpyDefault) == cudaSuccess);
  CHECK(q.get() == std::vector<int>(10));
  cudaGetLastError();
}

TEST_CASE("work waits in the queue until something synchronizes") {
  const Device<float> p(4);
  const Stream one, two;
  float* pinned = nullptr;
  REQUIRE(cudaMallocHost(&pinned, 4 * sizeof(float)) == cudaSuccess);
  std::vector<float> pageable{1, 2, 3, 4};
  emulated_cuda::counters() = {};
  REQUIRE(cudaMemcpyAsync(p.p, pageable.data(), 16, cudaMemcpyHostToDevice, one.stream) == cudaSuccess);
  pageable.assign(4, 0);  // taken before the call returned
  REQUIRE(launch(one.stream, 1, 4, add, p.p, 4, 1.0f) == cudaSuccess);
  REQUIRE(cudaMemcpyAsync(pinned, p.p, 16, cudaMemcpyDeviceToHost, one.stream) == cudaSuccess);
  REQUIRE(launch(two.stream, 1, 4, add, p.p, 4, 10.0f) == cudaSuccess);
  CHECK(std::isnan(pinned[0]));
  CHECK(cudaStreamQuery(one.stream) == cudaErrorNotReady);
  CHECK(cudaStreamSynchronize(one.stream) == cudaSuccess);
  CHECK(pinned[3] == 5);
  CHECK(cudaStreamQuery(one.stream) == cudaSuccess);
  CHECK(cudaStreamQuery(two.stream) == cudaErrorNotReady);  // runs its only entry
  CHECK(cudaStreamQuery(two.stream) == cudaSuccess);

  pinned[0] = 7;
  REQUIRE(cudaMemcpyAsync(p.p, pinned, 16, cudaMemcpyHostToDevice, one.stream) == cudaSuccess);
  pinned[0] = 8;  // too early: the copy has not run
  REQUIRE(cudaMemcpyAsync(pageable.data(), p.p, 16, cudaMemcpyDeviceToHost, one.stream) == cudaSuccess);
  CHECK(pageable[0] == 8);

  cudaEvent_t start, stop;
  REQUIRE(cudaEventCreate(&start) == cudaSuccess);
  REQUIRE(cudaEventCreate(&stop) == cudaSuccess);
  float milliseconds = -1;
  CHECK(cudaEventElapsedTime(&milliseconds, start, stop) == cudaErrorInvalidResourceHandle);
  CHECK(cudaEventRecord(start, one.stream) == cudaSuccess);
  CHECK(launch(one.stream, 1, 4, add, p.p, 4, 1.0f) == cudaSuccess);
  CHECK(cudaEventRecord(stop, one.stream) == cudaSuccess);
  CHECK(cudaEventElapsedTime(&milliseconds, start, stop) == cudaErrorNotReady);
  CHECK(cudaEventSynchronize(stop) == cudaSuccess);
  CHECK(cudaEventElapsedTime(&milliseconds, start, stop) == cudaSuccess);
  CHECK(milliseconds >= 0);
  CHECK(cudaEventDestroy(start) == cudaSuccess);
  CHECK(cudaEventDestroy(stop) == cudaSuccess);
  CHECK(cudaFreeHost(pinned) == cudaSuccess);
  const emulated_cuda::Counters counters = emulated_cuda::counters();
  CHECK(counters.launches == 3);
  CHECK(counters.copies_to_host == 2);
  CHECK(counters.copies_to_device == 2);
  CHECK(counters.synchronizations == 2);
  cudaGetLastError();
}

TEST_CASE("a graph replays on the data of the day") {
  const Device<float> p(std::vector<float>{1, 2}), sum(4);
  const Stream s;
  cublasHandle_t blas = nullptr;
  REQUIRE(cublasCreate(&blas) == CUBLAS_STATUS_SUCCESS);
  REQUIRE(cublasSetStream(blas, s.stream) == CUBLAS_STATUS_SUCCESS);
  emulated_cuda::counters() = {};
  REQUIRE(cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeGlobal) == cudaSuccess);
  {
    float value = 10;  // the argument is taken now
    CHECK(launch(s.stream, 1, 32, add, p.p, 2, value) == cudaSuccess);
    value = 1000;
    const float one = 1, zero = 0;
    CHECK(cublasSgemm(blas, CUBLAS_OP_N, CUBLAS_OP_T, 2, 2, 1, &one, p.p, 2, p.p, 2, &zero, sum.p, 2) ==
          CUBLAS_STATUS_SUCCESS);
  }
  cudaStreamCaptureStatus status;
  CHECK(cudaStreamIsCapturing(s.stream, &status) == cudaSuccess);
  CHECK(status == cudaStreamCaptureStatusActive);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  REQUIRE(cudaStreamEndCapture(s.stream, &graph) == cudaSuccess);
  REQUIRE(cudaGraphInstantiate(&executable, graph, 0) == cudaSuccess);
  CHECK(cudaGraphDestroy(graph) == cudaSuccess);
  CHECK(p.get() == std::vector<float>{1, 2});
  CHECK(cudaGraphLaunch(executable, s.stream) == cudaSuccess);
  CHECK(p.get() == std::vector<float>{11, 12});
  CHECK(sum.get() == std::vector<float>{121, 132, 132, 144});
  p.set({-10, -9});
  CHECK(cudaGraphLaunch(executable, s.stream) == cudaSuccess);
  CHECK(cudaGraphExecDestroy(executable) == cudaSuccess);  // while it waits
  CHECK(p.get() == std::vector<float>{0, 1});
  CHECK(sum.get() == std::vector<float>{0, 0, 0, 1});
  CHECK(emulated_cuda::counters().launches == 0);
  CHECK(emulated_cuda::counters().graph_launches == 2);
  CHECK(cublasDestroy(blas) == CUBLAS_STATUS_SUCCESS);
}

TEST_CASE("a forbidden call spoils the capture") {
  const Device<float> p(2);
  const Stream s;
  std::vector<float> host(2);
  void* memory = nullptr;
  const std::function<cudaError_t()> calls[] = {
      [&] { return cudaMalloc(&memory, 8); },
      [&] { return cudaFree(p.p); },
      [&] { return cudaDeviceSynchronize(); },
      [&] { return cudaStreamSynchronize(s.stream); },
      [&] { return cudaMemcpy(host.data(), p.p, 8, cudaMemcpyDeviceToHost); },
      [&] { return cudaMemcpyAsync(host.data(), p.p, 8, cudaMemcpyDeviceToHost, s.stream); }};
  cudaGraph_t graph;
  for (const auto& forbidden : calls) {
    REQUIRE(cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeGlobal) == cudaSuccess);
    CHECK(forbidden() == cudaErrorStreamCaptureUnsupported);
    CHECK(launch(s.stream, 1, 32, add, p.p, 2, 1.0f) == cudaErrorStreamCaptureInvalidated);
    CHECK(cudaStreamEndCapture(s.stream, &graph) == cudaErrorStreamCaptureInvalidated);
    CHECK(graph == nullptr);
  }
  REQUIRE(cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeRelaxed) == cudaSuccess);
  CHECK(cudaMalloc(&memory, 8) == cudaSuccess);
  CHECK(cudaStreamEndCapture(s.stream, &graph) == cudaSuccess);
  CHECK(cudaGraphDestroy(graph) == cudaSuccess);
  CHECK(cudaFree(memory) == cudaSuccess);
  CHECK(cudaStreamEndCapture(s.stream, &graph) == cudaErrorInvalidValue);
  cudaGetLastError();
}

TEST_CASE("a thread for which the device waits spoils another's capture, one that waits for itself does not") {
  const Device<float> p(2), q(2);
  const Stream s, theirs;
  std::vector<float> host(2);
  void* memory = nullptr;
  const std::function<cudaError_t()> spoiling[] = {
      [&] { return cudaMalloc(&memory, 8); }, [&] { return cudaFree(nullptr); },
      [&] { return cudaDeviceSynchronize(); }, [&] { return cudaMemset(q.p, 0, 8); },
      [&] { return cudaMemcpy(host.data(), q.p, 8, cudaMemcpyDeviceToHost); }};
  const std::function<cudaError_t()> harmless[] = {
      [&] { return cudaStreamSynchronize(theirs.stream); },
      [&] { return launch(theirs.stream, 1, 32, add, q.p, 2, 1.0f); },
      [&] { return cudaMemsetAsync(q.p, 0, 8, cudaStreamPerThread); },
      [&] { return cudaMemcpyAsync(host.data(), q.p, 8, cudaMemcpyDeviceToHost, cudaStreamPerThread); },
      [&] { return cudaStreamSynchronize(cudaStreamPerThread); }};
  const auto capture = [&](const auto& meanwhile, cudaError_t expected, bool spoilt) {
    REQUIRE(cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
    cudaError_t got = cudaSuccess;
    std::thread([&] { got = meanwhile(); }).join();
    CHECK(got == expected);
    cudaGraph_t graph = nullptr;
    CHECK(cudaStreamEndCapture(s.stream, &graph) == (spoilt ? cudaErrorStreamCaptureInvalidated : cudaSuccess));
    if (graph != nullptr) CHECK(cudaGraphDestroy(graph) == cudaSuccess);
  };
  for (const auto& call : spoiling) capture(call, cudaErrorStreamCaptureUnsupported, true);
  for (const auto& call : harmless) capture(call, cudaSuccess, false);
  // On another device it disturbs nobody.
  emulated_cuda::set_devices(2);
  capture([&] { return cudaSetDevice(1), cudaDeviceSynchronize(); }, cudaSuccess, false);
  emulated_cuda::set_devices(1);
  cudaGetLastError();
}

TEST_CASE("every device has its memory, its streams and its kernels, and every thread its current device") {
  emulated_cuda::set_devices(2);
  const Device<float> here(std::vector<float>{1, 2});
  const Stream stream;
  REQUIRE(cudaSetDevice(1) == cudaSuccess);
  CHECK(cudaSetDevice(2) == cudaErrorInvalidDevice);
  std::thread([] {
    int device = -1;
    CHECK(cudaGetDevice(&device) == cudaSuccess);
    CHECK(device == 0);
  }).join();
  {
    const Device<float> there(std::vector<float>{3, 4});
    const Stream other;
    cudaPointerAttributes attributes{};
    CHECK(cudaPointerGetAttributes(&attributes, there.p + 1) == cudaSuccess);
    CHECK(attributes.device == 1);
    CHECK(launch(stream.stream, 1, 32, add, here.p, 2, 1.0f) == cudaErrorInvalidResourceHandle);
    CHECK(launch(other.stream, 1, 32, add, there.p, 2, 1.0f) == cudaSuccess);
    CHECK(there.get() == std::vector<float>{4, 5});
    CHECK_FALSE(death([&] {
                  launch(other.stream, 1, 32, add, here.p, 2, 1.0f);
                  cudaDeviceSynchronize();
                }).empty());
    CHECK(cudaMemcpyAsync(there.p, here.p, 8, cudaMemcpyDeviceToDevice, stream.stream) == cudaSuccess);
    CHECK(cudaStreamSynchronize(stream.stream) == cudaSuccess);
    CHECK(there.get() == std::vector<float>{1, 2});
  }
  CHECK(cudaSetDevice(0) == cudaSuccess);
  emulated_cuda::set_devices(1);
  cudaGetLastError();
}

TEST_CASE("a stream that is waited for runs alone, after the events that it waits for") {
  const Device<float> p(std::vector<float>{0, 0}), q(std::vector<float>{0, 0});
  const Stream one, two;
  float* pinned = nullptr;
  REQUIRE(cudaMallocHost(&pinned, 16) == cudaSuccess);
  cudaEvent_t event;
  REQUIRE(cudaEventCreate(&event) == cudaSuccess);
  REQUIRE(launch(one.stream, 1, 2, add, p.p, 2, 1.0f) == cudaSuccess);
  REQUIRE(cudaMemcpyAsync(pinned, p.p, 8, cudaMemcpyDeviceToHost, two.stream) == cudaSuccess);
  REQUIRE(cudaStreamSynchronize(two.stream) == cudaSuccess);
  CHECK(pinned[0] == 0);  // nothing said that it comes after the kernel
  REQUIRE(cudaEventRecord(event, one.stream) == cudaSuccess);
  REQUIRE(launch(one.stream, 1, 2, add, p.p, 2, 1.0f) == cudaSuccess);
  REQUIRE(cudaStreamWaitEvent(two.stream, event) == cudaSuccess);
  REQUIRE(cudaMemcpyAsync(pinned, p.p, 8, cudaMemcpyDeviceToHost, two.stream) == cudaSuccess);
  REQUIRE(cudaStreamSynchronize(two.stream) == cudaSuccess);
  CHECK(pinned[0] == 1);
  CHECK(p.get()[0] == 2);
  CHECK(cudaEventDestroy(event) == cudaSuccess);
  CHECK(cudaFreeHost(pinned) == cudaSuccess);
}

TEST_CASE_TEMPLATE("dense products match naive loops", T, float, double) {
  std::mt19937 random(1);
  const auto fill = [&](int count) {
    std::vector<T> values(static_cast<std::size_t>(count));
    for (T& value : values) value = static_cast<T>(static_cast<int>(random() % 17) - 8);
    return values;
  };
  cublasHandle_t blas = nullptr;
  REQUIRE(cublasCreate(&blas) == CUBLAS_STATUS_SUCCESS);
  const int m = 5, n = 4, k = 7;
  for (const auto op_a : {CUBLAS_OP_N, CUBLAS_OP_T}) {
    for (const auto op_b : {CUBLAS_OP_N, CUBLAS_OP_T}) {
      for (const T beta : {T{0}, T{2}}) {
        const int lda = (op_a == CUBLAS_OP_N ? m : k) + 1, ldb = (op_b == CUBLAS_OP_N ? k : n) + 2, ldc = m + 3;
        const std::vector<T> a = fill(lda * 7), b = fill(ldb * 7), c = fill(ldc * n);
        const Device<T> da(a), db(b), dc(c.size());
        if (beta != 0) dc.set(c);  // otherwise it stays NaN
        const T alpha = 3;
        cublasStatus_t status;
        if constexpr (std::is_same_v<T, float>) {
          status = cublasSgemm(blas, op_a, op_b, m, n, k, &alpha, da.p, lda, db.p, ldb, &beta, dc.p, ldc);
        } else {
          status = cublasDgemm(blas, op_a, op_b, m, n, k, &alpha, da.p, lda, db.p, ldb, &beta, dc.p, ldc);
        }
        REQUIRE(status == CUBLAS_STATUS_SUCCESS);
        const std::vector<T> result = dc.get();
        for (int i = 0; i < m; ++i) {
          for (int j = 0; j < n; ++j) {
            T sum = 0;
            for (int p = 0; p < k; ++p) {
              sum += a[static_cast<std::size_t>(op_a == CUBLAS_OP_N ? i + p * lda : p + i * lda)] *
                     b[static_cast<std::size_t>(op_b == CUBLAS_OP_N ? p + j * ldb : j + p * ldb)];
            }
            const std::size_t at = static_cast<std::size_t>(i + j * ldc);
            CHECK(result[at] == alpha * sum + (beta != 0 ? beta * c[at] : 0));
          }
        }
      }
    }
  }
  CHECK(cublasDestroy(blas) == CUBLAS_STATUS_SUCCESS);
}

TEST_CASE("gemm checks its arguments, rounds to TF32 on request and takes bfloat16") {
  cublasHandle_t blas = nullptr;
  REQUIRE(cublasCreate(&blas) == CUBLAS_STATUS_SUCCESS);
  const float one = 1, zero = 0, precise = 1.0f + 1.0f / 4096;
  const Device<float> p(std::vector<float>{precise}), q(std::vector<float>{1}), r(1);
  const auto multiply = [&](int m, int lda) {
    return cublasSgemm(blas, CUBLAS_OP_N, CUBLAS_OP_N, m, 1, 1, &one, p.p, lda, q.p, 1, &zero, r.p, 1);
  };
  CHECK(multiply(-1, 1) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(multiply(1, 0) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(multiply(0, 1) == CUBLAS_STATUS_SUCCESS);
  CHECK(multiply(1, 1) == CUBLAS_STATUS_SUCCESS);
  CHECK(r.get()[0] == precise);
  CHECK(cublasSetMathMode(blas, CUBLAS_TF32_TENSOR_OP_MATH) == CUBLAS_STATUS_SUCCESS);
  CHECK(multiply(1, 1) == CUBLAS_STATUS_SUCCESS);
  CHECK(r.get()[0] == 1);
  CHECK(contains(death([&] {
                   const float* host = &one;
                   cublasSgemm(blas, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &one, host, 1, q.p, 1, &zero, r.p, 1);
                   cudaDeviceSynchronize();
                 }),
                 "gemm: A"));
  const Device<std::uint16_t> short_floats(std::vector<std::uint16_t>{0x3FC0, 0x4000});  // 1.5 and 2
  CHECK(cublasGemmEx(blas, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &one, short_floats.p, CUDA_R_16BF, 1, short_floats.p + 1,
                     CUDA_R_16BF, 1, &zero, r.p, CUDA_R_32F, 1, CUBLAS_COMPUTE_32F,
                     CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
  CHECK(r.get()[0] == 3);
  CHECK(cublasDestroy(blas) == CUBLAS_STATUS_SUCCESS);
}

TEST_CASE_TEMPLATE("sparse products match naive loops", Index, std::int32_t, std::int64_t) {
  cusparseHandle_t handle = nullptr;
  REQUIRE(cusparseCreate(&handle) == CUSPARSE_STATUS_SUCCESS);
  const Device<Index> offsets(std::vector<Index>{0, 2, 2, 5}), columns(std::vector<Index>{0, 3, 1, 2, 3});
  const std::vector<float> values{1, 2, 3, 4, 5};
  const double dense[3][4] = {{1, 0, 0, 2}, {0, 0, 0, 0}, {0, 3, 4, 5}};
  const Device<float> a(values);
  const cusparseIndexType_t type = sizeof(Index) == 8 ? CUSPARSE_INDEX_64I : CUSPARSE_INDEX_32I;
  cusparseConstSpMatDescr_t matrix = nullptr;
  REQUIRE(cusparseCreateConstCsr(&matrix, 3, 4, 5, offsets.p, columns.p, a.p, type, type, CUSPARSE_INDEX_BASE_ZERO,
                                 CUDA_R_32F) == CUSPARSE_STATUS_SUCCESS);
  for (const auto order : {CUSPARSE_ORDER_ROW, CUSPARSE_ORDER_COL}) {
    const auto at = [&](int i, int j, int ld) {
      return static_cast<std::size_t>(order == CUSPARSE_ORDER_ROW ? i * ld + j : j * ld + i);
    };
    std::vector<float> b_values(20);
    std::iota(b_values.begin(), b_values.end(), 1.0f);
    const Device<float> b(b_values), c(24);
    cusparseConstDnMatDescr_t b_matrix = nullptr;
    cusparseDnMatDescr_t c_matrix = nullptr;
    const int ld_b = 4, ld_c = 8;
    REQUIRE(cusparseCreateConstDnMat(&b_matrix, 4, 2, ld_b, b.p, CUDA_R_32F, order) == CUSPARSE_STATUS_SUCCESS);
    REQUIRE(cusparseCreateDnMat(&c_matrix, 3, 2, ld_c, c.p, CUDA_R_32F, order) == CUSPARSE_STATUS_SUCCESS);
    const float alpha = 2;
    for (const float beta : {0.0f, 1.0f}) {
      std::size_t bytes = 0;
      REQUIRE(cusparseSpMM_bufferSize(handle, CUSPARSE_OPERATION_NON_TRANSPOSE, CUSPARSE_OPERATION_NON_TRANSPOSE,
                                      &alpha, matrix, b_matrix, &beta, c_matrix, CUDA_R_32F, CUSPARSE_SPMM_CSR_ALG2,
                                      &bytes) == CUSPARSE_STATUS_SUCCESS);
      const Device<char> buffer(bytes);
      REQUIRE(cusparseSpMM(handle, CUSPARSE_OPERATION_NON_TRANSPOSE, CUSPARSE_OPERATION_NON_TRANSPOSE, &alpha, matrix,
                           b_matrix, &beta, c_matrix, CUDA_R_32F, CUSPARSE_SPMM_CSR_ALG2,
                           buffer.p) == CUSPARSE_STATUS_SUCCESS);
      const std::vector<float> result = c.get();
      for (int i = 0; i < 3; ++i) {
        for (int j = 0; j < 2; ++j) {
          double sum = 0;
          for (int k = 0; k < 4; ++k) sum += dense[i][k] * static_cast<double>(b_values[at(k, j, ld_b)]);
          CHECK(result[at(i, j, ld_c)] == static_cast<double>(alpha) * sum * (beta != 0 ? 2 : 1));
        }
      }
    }
    CHECK(cusparseDestroyDnMat(b_matrix) == CUSPARSE_STATUS_SUCCESS);
    CHECK(cusparseDestroyDnMat(c_matrix) == CUSPARSE_STATUS_SUCCESS);
  }
  CHECK(cusparseDestroySpMat(matrix) == CUSPARSE_STATUS_SUCCESS);
  CHECK(cusparseDestroy(handle) == CUSPARSE_STATUS_SUCCESS);
}

namespace {

// Both calls of an algorithm, in the default stream.
template <class F>
void with_storage(F algorithm) {
  std::size_t bytes = 0;
  REQUIRE(algorithm(nullptr, bytes) == cudaSuccess);
  REQUIRE(bytes > 0);
  const Device<char> storage(bytes);
  std::size_t less = bytes - 1;
  CHECK(algorithm(storage.p, less) == cudaErrorInvalidValue);
  CHECK(algorithm(storage.p, bytes) == cudaSuccess);
  cudaGetLastError();
}

}  // namespace

TEST_CASE_TEMPLATE("the radix sort is stable and orders signed, unsigned and floating keys", Key, unsigned, int, float,
                   unsigned long long) {
  std::mt19937 random(2);
  const std::size_t n = 1000;
  std::vector<Key> keys(n);
  std::vector<int> positions(n);
  std::iota(positions.begin(), positions.end(), 0);
  for (Key& key : keys) key = static_cast<Key>(static_cast<int>(random() % 100) - (std::is_unsigned_v<Key> ? 0 : 50));
  const Device<Key> in(keys), out(n);
  const Device<int> values(positions), sorted(n);
  const auto check = [&](auto before) {
    std::stable_sort(positions.begin(), positions.end(), [&](int i, int j) {
      return before(keys[static_cast<std::size_t>(i)], keys[static_cast<std::size_t>(j)]);
    });
    CHECK(sorted.get() == positions);
    CHECK(out.get()[n / 2] == keys[static_cast<std::size_t>(positions[n / 2])]);
    std::iota(positions.begin(), positions.end(), 0);
  };
  with_storage([&](void* p, std::size_t& bytes) {
    return cub::DeviceRadixSort::SortPairs(p, bytes, in.p, out.p, values.p, sorted.p, static_cast<int>(n));
  });
  check(std::less<Key>());
  with_storage([&](void* p, std::size_t& bytes) {
    return cub::DeviceRadixSort::SortPairsDescending(p, bytes, in.p, out.p, values.p, sorted.p, static_cast<int>(n));
  });
  check(std::greater<Key>());
  if constexpr (std::is_unsigned_v<Key>) {
    with_storage([&](void* p, std::size_t& bytes) {
      return cub::DeviceRadixSort::SortPairs(p, bytes, in.p, out.p, values.p, sorted.p, static_cast<int>(n), 2, 5);
    });
    check([](Key a, Key b) { return (a >> 2 & 7) < (b >> 2 & 7); });
  }
  with_storage([&](void* p, std::size_t& bytes) {
    return cub::DeviceRadixSort::SortKeys(p, bytes, in.p, out.p, static_cast<int>(n));
  });
  std::vector<Key> expected = keys;
  std::sort(expected.begin(), expected.end());
  CHECK(out.get() == expected);
}

TEST_CASE("scans, selections, reductions and run lengths") {
  const std::vector<int> values{3, 3, 1, 1, 1, 7, 3};
  const int n = 7;
  const Device<int> in(values), out(7), lengths(7), count(1);
  const Device<char> flags(std::vector<char>{1, 0, 0, 1, 0, 0, 1});
  const Device<long long> wide(7);
  with_storage([&](void* p, std::size_t& b) { return cub::DeviceScan::ExclusiveSum(p, b, in.p, wide.p, n); });
  CHECK(wide.get() == std::vector<long long>{0, 3, 6, 7, 8, 9, 16});
  with_storage([&](void* p, std::size_t& b) { return cub::DeviceScan::InclusiveSum(p, b, in.p, out.p, n); });
  CHECK(out.get() == std::vector<int>{3, 6, 7, 8, 9, 16, 19});
  with_storage([&](void* p, std::size_t& b) { return cub::DeviceSelect::Unique(p, b, in.p, out.p, count.p, n); });
  CHECK(count.get()[0] == 4);
  CHECK(out.get()[2] == 7);
  with_storage(
      [&](void* p, std::size_t& b) { return cub::DeviceSelect::Flagged(p, b, in.p, flags.p, out.p, count.p, n); });
  CHECK(count.get()[0] == 3);
  CHECK(out.get()[1] == 1);
  with_storage([&](void* p, std::size_t& b) { return cub::DeviceReduce::Sum(p, b, in.p, count.p, n); });
  CHECK(count.get()[0] == 19);
  with_storage([&](void* p, std::size_t& b) { return cub::DeviceReduce::Max(p, b, in.p, count.p, n); });
  CHECK(count.get()[0] == 7);
  with_storage([&](void* p, std::size_t& b) {
    return cub::DeviceRunLengthEncode::Encode(p, b, in.p, out.p, lengths.p, count.p, n);
  });
  CHECK(count.get()[0] == 4);
  CHECK(lengths.get()[1] == 3);
  CHECK(out.get()[3] == 3);
}

TEST_CASE("a collective is cheap") {
  const Device<float> out(256);
  for (const auto kernel : {many_shuffles, many_barriers}) {
    const int count = 20000;
    const auto start = std::chrono::steady_clock::now();
    REQUIRE(launch(nullptr, 1, 256, kernel, out.p, count) == cudaSuccess);
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
    const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - start;
    MESSAGE((kernel == many_shuffles ? "shuffle: " : "barrier: ") << time.count() / 256 / count << " ns a thread");
  }
}
