/// @file allocator.cpp
/// Replaces operator new and delete, mmap and munmap in a test program by ones that count, and of which one call can be
/// made to fail.

#include "tests/support/allocator.hpp"

#include <rearm/core/macros.hpp>

#include <dlfcn.h>
#include <execinfo.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>

namespace rearm::test {

std::atomic<long> allocations{0};
std::atomic<bool> failing_allocations{false};
std::atomic<long> made{0};
std::atomic<long> failing{0};
std::atomic<long> spared{0};
std::atomic<long> living{0};
std::atomic<long> mapped{0};

}  // namespace rearm::test

namespace {

using namespace rearm::test;

/// nlohmann::json's destructor makes a list of what is in an object; without memory for it the program ends. It is the
/// one place that is spared. Its name is known since the program exports its symbols.
bool in_destructor_of_json() {
  void* frames[16];
  const int n = ::backtrace(frames, 16);
  for (int i = 0; i < n; ++i) {
    Dl_info info;
    if (::dladdr(frames[i], &info) != 0 && info.dli_sname != nullptr &&
        std::strstr(info.dli_sname, "10json_value7destroy") != nullptr)
      return true;
  }
  return false;
}
bool fails() {
  ++allocations;
  if (!failing_allocations || ++made != failing) return false;
  failing_allocations = false;  // what asks may allocate
  const bool spare = in_destructor_of_json();
  spared += spare ? 1 : 0;
  return !spare;
}

void* allocated(std::size_t bytes, std::size_t align) noexcept {
  void* p = nullptr;
  if (fails() || ::posix_memalign(&p, std::max(align, sizeof(void*)), std::max<std::size_t>(bytes, 1)) != 0)
    return nullptr;
  ++living;
  return p;
}
void deleted(void* p) noexcept {
  if (p != nullptr) --living;
  std::free(p);
}
void* allocated_or_thrown(std::size_t bytes, std::size_t align) {
  void* const p = allocated(bytes, align);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}
constexpr std::size_t usual = alignof(std::max_align_t);

}  // namespace

void* operator new(std::size_t bytes) { return allocated_or_thrown(bytes, usual); }
void* operator new[](std::size_t bytes) { return allocated_or_thrown(bytes, usual); }
void* operator new(std::size_t bytes, std::align_val_t align) {
  return allocated_or_thrown(bytes, static_cast<std::size_t>(align));
}
void* operator new[](std::size_t bytes, std::align_val_t align) {
  return allocated_or_thrown(bytes, static_cast<std::size_t>(align));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return allocated(bytes, usual); }
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept { return allocated(bytes, usual); }
void* operator new(std::size_t bytes, std::align_val_t align, const std::nothrow_t&) noexcept {
  return allocated(bytes, static_cast<std::size_t>(align));
}
void* operator new[](std::size_t bytes, std::align_val_t align, const std::nothrow_t&) noexcept {
  return allocated(bytes, static_cast<std::size_t>(align));
}
void operator delete(void* p) noexcept { deleted(p); }
void operator delete[](void* p) noexcept { deleted(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { deleted(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { deleted(p); }
void operator delete(void* p, std::size_t) noexcept { deleted(p); }
void operator delete[](void* p, std::size_t) noexcept { deleted(p); }
void operator delete(void* p, std::align_val_t) noexcept { deleted(p); }
void operator delete[](void* p, std::align_val_t) noexcept { deleted(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { deleted(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { deleted(p); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept { deleted(p); }
void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept { deleted(p); }

#if REARM_MAPS_LARGE_ARRAYS
extern "C" void* mmap(void* at, std::size_t bytes, int protection, int flags, int file, off_t offset) noexcept {
  if (fails()) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  void* const p = reinterpret_cast<void*>(::syscall(SYS_mmap, at, bytes, protection, flags, file, offset));
  if (p != MAP_FAILED) mapped += static_cast<long>(bytes);
  return p;
}
extern "C" int munmap(void* at, std::size_t bytes) noexcept {
  mapped -= static_cast<long>(bytes);
  return static_cast<int>(::syscall(SYS_munmap, at, bytes));
}
#endif
