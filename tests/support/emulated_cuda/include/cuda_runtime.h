// A functional emulation of the CUDA runtime on the CPU, for tests on machines without a GPU. See ../README.md.
#pragma once

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "emulated_cuda/device.h"

#define CUDART_VERSION 13000

#define EMULATED_CUDA_ERRORS(X)                                                                             \
  X(cudaSuccess, 0, "no error")                                                                             \
  X(cudaErrorInvalidValue, 1, "invalid argument")                                                           \
  X(cudaErrorMemoryAllocation, 2, "out of memory")                                                          \
  X(cudaErrorInvalidConfiguration, 9, "invalid configuration argument")                                     \
  X(cudaErrorInsufficientDriver, 35, "CUDA driver version is insufficient for CUDA runtime version")        \
  X(cudaErrorNoDevice, 100, "no CUDA-capable device is detected")                                           \
  X(cudaErrorInvalidDevice, 101, "invalid device ordinal")                                                  \
  X(cudaErrorInvalidResourceHandle, 400, "invalid resource handle")                                         \
  X(cudaErrorNotReady, 600, "device not ready")                                                             \
  X(cudaErrorIllegalAddress, 700, "an illegal memory access was encountered")                               \
  X(cudaErrorLaunchFailure, 719, "unspecified launch failure")                                              \
  X(cudaErrorNotSupported, 801, "operation not supported")                                                  \
  X(cudaErrorStreamCaptureUnsupported, 900, "operation not permitted when stream is capturing")             \
  X(cudaErrorStreamCaptureInvalidated, 901, "operation failed due to a previous error during capture")      \
  X(cudaErrorStreamCaptureMerge, 902, "operation would result in a merge of separate capture sequences")    \
  X(cudaErrorStreamCaptureUnmatched, 903, "capture was not initiated in this stream")                       \
  X(cudaErrorStreamCaptureUnjoined, 904, "capturing stream has unjoined work")                              \
  X(cudaErrorStreamCaptureIsolation, 905, "dependency created on uncaptured work in another stream")        \
  X(cudaErrorStreamCaptureImplicit, 906,                                                                    \
    "operation would make the legacy stream depend on a capturing blocking stream")                         \
  X(cudaErrorCapturedEvent, 907, "operation not permitted on an event last recorded in a capturing stream") \
  X(cudaErrorStreamCaptureWrongThread, 908,                                                                 \
    "attempt to terminate a thread-local capture sequence from another thread")                             \
  X(cudaErrorUnknown, 999, "unknown error")

enum cudaError {
#define X(name, value, text) name = value,
  EMULATED_CUDA_ERRORS(X)
#undef X
};
using cudaError_t = cudaError;

enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed
};
enum cudaStreamCaptureStatus {
  cudaStreamCaptureStatusNone,
  cudaStreamCaptureStatusActive,
  cudaStreamCaptureStatusInvalidated
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaDeviceAttr {
  cudaDevAttrMaxThreadsPerBlock = 1,
  cudaDevAttrMaxSharedMemoryPerBlock = 8,
  cudaDevAttrWarpSize = 10,
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrL2CacheSize = 38,
  cudaDevAttrMaxThreadsPerMultiProcessor = 39,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76
};
enum cudaDataType {
  CUDA_R_32F = 0,
  CUDA_R_64F = 1,
  CUDA_R_16F = 2,
  CUDA_R_8I = 3,
  CUDA_R_32I = 10,
  CUDA_R_16BF = 14,
  CUDA_R_64I = 24
};
using cudaDataType_t = cudaDataType;

inline constexpr unsigned cudaStreamDefault = 0, cudaStreamNonBlocking = 1;
inline constexpr unsigned cudaEventDefault = 0, cudaEventBlockingSync = 1, cudaEventDisableTiming = 2;
inline constexpr unsigned cudaHostAllocDefault = 0;

struct cudaDeviceProp {
  char name[256];
  std::size_t totalGlobalMem, sharedMemPerBlock, sharedMemPerMultiprocessor, totalConstMem;
  int regsPerBlock, warpSize, maxThreadsPerBlock, maxThreadsPerMultiProcessor;
  int maxThreadsDim[3], maxGridSize[3];
  int major, minor, multiProcessorCount, l2CacheSize, concurrentKernels, integrated, unifiedAddressing;
};

enum cudaMemoryType { cudaMemoryTypeUnregistered, cudaMemoryTypeHost, cudaMemoryTypeDevice, cudaMemoryTypeManaged };
struct cudaPointerAttributes {
  cudaMemoryType type;
  int device;
  void *devicePointer, *hostPointer;
};

struct CUstream_st;

namespace emulated_cuda {

using Work = std::function<void()>;

// A piece of recorded work, or a wait between streams (without work): its stream's number among those of the recording,
// the stream's node before it, and what the wait is for.
inline constexpr std::size_t none = ~std::size_t{0};
struct Node {
  Work work;
  std::size_t stream;
  std::size_t before;
  std::size_t awaited;
};

struct Capture {
  CUstream_st* origin;
  cudaStreamCaptureMode mode;
  std::thread::id thread;
  bool valid;
  std::vector<Node> nodes;
  std::vector<CUstream_st*> streams;  // in the order in which they joined
};

struct EventState {
  unsigned long long records = 0, run = 0;  // called for, and come to pass
  CUstream_st* stream = nullptr;            // of the last record
  bool recorded = false;
  std::shared_ptr<Capture> capture;  // that the last record is part of
  std::size_t node = none;           // the last before it
  std::chrono::steady_clock::time_point time;
  bool pending() const { return records != run; }
};

}  // namespace emulated_cuda

struct CUstream_st {
  unsigned flags;
  int device;
  std::shared_ptr<emulated_cuda::Capture> capture;
  std::size_t last = emulated_cuda::none;  // node that it has recorded
};
struct CUevent_st {
  unsigned flags;
  std::shared_ptr<emulated_cuda::EventState> state;  // queued work may outlive the event
};
struct CUgraph_st {
  std::vector<emulated_cuda::Node> nodes;
};
struct CUgraphExec_st {
  std::shared_ptr<const std::vector<emulated_cuda::Node>> nodes;
};
using cudaStream_t = CUstream_st*;
using cudaEvent_t = CUevent_st*;
using cudaGraph_t = CUgraph_st*;
using cudaGraphExec_t = CUgraphExec_st*;
using cudaGraphNode_t = struct CUgraphNode_st*;
// The calling thread's own stream of its current device.
#define cudaStreamPerThread (reinterpret_cast<cudaStream_t>(2))

struct cudaLaunchAttribute {
  int id;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};

namespace emulated_cuda {

// Calls which gave the device work (or memory) at once: what a capture records is counted when neither recorded nor
// replayed, a replay counts as one graph launch. Library calls are not launches.
struct Counters {
  unsigned long long launches, copies_to_host, copies_to_device, allocations, synchronizations, graph_launches,
      sparse_products;  // of the library, recorded ones too
};

// In which order a graph's nodes run, within what was recorded: as they were recorded, or, as far as nothing keeps one
// waiting, those of the first stream before those of the others, or the other way round. A program that lacks a wait
// between two streams computes something else in one of the last two.
enum class GraphOrder { recorded, first_stream, last_stream };

inline constexpr std::size_t heap_bytes = std::size_t{16} << 30, alignment = 256, large_page = std::size_t{2} << 20;
inline constexpr std::size_t round_up(std::size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }
inline constexpr int most_devices = 2;  // each has its part of the heap
inline constexpr std::size_t device_bytes = heap_bytes / most_devices;

inline thread_local int current_device = 0;

struct Runtime {
  std::recursive_mutex mutex;

