#include <rearm/io/atomic_file.hpp>

#include <doctest/doctest.h>

#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

namespace io_atomic_file_test {

namespace {

namespace fs = std::filesystem;

struct Folder {
  fs::path path;
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "rearm_atomic_XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    fs::permissions(path, fs::perms::owner_all, ignored);
    fs::remove_all(path, ignored);
  }
  std::string text(const char* name) const {
    std::ifstream in(path / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::ptrdiff_t entries() const { return std::distance(fs::directory_iterator(path), fs::directory_iterator()); }
};

}  // namespace

TEST_CASE("write_file_atomically creates and replaces") {
  const Folder folder;
  rearm::write_file_atomically(folder.path / "a", [](std::ostream& out) { out << "old"; });
  CHECK(folder.text("a") == "old");
  rearm::write_file_atomically(folder.path / "a", [&](std::ostream& out) {
    out << "new" << std::flush;
    CHECK(folder.text("a") == "old");  // readers see the old file until the end
  });
  CHECK(folder.text("a") == "new");
  CHECK(folder.entries() == 1);
}

TEST_CASE("a writer that throws leaves the old file and nothing else") {
  const Folder folder;
  rearm::write_file_atomically(folder.path / "a", [](std::ostream& out) { out << "old"; });
  CHECK_THROWS_AS(rearm::write_file_atomically(folder.path / "a",
                                               [](std::ostream& out) {
                                                 out << "half";
                                                 throw std::logic_error("no");
                                               }),
                  std::logic_error);
  CHECK(folder.text("a") == "old");
  CHECK(folder.entries() == 1);
}

TEST_CASE("a write that fails half way leaves the old file and nothing else") {
  const Folder folder;
  rearm::write_file_atomically(folder.path / "a", [](std::ostream& out) { out << "old"; });
  // A limit on the file size stands in for a full disk.
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit limited = before;
  limited.rlim_cur = 65536;
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &limited) == 0);
  std::string message;
  try {
    rearm::write_file_atomically(folder.path / "a", [](std::ostream& out) { out << std::string(1 << 20, 'x'); });
  } catch (const rearm::IoError& e) {
    message = e.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  CHECK(message.find((folder.path / "a").string()) != std::string::npos);
  CHECK(folder.text("a") == "old");
  CHECK(folder.entries() == 1);
}

TEST_CASE("folders that cannot be written into are refused by name") {
  const Folder folder;
  const auto write = [](const fs::path& path) {
    rearm::write_file_atomically(path, [](std::ostream& out) { out << "x"; });
  };
  CHECK_THROWS_AS(write(folder.path / "absent" / "a"), rearm::IoError);
  std::ofstream(folder.path / "file") << "x";
  CHECK_THROWS_AS(write(folder.path / "file" / "a"), rearm::IoError);
  fs::create_directory(folder.path / "taken");
  CHECK_THROWS_AS(write(folder.path / "taken"), rearm::IoError);
  CHECK(folder.entries() == 2);
  if (::geteuid() == 0) return;  // the superuser writes anywhere
  fs::permissions(folder.path, fs::perms::owner_read | fs::perms::owner_exec);
  CHECK_THROWS_AS(write(folder.path / "file"), rearm::IoError);
  CHECK(folder.text("file") == "x");
}

}  // namespace io_atomic_file_test
