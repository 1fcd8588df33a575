// `rearm report`: a page that needs nothing else, and TensorBoard's event files.
#include "process.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace programs_report_test {

using namespace rearm;
using nlohmann::json;
using rearm::test::check_refused;
using rearm::test::Folder;
using rearm::test::has;
namespace fs = std::filesystem;

namespace {

struct Bench {
  Folder data, folder;
  Bench() { test::write_data(data); }
  void train(const std::string& out, std::vector<std::string> more) const {
    more.insert(more.end(),
                {data.path().string(), "--embedding-dim", "8", "--batch-size", "64", "--out", (folder / out).string()});
    const test::Finished r = test::run(folder, "rearm train", more);
    INFO("stderr: " << r.err);
    REQUIRE(r.status == 0);
  }
  std::string report(std::vector<std::string> arguments, const std::string& page) const {
    const test::Finished r = test::run(folder, "rearm report", arguments);
    INFO("stderr: " << r.err);
    REQUIRE(r.status == 0);
    CHECK(has(r.out, page));
    return test::read_file(folder / page);
  }
};

int count(const std::string& text, const std::string& part) {
  int n = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++n;
  return n;
}

/// Every tag that is opened is closed, in order; those of SVG end themselves.
void check_balanced(const std::string& html) {
  std::vector<std::string> open;
  for (std::size_t at = html.find("<html"); (at = html.find('<', at)) != std::string::npos;) {
    const std::size_t end = html.find('>', at);
    REQUIRE(end != std::string::npos);
    std::string tag = html.substr(at + 1, end - at - 1);
    at = end + 1;
    const bool closes = tag.starts_with('/'), whole = tag.ends_with('/');
    tag = tag.substr(closes ? 1 : 0, tag.find_first_of(" /", 1) - (closes ? 1 : 0));
    if (whole || tag == "meta") continue;
    if (!closes) {
      open.push_back(tag);
    } else {
      REQUIRE_FALSE(open.empty());
      CHECK(open.back() == tag);
      open.pop_back();
    }
  }
  CHECK(open.empty());
}

std::uint32_t crc32c_bit_by_bit(std::string_view bytes) {
  std::uint32_t crc = ~0U;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1U) != 0 ? (crc >> 1) ^ 0x82F63B78U : crc >> 1;
  }
  return ~crc;
}
template <class T>
T number_at(std::string_view bytes, std::size_t at) {
  T out{};
  REQUIRE(at + sizeof out <= bytes.size());
  std::memcpy(&out, bytes.data() + at, sizeof out);
  return out;
}
/// The payloads of an event file, its lengths and checksums proved.
std::vector<std::string> records(const std::string& file) {
  std::vector<std::string> out;
  const auto masked = [](std::string_view bytes) { return std::rotr(crc32c_bit_by_bit(bytes), 15) + 0xA282EAD8U; };
  for (std::size_t at = 0; at < file.size();) {
    const auto length = static_cast<std::size_t>(number_at<std::uint64_t>(file, at));
    CHECK(number_at<std::uint32_t>(file, at + 8) == masked(std::string_view(file).substr(at, 8)));
    REQUIRE(at + 16 + length <= file.size());
    out.push_back(file.substr(at + 12, length));
    CHECK(number_at<std::uint32_t>(file, at + 12 + length) == masked(out.back()));
    at += 16 + length;
  }
  return out;
}
std::uint64_t varint(std::string_view bytes, std::size_t& at) {
  std::uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes[at++]);
    value |= std::uint64_t{byte & 0x7FU} << shift;
    if ((byte & 0x80U) == 0) return value;
  }
}
/// The fields of a message: number and content, that of numbers as bytes.
std::map<std::uint64_t, std::string> fields(std::string_view bytes) {
  std::map<std::uint64_t, std::string> out;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::uint64_t key = varint(bytes, at);
    std::size_t size = (key & 7) == 1 ? 8 : 4, begin = at;
    if ((key & 7) == 2) {
      size = static_cast<std::size_t>(varint(bytes, at));
      begin = at;
    }
    if ((key & 7) == 0) {
      const std::uint64_t value = varint(bytes, at);
      out[key >> 3] = std::to_string(value);
      continue;
    }
    REQUIRE(begin + size <= bytes.size());
    out[key >> 3] = std::string(bytes.substr(begin, size));
    at = begin + size;
  }
  return out;
}

}  // namespace

TEST_CASE("a page about a run needs no network and tells settings, curves, results, time and memory") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  bench.train("out",
              {"--model", "light_gcn", "--epochs", "3", "--learning-rate", "0.0015", "--negatives", "exclude_all"});
  const std::string page = bench.report({(bench.folder / "out").string()}, "out/report.html");
  check_balanced(page);
  for (const char* outside : {"http:", "https:", "src=", "href=", "@import", "url(", "<script", "<link"}) {
    INFO("part: " << outside);
    CHECK_FALSE(has(page, outside));
  }
  CHECK(has(page, "width=device-width"));
  // Charts: the watched metric, the loss and its parts, seconds; other metrics behind a fold.
  for (const char* title : {"valid recall@20 by epoch", "loss: total by epoch", "loss: bpr by epoch",
                            "loss: reg by epoch", "seconds by epoch", "valid ndcg@10 by epoch"}) {
    INFO("title: " << title);
    CHECK(count(page, std::string("aria-label=\"") + title + '"') == 1);
  }
  CHECK(count(page, "<polyline") == count(page, "<figure>"));
  // Settings that are not the defaults, marked; and the values of the result.
  CHECK(has(page, "What differs from light_gcn: the defaults"));
  CHECK(has(page, "<th scope=\"row\">train.learning_rate</th><td class=\"strong\">0.0015</td>"));
  CHECK(has(page, "<th scope=\"row\">train.lr_decay</th><td>1.0</td>"));
  const json result = json::parse(test::read_file(bench.folder / "out/result.json"));
  char value[32];
  std::snprintf(value, sizeof value, "<td>%.4f</td>", result["test"]["ndcg@20"].get<double>());
  CHECK(has(page, std::string("<th scope=\"row\">test ndcg@20</th>") + value));
  for (const char* part : {"graphs and model", "training", "validation", "median step", "peak of the process",
                           "gradients, moments", "negatives are drawn outside", "features: made up"}) {
    INFO("part: " << part);
    CHECK(has(page, part));
  }
  CHECK_FALSE(has(page, ">nan<"));
  // The same run once more gives the same page.
  CHECK(bench.report({(bench.folder / "out").string()}, "out/report.html") == page);
}

