// MMRec's .inter files.
#include "fuzz.hpp"

#include <rearm/data/load_dataset.hpp>

#include <algorithm>
#include <array>
#include <limits>
#include <string>

namespace rearm::fuzz::inter {
namespace {

bool same(const Interactions& a, const Interactions& b) { return a.users == b.users && a.items == b.items; }

}  // namespace

void check(const std::string& bytes) {
  folder().write("in.inter", bytes);
  const std::array<detail::SourcedPairs, 3> splits = detail::read_inter(folder() / "in.inter");
  std::string text = "x_label\tuserID\titemID\n";
  Id largest = 0;
  bool whole = true;
  for (std::size_t s = 0; s < 3; ++s) {
    const auto& [users, items] = splits[s].pairs;
    whole = whole && !users.empty();
    require(users.size() == items.size() && users.size() == splits[s].lines.size(),
            "a pair has a user, an item, a line");
    for (std::size_t e = 0; e < users.size(); ++e) {
      for (const Id id : {users[e], items[e]})
        require(id >= 0 && id < std::numeric_limits<Id>::max(), "an id is in its limits");
      largest = std::max({largest, users[e], items[e]});
      text += detail::message(s, '\t', users[e], '\t', items[e], '\n');
    }
  }
  must([&] {
    folder().write("copy", text);
    const std::array<detail::SourcedPairs, 3> again = detail::read_inter(folder() / "copy");
    for (std::size_t s = 0; s < 3; ++s)
      require(same(again[s].pairs, splits[s].pairs), "pairs are read as they were written");
  });
  if (!whole || largest > 1000) return;  // arrays of all ids would cost more than the reading
  must([&] {
    const Dataset data = load_dataset(folder().path());
    for (const Interactions* pairs : {&data.train, &data.valid, &data.test})
      for (std::size_t e = 0; e < pairs->users.size(); ++e)
        require(pairs->users[e] < data.n_users && pairs->items[e] < data.n_items, "ids are below their numbers");
    require(items_by_user(data.train, data.n_users).ids.size() == data.train.users.size(), "no pair is there twice");
  });
}

}  // namespace rearm::fuzz::inter
