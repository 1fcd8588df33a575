// What the emulator's own tests share: device memory, a stream, a launch, and how a child dies.
#pragma once

#include <cuda_runtime.h>
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <vector>

inline constexpr unsigned full = ~0u;

template <class T>
struct Device {
  T* p = nullptr;
  std::size_t count;
  explicit Device(std::size_t n) : count(n) { REQUIRE(cudaMalloc(&p, n * sizeof(T)) == cudaSuccess); }
  explicit Device(const std::vector<T>& values) : Device(values.size()) { set(values); }
  Device(const Device&) = delete;
  ~Device() { CHECK(cudaFree(p) == cudaSuccess); }
  void set(const std::vector<T>& values) const {
    REQUIRE(cudaMemcpy(p, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice) == cudaSuccess);
  }
  std::vector<T> get() const {
    std::vector<T> values(count);
    REQUIRE(cudaMemcpy(values.data(), p, count * sizeof(T), cudaMemcpyDeviceToHost) == cudaSuccess);
    return values;
  }
};

struct Stream {
  cudaStream_t stream;
  Stream() { REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess); }
  Stream(const Stream&) = delete;
  ~Stream() { CHECK(cudaStreamDestroy(stream) == cudaSuccess); }
};

template <class... P, class... A>
cudaError_t launch(cudaStream_t stream, dim3 grid, dim3 threads, void (*kernel)(P...), A... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = threads;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

// What a child prints that calls `body`; empty if it lives through it.
template <class F>
std::string death(F body) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], 2);
    std::signal(SIGABRT, SIG_DFL);  // doctest would take them for failures of its own
    std::signal(SIGSEGV, SIG_DFL);
    body();
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = read(ends[0], buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<size_t>(got));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return "";
  return text + " (died)";
}

inline bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }
