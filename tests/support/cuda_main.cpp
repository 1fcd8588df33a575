/// @file cuda_main.cpp
/// The main program of tests that need a GPU: without one every case is skipped, visibly.

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "tests/support/quiet_reporter.hpp"
#include "tests/support/shared.hpp"

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

/// Takes the place of the list of cases.
struct SkipEach : rearm::test::QuietReporter {
  explicit SkipEach(const doctest::ContextOptions&) {}
  void report_query(const doctest::QueryData& query) override {
    for (unsigned i = 0; i < query.num_data; ++i)
      rearm::test::report_skip((std::string(query.data[i]->m_name) + ": no CUDA device").c_str());
    // The runner counts these as passed and takes the skipped ones off again.
    std::printf("[doctest] test cases: %u | %u passed | 0 failed | 0 skipped\n", query.num_data, query.num_data);
  }
};
REGISTER_REPORTER("skip_each", 0, SkipEach);

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // what was printed must not be lost with a program that is stopped
#if defined(EMULATED_CUDA)
  if (std::getenv("EMULATED_CUDA_NO_DEVICE") != nullptr) emulated_cuda::set_failure(cudaErrorNoDevice);
#endif
  std::vector<const char*> arguments(argv, argv + argc);
  int n_devices = 0;
  if (cudaGetDeviceCount(&n_devices) != cudaSuccess || n_devices == 0)
    arguments.insert(arguments.end(), {"--list-test-cases", "--reporters=skip_each"});
  return doctest::Context(static_cast<int>(arguments.size()), arguments.data()).run();
}
