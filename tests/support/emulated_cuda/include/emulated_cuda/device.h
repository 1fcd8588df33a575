// What a kernel sees: its built-in variables, warp collectives, atomics, and the fibers which run a block's threads.
#pragma once

#if defined(__CUDACC__) || defined(__DRIVER_TYPES_H__) || defined(__CUDA_RUNTIME_API_H__)
#error "The emulated CUDA headers cannot be mixed with the real ones: check the include path."
#endif
#if !defined(__x86_64__) || !defined(__linux__)
#error "The emulated CUDA switches stacks by hand, for x86-64 Linux only."
#endif

#include <sys/mman.h>

#include <bit>
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <type_traits>

#if defined(__SANITIZE_ADDRESS__)
#define EMULATED_CUDA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMULATED_CUDA_ASAN 1
#endif
#endif
#ifdef EMULATED_CUDA_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#define EMULATED_CUDA 1
// The emulator's own accesses are no kernel's (race_check.cpp).
#define EMULATED_CUDA_INTERNAL __attribute__((no_sanitize("thread"))) inline
#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))
// Blocks run one after another, so one copy for all of them is enough.
#define __shared__ static

#define EMULATED_CUDA_VECTOR(T, name, bytes)                    \
  struct alignas(bytes) name##2 {                               \
    T x, y;                                                     \
  };                                                            \
  struct alignas(2 * bytes > 16 ? 16 : 2 * bytes) name##4 {     \
    T x, y, z, w;                                               \
  };                                                            \
  constexpr name##2 make_##name##2(T x, T y) { return {x, y}; } \
  constexpr name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
EMULATED_CUDA_VECTOR(float, float, 8)
EMULATED_CUDA_VECTOR(int, int, 8)
EMULATED_CUDA_VECTOR(unsigned, uint, 8)
EMULATED_CUDA_VECTOR(double, double, 16)
#undef EMULATED_CUDA_VECTOR

struct uint3 {
  unsigned x, y, z;
};
struct float3 {
  float x, y, z;
};
struct int3 {
  int x, y, z;
};
constexpr uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
constexpr float3 make_float3(float x, float y, float z) { return {x, y, z}; }
constexpr int3 make_int3(int x, int y, int z) { return {x, y, z}; }

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned vx = 1, unsigned vy = 1, unsigned vz = 1) : x(vx), y(vy), z(vz) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
  constexpr operator uint3() const { return {x, y, z}; }
};

inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

// Saves the callee-saved registers on this stack, its pointer in *from, and goes on at `to`. Written as a section that
// the linker keeps once, and opaque to the compiler, which must not carry values such as threadIdx across it.
extern "C" void emulated_cuda_switch(void** from, void* to);
asm(R"(
.pushsection .text.emulated_cuda_switch,"axG",@progbits,emulated_cuda_switch,comdat
.weak emulated_cuda_switch
.type emulated_cuda_switch,@function
emulated_cuda_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulated_cuda_switch,.-emulated_cuda_switch
.popsection
)");

