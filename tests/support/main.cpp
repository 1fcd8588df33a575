/// @file main.cpp
/// The main program of tests. A filter that finds no test case is a failure: a folder's tests that are gone must be
/// missed.

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "examples/cli/openblas.hpp"
#include "tests/support/quiet_reporter.hpp"

#include <cstdio>

namespace {

unsigned found = 0;

struct CountCases : rearm::test::QuietReporter {
  explicit CountCases(const doctest::ContextOptions&) {}
  void report_query(const doctest::QueryData&) override { ++found; }
  void test_run_end(const doctest::TestRunStats& run) override { found = run.numTestCasesPassingFilters; }
};
REGISTER_LISTENER("count_cases", 0, CountCases);

}  // namespace

int main(int argc, char** argv) {
  rearm::cli::use_best_openblas(argv);
  const int status = doctest::Context(argc, argv).run();
  if (found > 0 || status != 0) return status;
  std::fputs("no test case passes these filters\n", stderr);
  return 1;
}