  // Device memory. Each allocation is followed by at least `alignment` bytes of guard.
  char* heap = nullptr;
  std::size_t top[most_devices] = {};  // no address of a device's part from here on was ever allocated
  std::size_t limit = std::size_t{8} << 30, in_use[most_devices] = {};
  std::map<std::size_t, std::size_t> allocations;  // offset to bytes
  std::map<const char*, std::size_t> pinned;
  unsigned accessible = 0;  // a bit for each device whose memory is

  // What was started, in the order of the calls. Only the order within a stream, and what events order, is kept: a
  // stream that is waited for runs alone, and what others were given before it may come later.
  struct Entry {
    cudaStream_t stream;
    unsigned devices;  // whose memory it may touch
    Work work;
  };
  std::deque<Entry> queue;
  std::set<cudaStream_t> streams;
  std::map<std::pair<std::thread::id, int>, cudaStream_t> of_threads;
  std::vector<std::shared_ptr<Capture>> captures;

  cudaError_t failure = cudaSuccess;  // of every call
  int n_devices = 1;
  GraphOrder graph_order = GraphOrder::recorded;
  int skipped_wait = -1;  // of a graph's waits between streams, as a fault to be found
  int last_graph_waits = 0;
  Counters counters{};

  Runtime() {
    void* memory =
        mmap(nullptr, heap_bytes + large_page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) stop("cannot reserve %zu bytes of address space", heap_bytes);
    const auto address = reinterpret_cast<std::uintptr_t>(memory);
    heap = static_cast<char*>(memory) + (large_page - address % large_page) % large_page;
    madvise(heap, heap_bytes, MADV_HUGEPAGE);
  }

  static constexpr unsigned all_devices = (1U << most_devices) - 1;
  void protect(int device, int protection) {
    // By whole large pages: that is several times as fast, and this is called for every piece of work.
    const std::size_t bytes = (top[device] + large_page - 1) / large_page * large_page;
    if (bytes != 0 && mprotect(heap + static_cast<std::size_t>(device) * device_bytes, bytes, protection) != 0)
      stop("mprotect failed");
  }
  // Opens the memory of these devices and closes that of the others; returns which were open.
  unsigned open(unsigned devices) {
    for (int d = 0; d < most_devices; ++d)
      if (((accessible ^ devices) >> d & 1) != 0)
        protect(d, (devices >> d & 1) != 0 ? PROT_READ | PROT_WRITE : PROT_NONE);
    return std::exchange(accessible, devices);
  }