TEST_CASE("several runs share a page, whatever their folders are called and however far they are") {
  REARM_NEEDS_PROGRAMS();
  const Bench bench;
  const std::string odd = "<b>&\"'odd";
  bench.train(odd, {"--model", "light_gcn", "--epochs", "2"});
  bench.train("other", {"--model", "bpr_mf", "--epochs", "1"});
  fs::remove(bench.folder / "other/result.json");  // one that has not ended
  const std::string page = bench.report({(bench.folder / odd).string(), (bench.folder / "other").string(), "--out",
                                         (bench.folder / "page.html").string()},
                                        "page.html");
  check_balanced(page);
  CHECK_FALSE(has(page, "<b>"));
  CHECK(has(page, "&lt;b&gt;&amp;&quot;&#39;odd"));
  CHECK(has(page, "running, or ended without a result"));
  CHECK(has(page, "2 runs"));
  CHECK(has(page, "<circle"));  // the run of one epoch
  CHECK(has(page, "light_gcn: the defaults; bpr_mf: the defaults"));

  check_refused(bench.folder, "rearm report", {(bench.folder / odd).string(), (bench.folder / "other").string()},
                {"--out"});
  check_refused(bench.folder, "rearm report", {bench.folder.path().string()}, {"holds no run"});
  check_refused(bench.folder, "rearm report", {(bench.folder / "other").string(), "--preset", "baby"}, {"preset"});
  // A line that is being written is no line yet; one in the middle that is none is said.
  const std::string lines = test::read_file(bench.folder / "other/metrics.jsonl");
  bench.folder.write("other/metrics.jsonl", lines + "{\"epoch\": 1, \"lo");
  CHECK(bench.report({(bench.folder / "other").string()}, "other/report.html").size() > 1000);
  bench.folder.write("other/metrics.jsonl", lines + "{\"epoch\": 1, \"losses\": {\"total\": 0.5}");
  CHECK(bench.report({(bench.folder / "other").string()}, "other/report.html").size() > 1000);
  // Values that differ by rounding alone, and one beyond all bounds, are no reason to draw forever.
  bench.folder.write("other/metrics.jsonl",
                     "{\"epoch\": 0, \"losses\": {\"total\": 0.5, \"large\": 1e308}}\n"
                     "{\"epoch\": 1, \"losses\": {\"total\": 0.5000000000000001, \"large\": -1e308}}\n");
  const std::string flat = bench.report({(bench.folder / "other").string()}, "other/report.html");
  CHECK(has(flat, "loss: total by epoch"));
  CHECK_FALSE(has(flat, "loss: large by epoch"));
  bench.folder.write("other/metrics.jsonl", "no json\n" + lines);
  check_refused(bench.folder, "rearm report", {(bench.folder / "other").string()}, {"metrics.jsonl: line 1"});
}

TEST_CASE("TensorBoard's event files hold the curves") {
  REARM_NEEDS_PROGRAMS();
  CHECK(crc32c_bit_by_bit("123456789") == 0xE3069283U);  // the published check value
  const Bench bench;
  bench.train("out", {"--model", "light_gcn", "--epochs", "3"});
  bench.report({(bench.folder / "out").string(), "--tensorboard", (bench.folder / "events").string()},
               "out/report.html");
  const auto events = records(test::read_file(bench.folder / "events/out/events.out.tfevents.0.rearm"));
  REQUIRE(events.size() > 1);
  CHECK(fields(events[0]).at(3) == "brain.Event:2");
  std::map<std::pair<std::string, int>, float> found;
  double before = 0;
  for (std::size_t i = 1; i < events.size(); ++i) {
    const auto event = fields(events[i]);
    const auto value = fields(fields(event.at(5)).at(1));
    found[{value.at(1), std::stoi(event.at(2))}] = number_at<float>(value.at(2), 0);
    const double seconds = number_at<double>(event.at(1), 0);
    CHECK(seconds > 1.6e9);
    CHECK(seconds >= before);
    before = seconds;
  }
  std::istringstream lines(test::read_file(bench.folder / "out/metrics.jsonl"));
  std::size_t n = 0;
  for (std::string text; std::getline(lines, text);) {
    const json line = json::parse(text);
    const int epoch = line["epoch"];
    for (const auto& [name, value] : line["losses"].items()) {
      CHECK(found.at({"loss/" + name, epoch}) == value.get<float>());
      ++n;
    }
    for (const auto& [name, value] : line["valid"].items()) {
      CHECK(found.at({"valid/" + name, epoch}) == value.get<float>());
      ++n;
    }
    ++n;  // seconds
  }
  CHECK(found.size() == n);
}

}  // namespace programs_report_test