namespace emulated_cuda {

enum class Collective : unsigned char { syncthreads, syncwarp, shfl, shfl_up, shfl_down, shfl_xor, ballot, any, all };

inline const char* name_of(Collective kind) {
  static constexpr const char* names[] = {"__syncthreads",  "__syncwarp",       "__shfl_sync",
                                          "__shfl_up_sync", "__shfl_down_sync", "__shfl_xor_sync",
                                          "__ballot_sync",  "__any_sync",       "__all_sync"};
  return names[static_cast<int>(kind)];
}

struct Warp {
  unsigned alive, ready;  // lanes which have not returned; lanes which can be resumed
  unsigned waiting;       // lanes at a warp collective
  unsigned at_barrier;    // lanes at __syncthreads
  unsigned barriers;      // __syncwarp calls that were met
};

struct Lane {
  void* stack_pointer;
  Warp* warp;
  uint3 thread;
  unsigned bit;
  // The collective at which it waits, and what it gave.
  Collective kind;
  unsigned char bytes;
  unsigned mask, source;
  std::uint64_t value, result;
#ifdef EMULATED_CUDA_ASAN
  void* fake_stack;
#endif
};

inline constexpr unsigned max_threads = 1024;
// Not a power of two: the tops of the stacks would fall on the same cache lines.
#ifdef EMULATED_CUDA_ASAN
inline constexpr std::size_t stack_bytes = (256 << 10) + 576;
#else
inline constexpr std::size_t stack_bytes = (64 << 10) + 576;
#endif

struct Block {
  Lane* current;  // null while no kernel runs
  Lane* lanes;
  char* stacks;
  unsigned threads, live, waiting_at_barrier;
  unsigned barriers;  // __syncthreads calls that were met
  void* host_stack_pointer;
  void (*kernel)(const void*);
  const void* arguments;
  std::size_t argument_bytes;
  bool reverse;
  unsigned long long launches_run;
  Warp warps[max_threads / 32];
#ifdef EMULATED_CUDA_ASAN
  void* host_fake_stack;
  const void* host_stack;
  std::size_t host_stack_bytes;
#endif
};
inline Block block;
// Of the thread that drives the running kernel; another thread's host code runs beside it.
inline thread_local bool runs_kernel = false;

// Told of atomic operations and fences, where there is one (race_check.cpp).
struct Observer {
  void (*atomic)(const void* address, std::size_t bytes);
  void (*fence)();
};
inline const Observer* observer = nullptr;

// Threads, warps and blocks run in descending order instead of ascending. A kernel which lacks a barrier often works in
// one order only.
inline void set_reverse_order(bool reverse) { block.reverse = reverse; }
[[maybe_unused]] inline const bool reverse_from_environment = [] {
  const char* order = std::getenv("EMULATED_CUDA_ORDER");
  if (order != nullptr && std::strcmp(order, "reverse") == 0) block.reverse = true;
  return block.reverse;
}();

[[noreturn]] __attribute__((format(printf, 1, 2))) inline void stop(const char* format, ...) {
  std::va_list list;
  va_start(list, format);
  std::fprintf(stderr, "emulated CUDA: ");
  std::vfprintf(stderr, format, list);
  va_end(list);
  if (block.arguments != nullptr) {
    std::fprintf(stderr, "\n  in kernel number %llu, grid (%u, %u, %u) of blocks (%u, %u, %u), block (%u, %u, %u)",
                 block.launches_run, gridDim.x, gridDim.y, gridDim.z, blockDim.x, blockDim.y, blockDim.z, blockIdx.x,
                 blockIdx.y, blockIdx.z);
  }
  if (block.current != nullptr) {
    std::fprintf(stderr, ", thread (%u, %u, %u)", threadIdx.x, threadIdx.y, threadIdx.z);
  }
  std::fprintf(stderr, "\n");
  std::abort();
}

EMULATED_CUDA_INTERNAL void resume(Lane& lane) {
  block.current = &lane;
  threadIdx = lane.thread;
#ifdef EMULATED_CUDA_ASAN
  const char* stack = block.stacks + static_cast<std::size_t>(&lane - block.lanes) * stack_bytes;
  __sanitizer_start_switch_fiber(&block.host_fake_stack, stack, stack_bytes);
#endif
  emulated_cuda_switch(&block.host_stack_pointer, lane.stack_pointer);
#ifdef EMULATED_CUDA_ASAN
  __sanitizer_finish_switch_fiber(block.host_fake_stack, nullptr, nullptr);
#endif
  block.current = nullptr;
}

EMULATED_CUDA_INTERNAL void suspend(Lane& lane) {
#ifdef EMULATED_CUDA_ASAN
  __sanitizer_start_switch_fiber(&lane.fake_stack, block.host_stack, block.host_stack_bytes);
#endif
  emulated_cuda_switch(&lane.stack_pointer, block.host_stack_pointer);
#ifdef EMULATED_CUDA_ASAN
  __sanitizer_finish_switch_fiber(lane.fake_stack, &block.host_stack, &block.host_stack_bytes);
#endif
}

EMULATED_CUDA_INTERNAL Lane& calling_lane(Collective kind) {
  if (block.current == nullptr) stop("%s outside a kernel", name_of(kind));
  return *block.current;
}

// Called when no lane of `mask` that is alive is still on its way. False when some of them wait with another mask: they
// may yet come here once that one lets them go.
EMULATED_CUDA_INTERNAL bool complete(Warp& warp, unsigned mask) {
  Lane* lanes = block.lanes + (&warp - block.warps) * 32;
  const unsigned group = mask & warp.alive;
  const Lane& first = lanes[std::countr_zero(group)];
  unsigned votes = 0;
  for (unsigned rest = group; rest != 0; rest &= rest - 1) {
    const Lane& lane = lanes[std::countr_zero(rest)];
    if (lane.mask != mask) return false;
    if (lane.kind != first.kind || lane.bytes != first.bytes) {
      stop("divergence in a warp: lane %d is at %s (%d bytes), lane %d at %s (%d bytes), with the same mask %08x",
           std::countr_zero(first.bit), name_of(first.kind), first.bytes, std::countr_zero(lane.bit),
           name_of(lane.kind), lane.bytes, mask);
    }
    if (lane.value != 0) votes |= lane.bit;
  }
  for (unsigned rest = group; rest != 0; rest &= rest - 1) {
    Lane& lane = lanes[std::countr_zero(rest)];
    switch (lane.kind) {
      case Collective::ballot:
        lane.result = votes;
        break;
      case Collective::any:
        lane.result = votes != 0;
        break;
      case Collective::all:
        lane.result = votes == group;
        break;
      // Hardware leaves the value of a lane which does not take part undefined; all ones is a NaN.
      default:
        lane.result = (group >> lane.source & 1) != 0 ? lanes[lane.source].value : ~std::uint64_t{0};
    }
  }
  if (first.kind == Collective::syncwarp) ++warp.barriers;
  warp.waiting &= ~group;
  warp.ready |= group;
  return true;
}

EMULATED_CUDA_INTERNAL std::uint64_t warp_collective(Collective kind, unsigned mask, std::uint64_t value,
                                                     unsigned source, unsigned char bytes) {
  Lane& lane = calling_lane(kind);
  Warp& warp = *lane.warp;
  if ((mask & lane.bit) == 0) stop("%s: the calling lane is not in its mask %08x", name_of(kind), mask);
  lane.kind = kind;
  lane.bytes = bytes;
  lane.mask = mask;
  lane.source = source;
  lane.value = value;
  warp.waiting |= lane.bit;
  if ((mask & warp.alive & ~warp.waiting) == 0 && complete(warp, mask)) {
    warp.ready &= ~lane.bit;  // it runs already
  } else {
    suspend(lane);
  }
  return lane.result;
}

EMULATED_CUDA_INTERNAL void release_barrier() {
  block.waiting_at_barrier = 0;
  ++block.barriers;
  for (unsigned w = 0; w * 32 < block.threads; ++w) {
    block.warps[w].ready |= block.warps[w].at_barrier;
    block.warps[w].at_barrier = 0;
  }
}

// A return may complete what others wait for: exited threads are not waited for.
EMULATED_CUDA_INTERNAL void leave(Lane& lane) {
  Warp& warp = *lane.warp;
  warp.alive &= ~lane.bit;
  for (unsigned rest = warp.waiting; rest != 0; rest &= rest - 1) {
    const unsigned mask = block.lanes[(&warp - block.warps) * 32 + std::countr_zero(rest)].mask;
    if ((mask & warp.alive & ~warp.waiting) == 0 && complete(warp, mask)) rest &= warp.waiting | (rest & -rest);
  }
  if (--block.live != 0 && block.waiting_at_barrier == block.live) release_barrier();
}

// A fiber outlives the launch: it waits here for its thread of the next block, which saves preparing its stack.
[[noreturn]] EMULATED_CUDA_INTERNAL void fiber_main() {
#ifdef EMULATED_CUDA_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &block.host_stack, &block.host_stack_bytes);
#endif
  for (;;) {
    block.kernel(block.arguments);
    leave(*block.current);
    suspend(*block.current);
  }
}

inline void prepare_fibers() {
  if (block.lanes != nullptr) return;
  void* memory = mmap(nullptr, max_threads * stack_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) stop("no memory for the stacks of a block");
  block.stacks = static_cast<char*>(memory);
  block.lanes = new Lane[max_threads]();
  for (unsigned t = 0; t < max_threads; ++t) {
    // The six registers that the switch restores, where it returns to, and the return address of that which never does.
    void** top = reinterpret_cast<void**>(block.stacks + (t + 1) * stack_bytes) - 8;
    top[6] = reinterpret_cast<void*>(&fiber_main);
    block.lanes[t].stack_pointer = top;
    block.lanes[t].warp = &block.warps[t / 32];
    block.lanes[t].bit = 1u << t % 32;
  }
}

[[noreturn]] inline void deadlock() {
  for (unsigned t = 0, shown = 0; t < block.threads && shown < 64; ++t) {
    const Lane& lane = block.lanes[t];
    if ((lane.warp->alive & lane.bit) == 0) continue;
    const bool barrier = (lane.warp->at_barrier & lane.bit) != 0;
    std::fprintf(stderr, "  thread (%u, %u, %u), lane %u of warp %u, waits at %s", lane.thread.x, lane.thread.y,
                 lane.thread.z, t % 32, t / 32, name_of(barrier ? Collective::syncthreads : lane.kind));
    if (!barrier) std::fprintf(stderr, " with mask %08x", lane.mask);
    std::fprintf(stderr, "\n");
    ++shown;
  }
  stop("deadlock: %u threads wait at collectives which cannot complete", block.live);
}

EMULATED_CUDA_INTERNAL void run_block() {
  for (unsigned w = 0; w * 32 < block.threads; ++w) {
    const unsigned lanes = block.threads - w * 32;
    const unsigned all = lanes >= 32 ? ~0u : (1u << lanes) - 1;
    block.warps[w] = {all, all, 0, 0, 0};
  }
  block.live = block.threads;
  block.waiting_at_barrier = 0;
  block.barriers = 0;
  const unsigned warps = (block.threads + 31) / 32;
  while (block.live != 0) {
    bool progress = false;
    for (unsigned i = 0; i < warps; ++i) {
      const unsigned w = block.reverse ? warps - 1 - i : i;
      Warp& warp = block.warps[w];
      while (warp.ready != 0) {
        const int lane = block.reverse ? 31 - std::countl_zero(warp.ready) : std::countr_zero(warp.ready);
        warp.ready &= ~(1u << lane);
        resume(block.lanes[w * 32 + static_cast<unsigned>(lane)]);
        progress = true;
      }
    }
    if (!progress) deadlock();
  }
}

// `kernel` is called with `arguments` once for each thread.
inline void run_grid(dim3 grid, dim3 threads, void (*kernel)(const void*), const void* arguments,
                     std::size_t argument_bytes) {
  prepare_fibers();
  gridDim = grid;
  blockDim = threads;
  block.kernel = kernel;
  block.arguments = arguments;
  block.argument_bytes = argument_bytes;
  block.threads = threads.x * threads.y * threads.z;
  ++block.launches_run;
  runs_kernel = true;
  for (unsigned t = 0; t < block.threads; ++t) {
    block.lanes[t].thread = {t % threads.x, t / threads.x % threads.y, t / threads.x / threads.y};
  }
  const std::uint64_t blocks = std::uint64_t{grid.x} * grid.y * grid.z;
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const std::uint64_t b = block.reverse ? blocks - 1 - i : i;
    blockIdx = {static_cast<unsigned>(b % grid.x), static_cast<unsigned>(b / grid.x % grid.y),
                static_cast<unsigned>(b / grid.x / grid.y)};
    run_block();
  }
  block.arguments = nullptr;
  runs_kernel = false;
}