  bool in_heap(const void* p) const { return p >= heap && p < heap + heap_bytes; }
  int device_of(const void* p) const {
    return static_cast<int>(static_cast<std::size_t>(static_cast<const char*>(p) - heap) / device_bytes);
  }
  // Whether the bytes lie within one allocation.
  bool allocated(const void* p, std::size_t bytes) const {
    if (!in_heap(p)) return false;
    const std::size_t offset = static_cast<std::size_t>(static_cast<const char*>(p) - heap);
    auto next = allocations.upper_bound(offset);
    if (next == allocations.begin()) return false;
    --next;
    return offset + bytes <= next->first + next->second;
  }
  bool is_pinned(const void* p, std::size_t bytes) const {
    auto next = pinned.upper_bound(static_cast<const char*>(p));
    if (next == pinned.begin()) return false;
    --next;
    return static_cast<const char*>(p) + bytes <= next->first + next->second;
  }

  void check_guard(std::size_t offset, std::size_t bytes) const {
#ifndef EMULATED_CUDA_ASAN
    const std::size_t end = offset + round_up(bytes) + alignment;
    for (std::size_t i = offset + bytes; i < end; ++i) {
      if (heap[i] != '\xFF') {
        stop("a write past the end of an allocation of %zu bytes, at byte %zu, since the last synchronization", bytes,
             i - offset);
      }
    }
#else
    static_cast<void>(offset), static_cast<void>(bytes);  // the sanitizer reports it where it happens
#endif
  }

  // Runs what `chosen` chooses, in its order, as long as there is `more` to run.
  template <class Chosen, class More>
  void run(Chosen&& chosen, More&& more) {
    if (queue.empty()) return;
    const unsigned before = accessible;
    while (more()) {
      const auto next = std::find_if(queue.begin(), queue.end(), chosen);
      if (next == queue.end()) break;
      const Entry entry = std::move(*next);
      queue.erase(next);
      open(entry.devices);
      entry.work();
    }
    open(all_devices);
    for (const auto& [offset, bytes] : allocations) check_guard(offset, bytes);
    open(before);
  }
  template <class Predicate>
  void run_while(Predicate&& more) {
    run([](const Entry&) { return true; }, more);
  }
  void run_all() {
    run_while([] { return true; });
  }
  void run_stream(cudaStream_t stream) {
    if (stream == nullptr) return run_all();
    run([&](const Entry& entry) { return entry.stream == stream; }, [] { return true; });
  }

  // The stream that is meant.
  cudaStream_t resolved(cudaStream_t stream) {
    if (stream != cudaStreamPerThread) return stream;
    cudaStream_t& own = of_threads[{std::this_thread::get_id(), current_device}];
    if (own == nullptr) streams.insert(own = new CUstream_st{cudaStreamDefault, current_device, nullptr});
    return own;
  }

  // A copy may touch any device's memory; other work that of its stream's device, which must be the current one.
  cudaError_t enqueue(cudaStream_t stream, Work work, bool copies = false) {
    if (stream == nullptr) {
      bool implicit = false;
      for (const auto& capture : captures) {
        if ((capture->origin->flags & cudaStreamNonBlocking) != 0) continue;
        capture->valid = false;
        implicit = true;
      }
      if (implicit) return cudaErrorStreamCaptureImplicit;
    } else {
      if (!streams.contains(stream)) return cudaErrorInvalidResourceHandle;
      if (!copies && stream->device != current_device) return cudaErrorInvalidResourceHandle;
      if (stream->capture != nullptr) {
        if (!stream->capture->valid) return cudaErrorStreamCaptureInvalidated;
        record(*stream, std::move(work));
        return cudaSuccess;
      }
    }
    const int device = stream == nullptr ? current_device : stream->device;
    queue.push_back({stream, copies ? all_devices : 1U << device, std::move(work)});
    return cudaSuccess;
  }

  static void record(CUstream_st& stream, Work work, std::size_t awaited = none) {
    Capture& capture = *stream.capture;
    const auto rank = std::ranges::find(capture.streams, &stream) - capture.streams.begin();
    capture.nodes.push_back({std::move(work), static_cast<std::size_t>(rank), stream.last, awaited});
    stream.last = capture.nodes.size() - 1;
  }
  // Whether all that a stream has recorded comes before what the origin would record next.
  static bool joined(const Capture& capture, const CUstream_st& stream) {
    std::vector<bool> before(capture.nodes.size() + 1);
    const auto at = [&](std::size_t n) { return n == none ? capture.nodes.size() : n; };
    before[at(capture.origin->last)] = true;
    for (std::size_t n = capture.nodes.size(); n-- > 0;)  // a node comes after earlier ones alone
      if (before[n]) before[at(capture.nodes[n].before)] = before[at(capture.nodes[n].awaited)] = true;
    return stream.last == none || before[stream.last];
  }
  void run_graph(const std::vector<Node>& nodes) const {
    std::vector<bool> done(nodes.size());
    std::size_t skipped = none;
    int wait = 0;
    for (std::size_t n = 0; n < nodes.size(); ++n)
      if (!nodes[n].work && wait++ == skipped_wait) skipped = n;
    const auto ready = [&](std::size_t n) {
      const Node& node = nodes[n];
      return !done[n] && (node.before == none || done[node.before]) &&
             (node.awaited == none || done[node.awaited] || n == skipped);
    };
    for (std::size_t left = nodes.size(); left > 0; --left) {
      std::size_t next = nodes.size();
      for (std::size_t n = 0; n < nodes.size(); ++n) {
        if (!ready(n)) continue;
        const bool better = next == nodes.size() ||
                            (graph_order == GraphOrder::first_stream && nodes[n].stream < nodes[next].stream) ||
                            (graph_order == GraphOrder::last_stream && nodes[n].stream > nodes[next].stream);
        if (better) next = n;
        if (graph_order == GraphOrder::recorded) break;
      }
      if (nodes[next].work) nodes[next].work();
      done[next] = true;
    }
  }

