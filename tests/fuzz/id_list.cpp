// Lists of ids, as `rearm recommend` reads them: numbers (--users-file), names, and pairs (--candidates).
#include "fuzz.hpp"

#include <rearm/run/ids.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm::fuzz::id_list {

void check(const std::string& bytes) {
  folder().write("in.txt", bytes);
  const IdTexts numbers("user", "a model", 1000, nullptr);
  std::string text = "\n";  // what follows is no byte-order mark
  for (const std::string& name : read_id_texts(folder() / "in.txt", false)) text += name + '\n';
  folder().write("names.txt", text);
  require(read_id_texts(folder() / "names.txt", false) == read_id_texts(folder() / "in.txt", false),
          "names are read as they were written");
  const auto pairs = [](const char* file) {
    std::vector<std::pair<std::string, std::string>> out;
    read_id_pairs(folder() / file, [&](std::string_view a, std::string_view b) { out.emplace_back(a, b); });
    return out;
  };
  accepts([&] {
    const auto read = pairs("in.txt");
    std::string lines = "\n";
    for (const auto& [a, b] : read) lines += a + '\t' + b + '\n';
    folder().write("pairs.txt", lines);
    must([&] { require(pairs("pairs.txt") == read, "pairs are read as they were written"); });
  });
  const std::vector<Id> users = read_ids(folder() / "in.txt", numbers);
  text.clear();
  for (const Id user : users) text += numbers[user] + '\n';
  folder().write("copy.txt", text);
  must([&] { require(read_ids(folder() / "copy.txt", numbers) == users, "ids are read as they were written"); });
}

}  // namespace rearm::fuzz::id_list
