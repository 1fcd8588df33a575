// Reviews as JSON lines and tables of ratings, as `rearm prepare` reads them.
#include "fuzz.hpp"

#include <rearm/data/formats/json_lines.hpp>
#include <rearm/data/prepare.hpp>

#include <cstddef>
#include <sstream>
#include <string>

namespace rearm::fuzz::interactions {
namespace {

InteractionLog read(const std::string& text) {
  std::istringstream in(text);
  return read_interactions(in, "in");
}
/// In quotes where they are needed.
std::string field(const std::string& name) {
  std::string out = "\"";
  for (const char c : name) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + '"';
}

}  // namespace

void check(const std::string& bytes) {
  const InteractionLog log = read(bytes);
  const auto n = static_cast<std::size_t>(log.size());
  require(n > 0 && log.pairs.items.size() == n, "a pair has a user and an item");
  for (const auto* values : {&log.ratings, &log.times})
    require(values->empty() || values->size() == n, "all pairs have a value, or none");
  require(log.splits.empty() || log.splits.size() == n, "all pairs have a split, or none");
  std::string table = "user,item\n";
  for (std::size_t e = 0; e < n; ++e)
    table += field(log.user_names[log.pairs.users[e]]) + ',' + field(log.item_names[log.pairs.items[e]]) + '\n';
  must([&] {
    const InteractionLog again = read(table);
    require(again.user_names.names() == log.user_names.names(), "users are read as they were written");
    require(again.item_names.names() == log.item_names.names(), "items are read as they were written");
    require(again.pairs.users == log.pairs.users && again.pairs.items == log.pairs.items, "so are pairs");
  });
  if (!log.splits.empty()) return;
  for (const SplitRule rule : {SplitRule::random, SplitRule::leave_one_out}) {
    PrepareSettings settings;
    settings.k_core = 2;
    settings.split = rule;
    const PreparedInteractions out = prepare_interactions(log, settings);  // or refuses what is left
    require(out.pairs.size() + out.repeated + out.outside_core == log.size(), "every pair is somewhere");
  }
}

}  // namespace rearm::fuzz::interactions