  bool capturing(cudaStream_t stream) const { return streams.contains(stream) && stream->capture != nullptr; }

  // How far a call reaches: to what the calling thread records, or to all that is recorded on its device, because the
  // device waits. Nobody but the caller may let it wait in the middle of a recording: a thread's own capture mode
  // protects it from errors, not from that.
  enum class Reach { own, allocation, device };
  // Whether the call is one that a capture under way forbids; it spoils that capture.
  bool spoils_capture(cudaStream_t stream = nullptr, Reach reach = Reach::own) {
    bool spoilt = false;
    for (const auto& capture : captures) {
      const bool own_thread = capture->thread == std::this_thread::get_id();
      const bool mine = capture->mode == cudaStreamCaptureModeThreadLocal && own_thread;
      const bool reached =
          reach != Reach::own && capture->origin->device == current_device && (!own_thread || reach == Reach::device);
      if (reached || mine || capture->mode == cudaStreamCaptureModeGlobal ||
          (capturing(stream) && stream->capture == capture)) {
        capture->valid = false;
        spoilt = true;
      }
    }
    return spoilt;
  }
};

inline Runtime& runtime() {
  static Runtime* instance = new Runtime;  // never destroyed: static objects of the program may still free memory
  return *instance;
}

inline thread_local cudaError_t last_error = cudaSuccess;

// The frame of every call.
template <class F>
cudaError_t call(F&& body) {
  Runtime& r = runtime();
  const std::lock_guard lock(r.mutex);
  if (block.current != nullptr) stop("a runtime call inside a kernel");
  const cudaError_t error = r.failure == cudaSuccess ? body(r) : r.failure;
  if (error != cudaSuccess && error != cudaErrorNotReady) last_error = error;
  return error;
}

// For the libraries, whose real versions would fault or return nonsense.
inline void require_device(const void* p, std::size_t bytes, const char* what) {
  if (bytes != 0 && !runtime().allocated(p, bytes)) {
    stop("%s: %p is not %zu bytes of allocated device memory", what, p, bytes);
  }
}

inline Counters& counters() { return runtime().counters; }
inline std::size_t allocated_bytes(int device = 0) { return runtime().in_use[device]; }
inline void set_memory_limit(std::size_t bytes) { runtime().limit = std::min(bytes, device_bytes); }
// From now on every call fails with `failure`, as without a device or a driver; with cudaSuccess none does.
inline void set_failure(cudaError_t failure) { runtime().failure = failure; }
inline void set_devices(int n) { runtime().n_devices = std::min(n, most_devices); }
inline void set_graph_order(GraphOrder order) { runtime().graph_order = order; }
// Graphs run without their wait number `n` between streams; -1: with all.
inline void skip_wait(int n) { runtime().skipped_wait = n; }
// How many there are in the graph instantiated last.
inline int last_graph_waits() { return runtime().last_graph_waits; }

inline void poison(char* p, std::size_t bytes) {
  std::memset(p, 0xFF, bytes);
#ifdef EMULATED_CUDA_ASAN
  __asan_poison_memory_region(p, bytes);
#endif
}

inline cudaError_t allocate(Runtime& r, void** result, std::size_t bytes) {
  if (result == nullptr) return cudaErrorInvalidValue;
  if (r.spoils_capture(nullptr, Runtime::Reach::allocation)) return cudaErrorStreamCaptureUnsupported;
  *result = nullptr;
  if (bytes == 0) return cudaSuccess;
  const int device = current_device;
  if (bytes > r.limit || round_up(bytes) > r.limit - std::min(r.limit, r.in_use[device]))
    return cudaErrorMemoryAllocation;
  const std::size_t needed = round_up(bytes) + alignment, first = static_cast<std::size_t>(device) * device_bytes;
  std::size_t offset = first;
  for (auto next = r.allocations.lower_bound(first); next != r.allocations.end(); ++next) {
    if (offset + needed <= next->first) break;
    offset = std::max(offset, next->first + round_up(next->second) + alignment);
  }
  if (offset + needed > first + device_bytes) return cudaErrorMemoryAllocation;
  r.allocations[offset] = bytes;
  r.in_use[device] += round_up(bytes);
  r.top[device] = std::max(r.top[device], offset + needed - first);
  ++r.counters.allocations;
  char* p = r.heap + offset;
  r.protect(device, PROT_READ | PROT_WRITE);
#ifdef EMULATED_CUDA_ASAN
  __asan_unpoison_memory_region(p, needed);
#endif
  std::memset(p, 0xFF, bytes);
  poison(p + bytes, needed - bytes);
  if ((r.accessible >> device & 1) == 0) r.protect(device, PROT_NONE);
  *result = p;
  return cudaSuccess;
}

inline cudaError_t release(Runtime& r, void* p) {
  if (r.spoils_capture(nullptr, Runtime::Reach::allocation)) return cudaErrorStreamCaptureUnsupported;
  if (p == nullptr) return cudaSuccess;
  const auto found =
      r.in_heap(p) ? r.allocations.find(static_cast<std::size_t>(static_cast<char*>(p) - r.heap)) : r.allocations.end();
  if (found == r.allocations.end()) return cudaErrorInvalidValue;
  r.run_all();  // the real one waits for the device too
  const unsigned before = r.open(Runtime::all_devices);
  r.check_guard(found->first, found->second);
  poison(static_cast<char*>(p), found->second);
  r.open(before);
  r.in_use[r.device_of(p)] -= round_up(found->second);
  r.allocations.erase(found);
  return cudaSuccess;
}

inline cudaError_t copy(Runtime& r, void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                        cudaStream_t stream, bool synchronous) {
  if (bytes == 0) return cudaSuccess;
  stream = r.resolved(stream);
  const bool to_device = r.in_heap(to), from_device = r.in_heap(from);
  if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault || to == nullptr || from == nullptr ||
      (kind != cudaMemcpyDefault && kind != (from_device ? 2 : 0) + (to_device ? 1 : 0)) ||
      (to_device && !r.allocated(to, bytes)) || (from_device && !r.allocated(from, bytes))) {
    return cudaErrorInvalidValue;
  }
  const bool pageable_target = !to_device && !r.is_pinned(to, bytes);
  const bool pageable_source = !from_device && !r.is_pinned(from, bytes);
  const bool captured = r.capturing(stream);
  if ((synchronous || (captured && pageable_target)) &&
      r.spoils_capture(stream, synchronous ? Runtime::Reach::device : Runtime::Reach::own)) {
    return cudaErrorStreamCaptureUnsupported;
  }
  if (!captured) {
    if (to_device && !from_device) ++r.counters.copies_to_device;
    if (from_device && !to_device) ++r.counters.copies_to_host;
  }
  cudaError_t error;
  if (pageable_source && !captured) {
    // The real call takes such bytes before it returns; those of pinned memory it may read at any time.
    std::vector<char> staged(static_cast<const char*>(from), static_cast<const char*>(from) + bytes);
    error = r.enqueue(
        stream, [to, staged = std::move(staged)] { std::memcpy(to, staged.data(), staged.size()); }, true);
  } else {
    error = r.enqueue(
        stream,
        [&r, to, from, bytes] {
          // A graph may come back to memory freed since.
          if ((r.in_heap(to) && !r.allocated(to, bytes)) || (r.in_heap(from) && !r.allocated(from, bytes))) {
            stop("a copy of %zu bytes from %p to %p touches device memory which is not allocated", bytes, from, to);
          }
          std::memcpy(to, from, bytes);
        },
        true);
  }
  if (error != cudaSuccess || captured) return error;
  if (pageable_target || (synchronous && !(to_device && from_device))) r.run_stream(stream);
  return cudaSuccess;
}

inline cudaError_t fill(Runtime& r, void* p, int value, std::size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  if (!r.allocated(p, bytes)) return cudaErrorInvalidValue;
  return r.enqueue(r.resolved(stream), [p, value, bytes] {
    require_device(p, bytes, "cudaMemset");
    std::memset(p, value, bytes);
  });
}

}  // namespace emulated_cuda

