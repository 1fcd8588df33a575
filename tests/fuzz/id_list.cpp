// Lists of user ids, as `rearm recommend --users-file` reads them.
#include "fuzz.hpp"

#include <examples/cli/id_list.hpp>

#include <string>
#include <vector>

namespace rearm::fuzz::id_list {

void check(const std::string& bytes) {
  folder().write("in.txt", bytes);
  const std::vector<Id> users = cli::read_users(folder() / "in.txt");
  std::string text;
  for (const Id user : users) text += std::to_string(user) + '\n';
  folder().write("copy.txt", text);
  must([&] { require(cli::read_users(folder() / "copy.txt") == users, "ids are read as they were written"); });
}

}  // namespace rearm::fuzz::id_list
