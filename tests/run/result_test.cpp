/// @file result_test.cpp
/// metrics.jsonl: whole lines of the epochs that count, whatever the disk does.

#include <rearm/run/result.hpp>

#include <tests/data/folder.hpp>
#include <tests/support/file_limit.hpp>

#include <doctest/doctest.h>

#include <filesystem>
#include <string>

using namespace rearm;
using rearm::test::Folder;

namespace {

EpochReport epoch(int number) {
  EpochReport report;
  report.epoch = number;
  report.valid = {{"recall@20", 0.25}};
  return report;
}

}  // namespace

TEST_CASE("metrics.jsonl keeps whole lines of earlier epochs and gets one an epoch") {
  const Folder folder;
  const std::filesystem::path file = folder / "metrics.jsonl";
  {
    MetricsLog log(file, -1);
    for (int e = 0; e < 3; ++e) log.write(epoch(e));
  }
  const std::string three = detail::read_text(file);
  folder.write("metrics.jsonl", three + "{\"epoch\": 3, \"los");  // a process was killed
  MetricsLog(file, 2).write(epoch(3));
  const std::string four = detail::read_text(file);
  CHECK(four.starts_with(three));
  CHECK(nlohmann::json::parse(four.substr(three.size()))["epoch"] == 3);
  MetricsLog(file, 2);
  CHECK(detail::read_text(file) == three);
}

TEST_CASE("a line that does not fit on the disk is not begun, and the message names the file where it will be") {
  const Folder folder;
  const std::filesystem::path file = folder / "metrics.jsonl", name = folder / "out/metrics.jsonl";
  MetricsLog log(file, -1, name);
  log.write(epoch(0));
  const std::string one = detail::read_text(file);
  const std::string said = [&] {
    const test::FileLimit limit(one.size() + 10);
    return test::error_of<IoError>([&] { log.write(epoch(1)); });
  }();
  CHECK(test::has(said, name.string()));
  CHECK(test::has(said, "disk full"));
  CHECK(detail::read_text(file) == one);
  log.write(epoch(1));
  CHECK(detail::read_text(file).size() == 2 * one.size());
}