// ---- errors ----
inline const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define X(name, value, text) \
  case name:                 \
    return #name;
    EMULATED_CUDA_ERRORS(X)
#undef X
  }
  return "unrecognized error code";
}
inline const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
#define X(name, value, text) \
  case name:                 \
    return text;
    EMULATED_CUDA_ERRORS(X)
#undef X
  }
  return "unrecognized error code";
}
#undef EMULATED_CUDA_ERRORS
inline cudaError_t cudaGetLastError() { return std::exchange(emulated_cuda::last_error, cudaSuccess); }
inline cudaError_t cudaPeekAtLastError() { return emulated_cuda::last_error; }

// ---- device ----
inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = emulated_cuda::runtime().failure == cudaSuccess ? emulated_cuda::runtime().n_devices : 0;
  return emulated_cuda::call([](auto&) { return cudaSuccess; });
}
inline cudaError_t cudaSetDevice(int device) {
  return emulated_cuda::call([&](emulated_cuda::Runtime& r) {
    if (device < 0 || device >= r.n_devices) return cudaErrorInvalidDevice;
    return emulated_cuda::current_device = device, cudaSuccess;
  });
}
inline cudaError_t cudaGetDevice(int* device) {
  return emulated_cuda::call([&](auto&) { return *device = emulated_cuda::current_device, cudaSuccess; });
}
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* result, int device) {
  return emulated_cuda::call([&](emulated_cuda::Runtime& r) {
    if (device < 0 || device >= r.n_devices) return cudaErrorInvalidDevice;
    *result = {
        "Emulated on the CPU",      r.limit, 48 << 10, 228 << 10, 64 << 10, 65536, 32, 1024, 2048, {1024, 1024, 64},
        {2147483647, 65535, 65535}, 9,       0,        2,         50 << 20, 1,     0,  1};
    return cudaSuccess;
  });
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp p;
  if (const cudaError_t error = cudaGetDeviceProperties(&p, device); error != cudaSuccess) return error;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = p.maxThreadsPerBlock;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = static_cast<int>(p.sharedMemPerBlock);
      break;
    case cudaDevAttrWarpSize:
      *value = p.warpSize;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = p.multiProcessorCount;
      break;
    case cudaDevAttrL2CacheSize:
      *value = p.l2CacheSize;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = p.maxThreadsPerMultiProcessor;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = p.major;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = p.minor;
      break;
    default:
      return emulated_cuda::call([](auto&) { return cudaErrorInvalidValue; });
  }
  return cudaSuccess;
}
inline cudaError_t cudaRuntimeGetVersion(int* version) { return *version = CUDART_VERSION, cudaSuccess; }
inline cudaError_t cudaDriverGetVersion(int* version) { return *version = CUDART_VERSION, cudaSuccess; }
template <class F>
cudaError_t cudaFuncSetAttribute(F*, cudaFuncAttribute, int) {
  return cudaSuccess;
}
inline cudaError_t cudaDeviceSynchronize() {
  return emulated_cuda::call([](emulated_cuda::Runtime& r) {
    if (r.spoils_capture(nullptr, emulated_cuda::Runtime::Reach::device)) return cudaErrorStreamCaptureUnsupported;
    ++r.counters.synchronizations;
    return r.run_all(), cudaSuccess;
  });
}

