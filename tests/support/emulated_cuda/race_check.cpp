// Watches every access of a kernel to memory: what compute-sanitizer's racecheck and initcheck do on a device, and
// between blocks as well. Sources compiled with -fsanitize=thread call the functions below for each of their accesses;
// this file takes the place of the sanitizer's own library, which knows nothing of warps and blocks. See README.md.
#include <dlfcn.h>

#include <cuda_runtime.h>

#include <array>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>

extern "C" const char __executable_start, _end;  // of the linker

namespace {

using emulated_cuda::block;
using emulated_cuda::Lane;

enum class Kind : std::uint8_t { read, write, atomic };
const char* name_of(Kind kind) {
  return kind == Kind::read ? "a read" : kind == Kind::write ? "a write" : "an atomic operation";
}

// The linear numbers of the kernel, block and thread, and how many barriers of each sort the thread had passed.
struct Access {
  unsigned long long launch = 0;
  std::uint64_t block = 0;
  const void* place = nullptr;
  unsigned block_barriers = 0, warp_barriers = 0;
  unsigned number = 0;  // of the thread's accesses
  std::uint16_t thread = 0;
  std::uint8_t bytes = 0;  // which of a cell's
  Kind kind = Kind::read;
};

// The last accesses to eight bytes; of shared memory also whose they are, and which of them that block has written.
struct Cell {
  static constexpr unsigned most = 8;
  Access accesses[most] = {};
  std::uint8_t next = 0, written = 0;
  unsigned long long launch = 0;
  std::uint64_t block = 0;
};

// What a fence before an atomic operation made visible to those who meet that operation later: everything that the
// block did before `barriers`, and what `thread` did up to its access `number`.
struct Release {
  unsigned barriers, number;
  std::uint16_t thread;
};
struct Acquired {
  Release release;
  unsigned barriers;  // all threads know of it behind the next one
  std::uint16_t thread;
};
using Releases = std::unordered_map<std::uint64_t, Release>;  // by block

struct State {
  std::map<std::tuple<const void*, unsigned, unsigned, unsigned>, unsigned> launches;  // of a kernel on a grid
  Cell* device = nullptr;  // one for each eight bytes of the device's heap
  std::unordered_map<std::uintptr_t, Cell> shared;
  unsigned long long launch = 0;
  std::uint64_t block = ~std::uint64_t{0};
  std::unordered_map<const void*, Releases> released;
  std::unordered_map<std::uint64_t, Acquired> acquired;
  std::array<Releases, emulated_cuda::max_threads> pending;              // until the thread's next fence
  std::array<std::optional<Release>, emulated_cuda::max_threads> fence;  // the thread's last one in this block
  std::array<unsigned, emulated_cuda::max_threads> accesses = {};        // of each thread so far
  State() {
    constexpr std::size_t bytes = emulated_cuda::heap_bytes / 8 * sizeof(Cell);
    void* const memory =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) emulated_cuda::stop("no address space to watch the device's memory");
    device = static_cast<Cell*>(memory);
  }
};
State& state() {
  static State* const instance = new State;
  return *instance;
}

