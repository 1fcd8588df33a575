#pragma once
/// @file process.hpp
/// Runs the built programs as a user would, and a small data set for them to run on.

#include <tests/data/folder.hpp>
#include <tests/support/shared.hpp>

#include <rearm/data/npy.hpp>
#include <rearm/data/synthetic.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#define REARM_NEEDS_PROGRAMS() REARM_SKIP_UNLESS(!rearm::test::bin_dir().empty(), "programs (they were not built)")

namespace rearm::test {

/// Where the programs are: REARM_BIN_DIR of the environment, else of the build; empty: they were not built.
inline std::filesystem::path bin_dir() {
  if (const char* dir = std::getenv("REARM_BIN_DIR"); dir != nullptr) return dir;
#if defined(REARM_BIN_DIR)
  return REARM_BIN_DIR;
#else
  return {};
#endif
}

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The rows of a CSV file whose cells hold no commas.
inline std::vector<std::vector<std::string>> csv_rows(const std::filesystem::path& path) {
  std::vector<std::vector<std::string>> out;
  std::istringstream in(read_file(path));
  for (std::string line; std::getline(in, line);) {
    std::istringstream fields(line);
    auto& row = out.emplace_back();
    for (std::string cell; std::getline(fields, cell, ',');) row.push_back(cell);
  }
  return out;
}

struct Finished {
  int status = -1;  ///< exit status; 128 + signal when one ended it
  std::string out, err;
  long peak_bytes = 0;     ///< most memory it held
  double cpu_seconds = 0;  ///< of all its threads
};

/// A started program, "rearm train" with a command; its output goes to files in `folder`.
class Process {
 public:
  Process(const Folder& folder, const std::string& name, const std::vector<std::string>& arguments)
      : out_(folder / "stdout.txt"), err_(folder / "stderr.txt") {
    const std::size_t blank = std::min(name.find(' '), name.size());
    std::vector<std::string> words = {(bin_dir() / name.substr(0, blank)).string()};
    if (blank < name.size()) words.push_back(name.substr(blank + 1));
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ > 0) return;
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) std::signal(signal, SIG_DFL);  // ignored in the background
    redirect(out_, STDOUT_FILENO);
    redirect(err_, STDERR_FILENO);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }
  void send(int signal) const { ::kill(pid_, signal); }
  Finished wait() {
    int status = 0;
    struct rusage usage = {};
    REQUIRE(::wait4(pid_, &status, 0, &usage) == pid_);
    pid_ = -1;
    const auto seconds = [](const timeval& t) {
      return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
    };
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_file(out_), read_file(err_),
            usage.ru_maxrss * 1024L, seconds(usage.ru_utime) + seconds(usage.ru_stime)};
  }

 private:
  static void redirect(const std::filesystem::path& path, int to) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || ::dup2(fd, to) < 0) ::_exit(126);
  }
  std::filesystem::path out_, err_;
  pid_t pid_ = -1;
};

inline Finished run(const Folder& folder, const std::string& name, const std::vector<std::string>& arguments) {
  return Process(folder, name, arguments).wait();
}

/// A generated data set as a folder: 60 users, 200 items, image and text.
inline Dataset write_data(const Folder& folder) {
  SyntheticSettings s;
  s.n_users = 60;
  s.n_items = 200;
  s.widths = {8, 6};
  s.latent = 4;
  Dataset data = make_synthetic(s);
  const auto pairs = [&](const std::string& name, const Interactions& split) {
    folder.write_pairs(name, {split.users.begin(), split.users.end()}, {split.items.begin(), split.items.end()});
  };
  pairs("train.npy", data.train);
  pairs("valid.npy", data.valid);
  pairs("test.npy", data.test);
  for (const Modality& m : data.modalities) {
    Matrix<float> rows(m.features.rows(), m.features.cols());
    m.features.copy_rows(0, rows.view());
    write_npy(folder / (m.name + "_feat.npy"), std::vector<float>(rows.data(), rows.data() + rows.size()),
              {rows.rows(), rows.cols()});
  }
  folder.write("dataset.json",
               R"json({"name": "Tiny (made up)", "modalities": {"image": "made up", "text": "made up"}})json");
  return data;
}

/// `words`, and after them settings with which REARM is small on the data of write_data.
inline std::vector<std::string> with_small_rearm(std::vector<std::string> words) {
  words.insert(words.end(), {"--embedding-dim", "8", "--rank", "2", "--user-knn-k", "5", "--item-knn-k", "4"});
  return words;
}

/// The program must end with status 2 and one line that has all of `parts`.
inline void check_refused(const Folder& folder, const std::string& program, const std::vector<std::string>& arguments,
                          const std::vector<std::string>& parts) {
  const Finished r = run(folder, program, arguments);
  INFO("stderr: " << r.err);
  CHECK(r.status == 2);
  CHECK(std::ranges::count(r.err, '\n') == 1);
  CHECK(r.err.starts_with(program.substr(0, program.find(' ')) + ": "));
  for (const std::string& part : parts) {
    INFO("part: " << part);
    CHECK(has(r.err, part));
  }
}

}  // namespace rearm::test