// ---- memory ----
template <class T>
cudaError_t cudaMalloc(T** p, std::size_t bytes) {
  void* memory = nullptr;
  const cudaError_t error =
      emulated_cuda::call([&](auto& r) { return emulated_cuda::allocate(r, p ? &memory : nullptr, bytes); });
  if (error == cudaSuccess) *p = static_cast<T*>(memory);
  return error;
}
inline cudaError_t cudaFree(void* p) {
  return emulated_cuda::call([&](auto& r) { return emulated_cuda::release(r, p); });
}
inline cudaError_t cudaMemGetInfo(std::size_t* available, std::size_t* total) {
  return emulated_cuda::call([&](emulated_cuda::Runtime& r) {
    *total = r.limit;
    *available = r.limit - std::min(r.limit, r.in_use[emulated_cuda::current_device]);
    return cudaSuccess;
  });
}
inline cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p) {
  return emulated_cuda::call([&](emulated_cuda::Runtime& r) {
    if (attributes == nullptr) return cudaErrorInvalidValue;
    const bool there = r.in_heap(p);
    *attributes = {there ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered, there ? r.device_of(p) : -1,
                   there ? const_cast<void*>(p) : nullptr, there ? nullptr : const_cast<void*>(p)};
    return cudaSuccess;
  });
}
template <class T>
cudaError_t cudaHostAlloc(T** p, std::size_t bytes, unsigned) {
  return emulated_cuda::call([&](emulated_cuda::Runtime& r) {
    if (p == nullptr) return cudaErrorInvalidValue;
    if (r.spoils_capture()) return cudaErrorStreamCaptureUnsupported;
    *p = nullptr;
    if (bytes == 0) return cudaSuccess;
    void* memory = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (memory == nullptr) return cudaErrorMemoryAllocation;
    std::memset(memory, 0xFF, bytes);
    r.pinned[static_cast<char*>(memory)] = bytes;
    *p = static_cast<T*>(memory);
    return cudaSuccess;
  });
}
template <class T>
cudaError_t cudaMallocHost(T** p, std::size_t bytes, unsigned flags = 0) {
  return cudaHostAlloc(p, bytes, flags);
}
inline cudaError_t cudaFreeHost(void* p) {
  return emulated_cuda::call([&](emulated_cuda::Runtime& r) {
    if (r.spoils_capture()) return cudaErrorStreamCaptureUnsupported;
    if (p == nullptr) return cudaSuccess;
    const auto found = r.pinned.find(static_cast<char*>(p));
    if (found == r.pinned.end()) return cudaErrorInvalidValue;
    r.run_all();
    r.pinned.erase(found);
    std::free(p);
    return cudaSuccess;
  });
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                                   cudaStream_t stream = nullptr) {
  return emulated_cuda::call([&](auto& r) { return emulated_cuda::copy(r, to, from, bytes, kind, stream, false); });
}
inline cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return emulated_cuda::call([&](auto& r) { return emulated_cuda::copy(r, to, from, bytes, kind, nullptr, true); });
}
inline cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t stream = nullptr) {
  return emulated_cuda::call([&](auto& r) { return emulated_cuda::fill(r, p, value, bytes, stream); });
}
inline cudaError_t cudaMemset(void* p, int value, std::size_t bytes) {
  return emulated_cuda::call([&](emulated_cuda::Runtime& r) {
    if (r.spoils_capture(nullptr, emulated_cuda::Runtime::Reach::device)) return cudaErrorStreamCaptureUnsupported;
    return emulated_cuda::fill(r, p, value, bytes, nullptr);
  });
}

