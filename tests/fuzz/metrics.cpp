// metrics.jsonl, as a resumed run finds it.
#include "fuzz.hpp"

#include <rearm/run/result.hpp>

#include <sstream>
#include <string>

namespace rearm::fuzz::metrics {

void check(const std::string& bytes) {
  const auto file = folder() / "metrics.jsonl";
  folder().write("metrics.jsonl", bytes);
  { const MetricsLog log(file, 5); }
  const std::string kept = detail::read_text(file);
  require(kept.size() <= bytes.size() + 1, "lines are kept or dropped");
  std::istringstream in(kept);
  for (std::string line; std::getline(in, line);)
    require(bytes.find(line) != std::string::npos && nlohmann::json::parse(line).at("epoch") <= 5,
            "what is kept is lines of epochs up to the last");
  must([&] { const MetricsLog log(file, 5); });
  require(detail::read_text(file) == kept, "what was kept once is kept again");
}

}  // namespace rearm::fuzz::metrics