template <class T>
EMULATED_CUDA_INTERNAL T shuffle(Collective kind, unsigned mask, T value, unsigned source) {
  static_assert((sizeof(T) == 4 || sizeof(T) == 8) && std::is_trivially_copyable_v<T>);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = warp_collective(kind, mask, bits, source, sizeof(T));
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

EMULATED_CUDA_INTERNAL unsigned lane_index(Collective kind) {
  return static_cast<unsigned>(std::countr_zero(calling_lane(kind).bit));
}

template <class T, class F>
EMULATED_CUDA_INTERNAL T atomic(T* address, F next) {
  if (observer != nullptr && block.current != nullptr) observer->atomic(address, sizeof(T));
  const T old = *address;
  *address = next(old);
  return old;
}

}  // namespace emulated_cuda

EMULATED_CUDA_INTERNAL void __syncthreads() {
  using namespace emulated_cuda;
  Lane& lane = calling_lane(Collective::syncthreads);
  lane.warp->at_barrier |= lane.bit;
  if (++block.waiting_at_barrier == block.live) {
    release_barrier();
    lane.warp->ready &= ~lane.bit;
  } else {
    suspend(lane);
  }
}

inline void __syncwarp(unsigned mask = ~0u) {
  emulated_cuda::warp_collective(emulated_cuda::Collective::syncwarp, mask, 0, 0, 0);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize) {
  using emulated_cuda::Collective;
  const unsigned last = static_cast<unsigned>(width) - 1;
  const unsigned lane = emulated_cuda::lane_index(Collective::shfl);
  return emulated_cuda::shuffle(Collective::shfl, mask, value, (lane & ~last) | (static_cast<unsigned>(source) & last));
}