// ---- streams ----
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return emulated_cuda::call([&](emulated_cuda::Runtime& r) {
    if (stream == nullptr || flags > cudaStreamNonBlocking) return cudaErrorInvalidValue;
    *stream = new CUstream_st{flags, emulated_cuda::current_device, nullptr};
    r.streams.insert(*stream);
    return cudaSuccess;
  });
}
inline cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, 0); }
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return emulated_cuda::call([&](emulated_cuda::Runtime& r) {
    if (!r.streams.contains(stream)) return cudaErrorInvalidResourceHandle;
    if (stream->capture != nullptr) emulated_cuda::stop("cudaStreamDestroy of a capturing stream");
    r.run_stream(stream);  // the real one lets it end by itself
    r.streams.erase(stream);
    delete stream;
    return cudaSuccess;
  });
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return emulated_cuda::call([&](emulated_cuda::Runtime& r) {
    stream = r.resolved(stream);
    if (stream != nullptr && !r.streams.contains(stream)) return cudaErrorInvalidResourceHandle;
    if (r.spoils_capture(stream)) return cudaErrorStreamCaptureUnsupported;
    ++r.counters.synchronizations;
    return r.run_stream(stream), cudaSuccess;
  });
}
// Each query lets one entry of the queue run, so that polling ends.
inline cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return emulated_cuda::call([&](emulated_cuda::Runtime& r) {
    if (stream != nullptr && !r.streams.contains(stream)) return cudaErrorInvalidResourceHandle;
    if (r.spoils_capture(stream)) return cudaErrorStreamCaptureUnsupported;
    const bool ready = std::none_of(r.queue.begin(), r.queue.end(),
                                    [&](const auto& entry) { return stream == nullptr || entry.stream == stream; });
    if (ready) return cudaSuccess;
    int count = 1;
    r.run_while([&] { return count-- > 0; });
    return cudaErrorNotReady;
  });
}
// What the stream does next waits for the event, as last recorded before this call; and a stream can join a capture
// this way.
inline cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned = 0) {
  return emulated_cuda::call([&](emulated_cuda::Runtime& r) {
    if (event == nullptr || (stream != nullptr && !r.streams.contains(stream))) return cudaErrorInvalidResourceHandle;
    const auto& state = *event->state;
    const bool captured = state.capture != nullptr, capturing = stream != nullptr && stream->capture != nullptr;
    if (!captured && capturing && state.recorded) {
      stream->capture->valid = false;
      return cudaErrorStreamCaptureIsolation;
    }
    if (!captured) {
      if (capturing || stream == nullptr || !state.pending()) return cudaSuccess;
      return r.enqueue(
          stream,
          [&r, state = event->state, stream_of = state.stream, record = state.records] {
            r.run([&](const auto& entry) { return entry.stream == stream_of; }, [&] { return state->run < record; });
          },
          true);
    }
    if (stream == nullptr || std::ranges::find(r.captures, state.capture) == r.captures.end())
      return cudaErrorCapturedEvent;
    if (!state.capture->valid) return cudaErrorStreamCaptureInvalidated;
    if (capturing && stream->capture != state.capture) return cudaErrorStreamCaptureMerge;
    if (!capturing) {
      stream->capture = state.capture;
      stream->capture->streams.push_back(stream);
      stream->last = emulated_cuda::none;
    }
    r.record(*stream, nullptr, state.node);
    return cudaSuccess;
  });
}

// ---- events ----
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return emulated_cuda::call([&](auto&) {
    *event = new CUevent_st{flags, std::make_shared<emulated_cuda::EventState>()};
    return cudaSuccess;
  });
}
inline cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return emulated_cuda::call([&](auto&) { return delete event, cudaSuccess; });
}
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream = nullptr) {
  return emulated_cuda::call([&](emulated_cuda::Runtime& r) {
    if (event == nullptr) return cudaErrorInvalidResourceHandle;
    if (r.capturing(stream)) {  // it orders the graph and records no time
      if (!stream->capture->valid) return cudaErrorStreamCaptureInvalidated;
      event->state->capture = stream->capture;
      event->state->node = stream->last;
      return cudaSuccess;
    }
    const auto state = event->state;
    const cudaError_t error = r.enqueue(
        stream,
        [state] {
          ++state->run;
          state->time = std::chrono::steady_clock::now();
        },
        true);
    if (error != cudaSuccess) return error;
    ++state->records;
    state->stream = stream;
    state->recorded = true;
    state->capture = nullptr;
    return cudaSuccess;
  });
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return emulated_cuda::call([&](emulated_cuda::Runtime& r) {
    if (event == nullptr) return cudaErrorInvalidResourceHandle;
    if (r.spoils_capture()) return cudaErrorStreamCaptureUnsupported;
    if (event->state->capture != nullptr) return cudaErrorCapturedEvent;
    ++r.counters.synchronizations;
    r.run_while([&] { return event->state->pending(); });
    return cudaSuccess;
  });
}
inline cudaError_t cudaEventQuery(cudaEvent_t event) {
  return emulated_cuda::call([&](emulated_cuda::Runtime& r) {
    if (event == nullptr) return cudaErrorInvalidResourceHandle;
    if (r.spoils_capture()) return cudaErrorStreamCaptureUnsupported;
    if (event->state->capture != nullptr) return cudaErrorCapturedEvent;
    if (!event->state->pending()) return cudaSuccess;
    int count = 1;
    r.run_while([&] { return count-- > 0; });
    return cudaErrorNotReady;
  });
}
inline cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  return emulated_cuda::call([&](auto&) {
    if (start == nullptr || end == nullptr || !start->state->recorded || !end->state->recorded ||
        ((start->flags | end->flags) & cudaEventDisableTiming) != 0) {
      return cudaErrorInvalidResourceHandle;
    }
    if (start->state->pending() || end->state->pending()) return cudaErrorNotReady;
    *milliseconds = std::chrono::duration<float, std::milli>(end->state->time - start->state->time).count();
    return cudaSuccess;
  });
}