std::uint64_t own_block() { return (std::uint64_t{blockIdx.z} * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x; }

// Finite differences start the same kernels a thousand times: after the first ones some will do.
constexpr unsigned watched_first = 24, watched_then = 16;
unsigned long long last_launch = 0;
bool chosen = false;

// What this file calls may have been compiled with -fsanitize=thread, and come back here.
bool busy = false;
struct Busy {
  Busy() { busy = true; }
  ~Busy() { busy = false; }
};

// Whether to look at what the running thread does, if one runs.
bool watching() {
  if (!emulated_cuda::runs_kernel || block.current == nullptr || busy) return false;
  if (last_launch != block.launches_run) {
    const Busy here;
    last_launch = block.launches_run;
    const auto kernel = std::make_tuple(reinterpret_cast<const void*>(block.kernel), gridDim.x, gridDim.y, gridDim.z);
    const unsigned before = state().launches[kernel]++;
    chosen = before < watched_first || before % watched_then == 0;
    state().released.clear();
  }
  return chosen;
}

// Forgets what ended with the last block.
State& current_state() {
  State& s = state();
  if (s.launch != block.launches_run || s.block != own_block()) {
    s.launch = block.launches_run;
    s.block = own_block();
    s.acquired.clear();
    for (Releases& pending : s.pending) pending.clear();
    s.fence.fill(std::nullopt);
  }
  return s;
}

Access made_now(State& s, Kind kind, std::uint8_t bytes, const void* place) {
  const Lane& lane = *block.current;
  const auto thread = static_cast<std::uint16_t>(&lane - block.lanes);
  return {block.launches_run,
          own_block(),
          place,
          block.barriers,
          lane.warp->barriers,
          ++s.accesses[thread],
          thread,
          bytes,
          kind};
}

// Whether `before`, which has run, had to run before `now`.
bool ordered(const State& s, const Access& before, const Access& now) {
  if (before.launch != now.launch) return true;
  if (before.block == now.block) {
    if (before.thread == now.thread) return true;
    if (before.thread / 32 == now.thread / 32 && before.warp_barriers != now.warp_barriers) return true;
    return before.block_barriers != now.block_barriers;
  }
  const auto found = s.acquired.find(before.block);
  if (found == s.acquired.end()) return false;
  const Acquired& a = found->second;
  return (before.block_barriers < a.release.barriers ||
          (before.thread == a.release.thread && before.number <= a.release.number)) &&
         (a.barriers < now.block_barriers || a.thread == now.thread);
}

std::string name(const void* place) {
  Dl_info info{};
  char text[512];
  std::snprintf(text, sizeof text, "%p", place);
  if (dladdr(place, &info) == 0) return text;
  // The call lies before the place that it returns to.
  std::snprintf(text, sizeof text, "addr2line -Cpfise %s %#tx", info.dli_fname,
                static_cast<const char*>(place) - static_cast<const char*>(info.dli_fbase) - 1);
  std::string lines;
  if (std::FILE* const program = popen(text, "r"); program != nullptr) {
    while (std::fgets(text, sizeof text, program) != nullptr) lines += text;
    pclose(program);
  }
  return lines.empty() ? text : lines;
}

[[noreturn]] void report(const Access& before, const Access& now, const void* address) {
  emulated_cuda::stop(
      "race at %p: %s by thread %u of block %llu, at\n%sand %s by thread %u of block %llu, at\n%swith nothing between "
      "them that puts one before the other",
      address, name_of(before.kind), before.thread, static_cast<unsigned long long>(before.block),
      name(before.place).c_str(), name_of(now.kind), now.thread, static_cast<unsigned long long>(now.block),
      name(now.place).c_str());
}

void check(const State& s, Cell& cell, const Access& now, const void* address) {
  Access* free = nullptr;
  for (Access& before : cell.accesses) {
    const bool conflict = (before.bytes & now.bytes) != 0 && (before.kind != Kind::read || now.kind != Kind::read) &&
                          (before.kind != Kind::atomic || now.kind != Kind::atomic);
    if (before.launch == now.launch && before.block == now.block && before.thread == now.thread &&
        before.kind == now.kind && (before.bytes & ~now.bytes) == 0)
      free = &before;
    else if (!ordered(s, before, now)) {
      if (conflict) report(before, now, address);
    } else if (free == nullptr &&
               (before.launch != now.launch || (now.kind == Kind::write && (before.bytes & ~now.bytes) == 0))) {
      free = &before;
    }
  }
  if (free == nullptr) free = &cell.accesses[cell.next++ % Cell::most];
  *free = now;
}

bool within(const void* p, const void* begin, std::size_t bytes) {
  return static_cast<std::size_t>(static_cast<const char*>(p) - static_cast<const char*>(begin)) < bytes;
}
template <class T>
bool within(const void* p, const T& object) {
  return within(p, &object, sizeof object);
}
// What kernels read that the emulator put there.
bool built_in(const void* p) {
  return within(p, block) || within(p, threadIdx) || within(p, blockIdx) || within(p, blockDim) || within(p, gridDim) ||
         within(p, emulated_cuda::observer) || within(p, block.lanes, sizeof(Lane) * emulated_cuda::max_threads) ||
         within(p, block.arguments, block.argument_bytes);
}

// Bytes that lie in one cell.
void access_cell(State& s, const char* address, unsigned size, Kind kind, const void* place) {
  const auto number = reinterpret_cast<std::uintptr_t>(address);
  const auto bytes = static_cast<std::uint8_t>(((1U << size) - 1) << number % 8);
  const Access now = made_now(s, kind, bytes, place);
  const char* const heap = emulated_cuda::runtime().heap;
  if (within(address, heap, emulated_cuda::heap_bytes)) return check(s, s.device[(address - heap) / 8], now, address);
  if (within(address, block.stacks, emulated_cuda::max_threads * emulated_cuda::stack_bytes)) {
    if ((address - block.stacks) / static_cast<std::ptrdiff_t>(emulated_cuda::stack_bytes) != now.thread)
      emulated_cuda::stop("%s of another thread's stack, at\n%s", name_of(kind), name(place).c_str());
    return;
  }
  // Shared memory and constants are part of the program, the host's variables not: a device knows nothing of them.
  if (address < &__executable_start || address >= &_end)
    emulated_cuda::stop("%s of host memory at %p, at\n%s", name_of(kind), static_cast<const void*>(address),
                        name(place).c_str());
  if (kind == Kind::read && !s.shared.contains(number / 8)) return;
  Cell& cell = s.shared[number / 8];
  if (cell.launch != now.launch || cell.block != now.block) {
    cell = Cell{};
    cell.launch = now.launch;
    cell.block = now.block;
  }
  if (kind != Kind::read) cell.written |= bytes;
  if ((bytes & ~cell.written) != 0)
    emulated_cuda::stop("a read of shared memory at %p that the block has not written, at\n%s",
                        static_cast<const void*>(address), name(place).c_str());
  check(s, cell, now, address);
}

void access(const void* p, std::size_t size, Kind kind, const void* place) {
  if (!watching() || built_in(p)) return;
  const Busy here;
  State& s = current_state();
  for (const char* address = static_cast<const char*>(p); size > 0;) {
    const std::size_t part = std::min<std::size_t>(size, 8 - reinterpret_cast<std::uintptr_t>(address) % 8);
    access_cell(s, address, static_cast<unsigned>(part), kind, place);
    address += part;
    size -= part;
  }
}

const emulated_cuda::Observer own_observer{
    [](const void* address, std::size_t bytes) {
      access(address, bytes, Kind::atomic, __builtin_return_address(0));
      if (!watching()) return;
      const Busy here;
      State& s = current_state();
      const auto thread = static_cast<std::size_t>(block.current - block.lanes);
      Releases& released = s.released[address];
      for (const auto& [from, release] : released) s.pending[thread].insert_or_assign(from, release);
      if (s.fence[thread]) released.insert_or_assign(own_block(), *s.fence[thread]);
    },
    [] {
      if (!watching()) return;
      const Busy here;
      State& s = current_state();
      const auto thread = static_cast<std::uint16_t>(block.current - block.lanes);
      s.fence[thread] = Release{block.barriers, s.accesses[thread], thread};
      for (const auto& [from, release] : s.pending[thread])
        s.acquired.insert_or_assign(from, Acquired{release, block.barriers, thread});
      s.pending[thread].clear();
    }};
[[maybe_unused]] const bool watched = [] {
  emulated_cuda::observer = &own_observer;
  return true;
}();

}  // namespace