template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize) {
  using emulated_cuda::Collective;
  const unsigned lane = emulated_cuda::lane_index(Collective::shfl_up);
  const unsigned within = lane & (static_cast<unsigned>(width) - 1);
  return emulated_cuda::shuffle(Collective::shfl_up, mask, value, delta <= within ? lane - delta : lane);
}

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize) {
  using emulated_cuda::Collective;
  const unsigned lane = emulated_cuda::lane_index(Collective::shfl_down);
  const unsigned after = (lane | (static_cast<unsigned>(width) - 1)) - lane;
  return emulated_cuda::shuffle(Collective::shfl_down, mask, value, delta <= after ? lane + delta : lane);
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = warpSize) {
  using emulated_cuda::Collective;
  const unsigned lane = emulated_cuda::lane_index(Collective::shfl_xor);
  const unsigned source = lane ^ static_cast<unsigned>(lane_mask);
  const bool inside = source <= (lane | (static_cast<unsigned>(width) - 1));
  return emulated_cuda::shuffle(Collective::shfl_xor, mask, value, inside ? source : lane);
}

inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return static_cast<unsigned>(
      emulated_cuda::warp_collective(emulated_cuda::Collective::ballot, mask, predicate != 0, 0, 0));
}
inline int __any_sync(unsigned mask, int predicate) {
  return static_cast<int>(emulated_cuda::warp_collective(emulated_cuda::Collective::any, mask, predicate != 0, 0, 0));
}
inline int __all_sync(unsigned mask, int predicate) {
  return static_cast<int>(emulated_cuda::warp_collective(emulated_cuda::Collective::all, mask, predicate != 0, 0, 0));
}