// ---- capture and graphs ----
inline cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return emulated_cuda::call([&](emulated_cuda::Runtime& r) {
    if (stream == nullptr) return cudaErrorStreamCaptureUnsupported;
    if (!r.streams.contains(stream)) return cudaErrorInvalidResourceHandle;
    if (stream->capture != nullptr) return cudaErrorInvalidValue;
    stream->capture.reset(new emulated_cuda::Capture{stream, mode, std::this_thread::get_id(), true, {}, {stream}});
    stream->last = emulated_cuda::none;
    r.captures.push_back(stream->capture);
    return cudaSuccess;
  });
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  return emulated_cuda::call([&](emulated_cuda::Runtime& r) {
    if (graph == nullptr) return cudaErrorInvalidValue;
    *graph = nullptr;
    if (!r.capturing(stream)) return cudaErrorInvalidValue;
    const auto capture = stream->capture;
    if (capture->origin != stream) return cudaErrorStreamCaptureUnmatched;
    if (capture->mode != cudaStreamCaptureModeRelaxed && capture->thread != std::this_thread::get_id()) {
      return cudaErrorStreamCaptureWrongThread;
    }
    bool all_joined = true;
    for (const cudaStream_t other : capture->streams) {
      all_joined = all_joined && r.joined(*capture, *other);
      other->capture = nullptr;
    }
    std::erase(r.captures, capture);
    if (!capture->valid) return cudaErrorStreamCaptureInvalidated;
    if (!all_joined) return cudaErrorStreamCaptureUnjoined;
    *graph = new CUgraph_st{std::move(capture->nodes)};
    return cudaSuccess;
  });
}
inline cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  return emulated_cuda::call([&](emulated_cuda::Runtime& r) {
    if (status == nullptr) return cudaErrorInvalidValue;
    *status = !r.capturing(stream)     ? cudaStreamCaptureStatusNone
              : stream->capture->valid ? cudaStreamCaptureStatusActive
                                       : cudaStreamCaptureStatusInvalidated;
    return cudaSuccess;
  });
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long = 0) {
  return emulated_cuda::call([&](emulated_cuda::Runtime& r) {
    if (executable == nullptr || graph == nullptr) return cudaErrorInvalidValue;
    r.last_graph_waits = static_cast<int>(
        std::ranges::count_if(graph->nodes, [](const emulated_cuda::Node& node) { return node.work == nullptr; }));
    *executable = new CUgraphExec_st{std::make_shared<const std::vector<emulated_cuda::Node>>(graph->nodes)};
    return cudaSuccess;
  });
}
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  return emulated_cuda::call([&](emulated_cuda::Runtime& r) {
    if (executable == nullptr) return cudaErrorInvalidValue;
    if (r.capturing(stream)) {  // graphs inside graphs are not emulated
      r.spoils_capture(stream);
      return cudaErrorStreamCaptureUnsupported;
    }
    ++r.counters.graph_launches;
    return r.enqueue(stream, [&r, nodes = executable->nodes] { r.run_graph(*nodes); });
  });
}
// Every piece of work is a node, a wait is none; which ones, nobody may ask.
inline cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, std::size_t* n) {
  return emulated_cuda::call([&](auto&) {
    if (graph == nullptr || n == nullptr || nodes != nullptr) return cudaErrorInvalidValue;
    *n = static_cast<std::size_t>(
        std::ranges::count_if(graph->nodes, [](const emulated_cuda::Node& node) { return node.work != nullptr; }));
    return cudaSuccess;
  });
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return emulated_cuda::call([&](auto&) { return delete graph, cudaSuccess; });
}
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  return emulated_cuda::call([&](auto&) { return delete executable, cudaSuccess; });
}

// ---- launch ----
template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  static_assert((std::is_trivially_copyable_v<Parameters> && ...), "kernel parameters are copied byte by byte");
  static_assert((!std::is_reference_v<Parameters> && ...), "a reference would point to host memory");
  return emulated_cuda::call([&](emulated_cuda::Runtime& r) {
    if (config == nullptr || kernel == nullptr) return cudaErrorInvalidValue;
    const dim3 grid = config->gridDim, threads = config->blockDim;
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || threads.x == 0 || threads.y == 0 || threads.z == 0 ||
        grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535 || threads.x > 1024 || threads.y > 1024 ||
        threads.z > 64 || threads.x * threads.y * threads.z > emulated_cuda::max_threads) {
      return cudaErrorInvalidConfiguration;
    }
    if (config->dynamicSmemBytes != 0) emulated_cuda::stop("dynamic shared memory is not emulated");
    if (!r.capturing(config->stream)) ++r.counters.launches;
    auto thread = [kernel, values = std::tuple<Parameters...>(std::forward<Arguments>(arguments)...)] {
      std::apply(kernel, values);
    };
    return r.enqueue(config->stream, [grid, threads, thread] {
      const auto run_thread = [](const void* p) { (*static_cast<const decltype(thread)*>(p))(); };
      emulated_cuda::run_grid(grid, threads, run_thread, &thread, sizeof thread);
    });
  });
}
