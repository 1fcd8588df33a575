#include <rearm/io/atomic_file.hpp>

#include <tests/support/file_limit.hpp>

#include <doctest/doctest.h>

#include <sys/stat.h>
#include <unistd.h>

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
  std::string message;
  try {
    const rearm::test::FileLimit full(65536);
    rearm::write_file_atomically(folder.path / "a", [](std::ostream& out) { out << std::string(1 << 20, 'x'); });
  } catch (const rearm::IoError& e) {
    message = e.what();
  }
  CHECK(message.find((folder.path / "a").string()) != std::string::npos);
  CHECK(folder.text("a") == "old");
  CHECK(folder.entries() == 1);
}

TEST_CASE("a file takes the place of files alone") {
  const Folder folder;
  REQUIRE(::mkfifo((folder.path / "pipe").c_str(), 0600) == 0);
  fs::create_directory(folder.path / "folder");
  fs::create_symlink("pipe", folder.path / "link");
  for (const char* name : {"pipe", "folder", "link"}) {
    INFO("name: " << name);
    CHECK_THROWS_WITH_AS(rearm::write_file_atomically(folder.path / name, [](std::ostream& out) { out << "text"; }),
                         doctest::Contains(name), rearm::IoError);
  }
  CHECK(fs::is_fifo(folder.path / "pipe"));
  CHECK(fs::is_symlink(folder.path / "link"));
  CHECK(folder.entries() == 3);
}

TEST_CASE("a text is read whole, or refused by name") {
  const Folder folder;
  const std::string text = std::string(70000, 'x') + '\0' + "\r\nlast";
  std::ofstream(folder.path / "a", std::ios::binary) << text;
  CHECK(rearm::detail::read_text(folder.path / "a") == text);
  std::ofstream(folder.path / "empty");
  CHECK(rearm::detail::read_text(folder.path / "empty").empty());
  fs::create_directory(folder.path / "folder");
  // A folder opens and cannot be read, as a file on a failing disk.
  for (const char* name : {"absent", "folder"}) {
    CAPTURE(name);
    std::string message;
    try {
      rearm::detail::read_text(folder.path / name);
    } catch (const rearm::IoError& e) {
      message = e.what();
    }
    CHECK(message.find((folder.path / name).string()) != std::string::npos);
  }
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