// One operating-system thread runs everything and fibers change at collectives only: plain operations are atomic.
#define EMULATED_CUDA_ATOMIC(name, T, expression)                             \
  inline T name(T* address, T value) {                                        \
    return emulated_cuda::atomic(address, [&](T old) { return expression; }); \
  }
EMULATED_CUDA_ATOMIC(atomicAdd, int, static_cast<int>(static_cast<unsigned>(old) + static_cast<unsigned>(value)))
EMULATED_CUDA_ATOMIC(atomicAdd, unsigned, old + value)
EMULATED_CUDA_ATOMIC(atomicAdd, unsigned long long, old + value)
EMULATED_CUDA_ATOMIC(atomicAdd, float, old + value)
EMULATED_CUDA_ATOMIC(atomicAdd, double, old + value)
EMULATED_CUDA_ATOMIC(atomicInc, unsigned, old >= value ? 0 : old + 1)
EMULATED_CUDA_ATOMIC(atomicMax, int, old < value ? value : old)
EMULATED_CUDA_ATOMIC(atomicMax, unsigned, old < value ? value : old)
EMULATED_CUDA_ATOMIC(atomicMin, int, value < old ? value : old)
EMULATED_CUDA_ATOMIC(atomicMin, unsigned, value < old ? value : old)
EMULATED_CUDA_ATOMIC(atomicOr, unsigned, old | value)
EMULATED_CUDA_ATOMIC(atomicAnd, unsigned, old& value)
EMULATED_CUDA_ATOMIC(atomicExch, int, (static_cast<void>(old), value))
EMULATED_CUDA_ATOMIC(atomicExch, unsigned, (static_cast<void>(old), value))
EMULATED_CUDA_ATOMIC(atomicExch, float, (static_cast<void>(old), value))
#undef EMULATED_CUDA_ATOMIC
inline int atomicCAS(int* address, int compare, int value) {
  return emulated_cuda::atomic(address, [&](int old) { return old == compare ? value : old; });
}
inline unsigned atomicCAS(unsigned* address, unsigned compare, unsigned value) {
  return emulated_cuda::atomic(address, [&](unsigned old) { return old == compare ? value : old; });
}
inline void __threadfence() {
  if (emulated_cuda::observer != nullptr) emulated_cuda::observer->fence();
}
inline void __threadfence_block() {}

template <class T>
T __ldg(const T* address) {
  return *address;
}
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(std::uint64_t{a} * b >> 32); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fdividef(float a, float b) { return a / b; }
// glibc declares these two and exports neither: macros, so that no call reaches its declarations.
#define __expf(x) ::expf(x)
#define __logf(x) ::logf(x)

#define EMULATED_CUDA_MIN_MAX(T)                      \
  constexpr T min(T a, T b) { return b < a ? b : a; } \
  constexpr T max(T a, T b) { return a < b ? b : a; }
EMULATED_CUDA_MIN_MAX(int)
EMULATED_CUDA_MIN_MAX(unsigned)
EMULATED_CUDA_MIN_MAX(long)
EMULATED_CUDA_MIN_MAX(unsigned long)
EMULATED_CUDA_MIN_MAX(long long)
EMULATED_CUDA_MIN_MAX(unsigned long long)
#undef EMULATED_CUDA_MIN_MAX
inline float min(float a, float b) { return std::fmin(a, b); }
inline float max(float a, float b) { return std::fmax(a, b); }
inline double min(double a, double b) { return std::fmin(a, b); }
inline double max(double a, double b) { return std::fmax(a, b); }