// What the compiler calls. Accesses of the host are none of our business; its atomic operations must work.
extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_read_range(void* p, unsigned long n) { access(p, n, Kind::read, __builtin_return_address(0)); }
void __tsan_write_range(void* p, unsigned long n) { access(p, n, Kind::write, __builtin_return_address(0)); }
#define ACCESS(n)                                                                                     \
  void __tsan_read##n(void* p) { access(p, n, Kind::read, __builtin_return_address(0)); }             \
  void __tsan_write##n(void* p) { access(p, n, Kind::write, __builtin_return_address(0)); }           \
  void __tsan_unaligned_read##n(void* p) { access(p, n, Kind::read, __builtin_return_address(0)); }   \
  void __tsan_unaligned_write##n(void* p) { access(p, n, Kind::write, __builtin_return_address(0)); } \
  void __tsan_volatile_read##n(void* p) { access(p, n, Kind::read, __builtin_return_address(0)); }    \
  void __tsan_volatile_write##n(void* p) { access(p, n, Kind::write, __builtin_return_address(0)); }  \
  void __tsan_read##n##_pc(void* p, void* place) { access(p, n, Kind::read, place); }                 \
  void __tsan_write##n##_pc(void* p, void* place) { access(p, n, Kind::write, place); }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
#undef ACCESS
#define ATOMICS(bits, T)                                                                                            \
  T __tsan_atomic##bits##_load(const volatile T* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }           \
  void __tsan_atomic##bits##_store(volatile T* p, T v, int) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }           \
  T __tsan_atomic##bits##_exchange(volatile T* p, T v, int) { return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); } \
  T __tsan_atomic##bits##_fetch_add(volatile T* p, T v, int) { return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); } \
  T __tsan_atomic##bits##_fetch_sub(volatile T* p, T v, int) { return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST); } \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile T* p, T* expected, T v, int, int) {                    \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                  \
  }                                                                                                                 \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile T* p, T* expected, T v, int, int) {                      \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                  \
  }
ATOMICS(8, std::uint8_t) ATOMICS(32, std::uint32_t) ATOMICS(64, std::uint64_t)
#undef ATOMICS
}
