#include <rearm/io/atomic_folder.hpp>

#include <tests/data/folder.hpp>

#include <doctest/doctest.h>

#include <filesystem>
#include <iterator>
#include <stdexcept>
#include <string>

namespace io_atomic_folder_test {

namespace {

using namespace rearm;
using rearm::test::Folder;
namespace fs = std::filesystem;

std::ptrdiff_t entries(const fs::path& dir) { return std::distance(fs::directory_iterator(dir), {}); }
void write(const fs::path& path, const std::string& text) {
  write_file_atomically(path, [&](std::ostream& out) { out << text; });
}

TEST_CASE("a folder appears whole, replaces another whole, or not at all") {
  const Folder folder;
  const fs::path out = folder / "a/b";
  write_folder_atomically(out.string() + "/", [&](const fs::path& dir) {
    CHECK(!fs::exists(out));
    write(dir / "one", "1");
  });
  CHECK(rearm::detail::read_text(out / "one") == "1");
  write_folder_atomically(out, [&](const fs::path& dir) {
    CHECK(rearm::detail::read_text(out / "one") == "1");  // until the new one stands
    write(dir / "two", "2");
  });
  CHECK(!fs::exists(out / "one"));
  CHECK(rearm::detail::read_text(out / "two") == "2");
  CHECK_THROWS_AS(write_folder_atomically(out,
                                          [&](const fs::path& dir) {
                                            write(dir / "three", "3");
                                            throw std::runtime_error("stop");
                                          }),
                  std::runtime_error);
  CHECK(rearm::detail::read_text(out / "two") == "2");
  CHECK(entries(out) == 1);
  CHECK(entries(folder / "a") == 1);  // nothing temporary is left
  fs::create_directory(folder / "empty");
  write_folder_atomically(folder / "empty", [&](const fs::path& dir) { write(dir / "x", "x"); });
  CHECK(fs::exists(folder / "empty/x"));
  folder.write("file", "");
  CHECK_THROWS_AS(write_folder_atomically(folder / "file/inner", [](const fs::path&) {}), IoError);
}

}  // namespace
}  // namespace io_atomic_folder_test
