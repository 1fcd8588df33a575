#include <rearm/io/atomic_folder.hpp>

#include <tests/data/folder.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

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

TEST_CASE("what a killed process left is removed, what another one writes is not") {
  const Folder folder;
  for (const char* name : {".out.1.0.tmp", ".out.2.0.tmp", ".other.3.0.tmp", ".out.mine.tmp"}) {
    fs::create_directory(folder / name);
    folder.write(std::string(name) + "/x", "x");
  }
  const int fd = ::open((folder / ".out.2.0.tmp").c_str(), O_RDONLY | O_DIRECTORY);
  REQUIRE(::flock(fd, LOCK_EX | LOCK_NB) == 0);
  write_folder_atomically(folder / "out", [&](const fs::path& dir) {
    write(dir / "a", "a");
    CHECK(!fs::exists(folder / ".out.1.0.tmp"));
  });
  CHECK(fs::exists(folder / "out/a"));
  CHECK(fs::exists(folder / ".out.2.0.tmp/x"));
  CHECK(fs::exists(folder / ".other.3.0.tmp/x"));
  ::close(fd);
  write_folder_atomically(folder / "out", [](const fs::path&) {});
  CHECK(!fs::exists(folder / ".out.2.0.tmp"));
  CHECK(entries(folder.path()) == 3);
}

}  // namespace
}  // namespace io_atomic_folder_test
