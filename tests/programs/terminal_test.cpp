/// @file terminal_test.cpp
/// What is seen of the program in a terminal, and how it ends by Ctrl-C: under pseudo-terminals of several widths.

#include "process.hpp"

#include <examples/cli/progress.hpp>

#include <rearm/version.hpp>

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

namespace programs_terminal_test {

using namespace rearm;
using nlohmann::json;
using rearm::test::Folder;
namespace fs = std::filesystem;

namespace {

/// A command on a terminal of its own, which is its controlling one: what is typed there becomes signals.
class Terminal {
 public:
  Terminal(const std::vector<std::string>& words, int width) : master_(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
    REQUIRE(master_ >= 0);
    REQUIRE(::grantpt(master_) == 0);
    REQUIRE(::unlockpt(master_) == 0);
    const std::string name = ::ptsname(master_);
    resize(width);
    std::vector<std::string> copies = words;
    std::vector<char*> argv;
    for (std::string& word : copies) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ > 0) return;
    ::setsid();
    const int fd = ::open(name.c_str(), O_RDWR);
    for (const int to : {0, 1, 2})
      if (fd < 0 || ::dup2(fd, to) < 0) ::_exit(126);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) std::signal(signal, SIG_DFL);
    ::setenv("TERM", "xterm-256color", 1);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal() {
    if (pid_ > 0) {
      ::kill(-pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    ::close(master_);
  }
  void resize(int width) const {
    struct winsize size = {};
    size.ws_col = static_cast<unsigned short>(width);
    size.ws_row = 24;
    REQUIRE(::ioctl(master_, TIOCSWINSZ, &size) == 0);
  }
  void type(const std::string& keys) const {
    REQUIRE(::write(master_, keys.data(), keys.size()) == static_cast<::ssize_t>(keys.size()));
  }
  /// Reads until all that came has that text, from `from` on.
  void wait_for(const std::string& text, std::size_t from = 0) {
    while (seen.find(text, from) == std::string::npos) {
      INFO("waited for: " << text << "\nseen: " << seen);
      REQUIRE(read());
    }
  }
  /// To the end; returns the status as waitpid gives it.
  int finish() {
    while (read()) {
    }
    int status = 0;
    REQUIRE(::waitpid(pid_, &status, 0) == pid_);
    pid_ = -1;
    return status;
  }
  std::string seen;

 private:
  bool read() {
    struct pollfd ready = {master_, POLLIN, 0};
    if (::poll(&ready, 1, 120'000) <= 0) return false;
    char block[4096];
    const ::ssize_t n = ::read(master_, block, sizeof block);
    if (n <= 0) return false;  // EIO: nobody has it open any more
    seen.append(block, static_cast<std::size_t>(n));
    return true;
  }
  int master_;
  pid_t pid_ = -1;
};

std::string rearm_program() { return (test::bin_dir() / "rearm").string(); }
bool ended_by(int status, int signal) { return WIFSIGNALED(status) && WTERMSIG(status) == signal; }

/// The status lines, and those of epochs, which are printed over one: what follows "\r\033[K" until the line ends or is
/// drawn anew. Messages may be longer than a terminal is wide: they end lines and tell of no epoch.
std::vector<std::string> drawn(const std::string& seen) {
  std::vector<std::string> out;
  const std::string begin = "\r\x1b[K";
  for (std::size_t at = seen.find(begin); at != std::string::npos; at = seen.find(begin, at)) {
    at += begin.size();
    const std::size_t end = std::min(seen.find_first_of("\r\n", at), seen.size());
    const std::string line = seen.substr(at, end - at);
    if (line.starts_with("epoch ") || seen.compare(end, 2, "\r\n") != 0) out.push_back(line);
  }
  CHECK_FALSE(out.empty());
  return out;
}

/// The line that follows a text.
std::string line_after(const std::string& seen, const std::string& text) {
  std::size_t at = seen.find(text);
  REQUIRE(at != std::string::npos);
  at = seen.find('\n', at) + 1;
  return seen.substr(at, seen.find_first_of("\r\n", at) - at);
}

std::vector<std::string> training(const Folder& data, const fs::path& out, const std::vector<std::string>& more) {
  std::vector<std::string> words = {
      rearm_program(), "train", data.path().string(), "--out", out.string(), "--model", "bpr_mf",
      "--batch-size",  "16",    "--threads",          "1",     "--patience", "1000000", "--epochs"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::size_t width_of(const std::vector<cli::LinePart>& parts, std::size_t width) {
  const std::string line = cli::fit(parts, width);
  CAPTURE(line);
  CHECK(cli::columns_of(line) <= width);
  return cli::columns_of(line);
}

}  // namespace

TEST_CASE("a line leaves out what matters least, and is cut only when nothing else helps") {
  const std::vector<cli::LinePart> parts = {{0, "epoch 12"}, {2, " [###...]"}, {3, " loss 0.5"}, {1, ", 12 s left"}};
  CHECK(cli::fit(parts, 80) == "epoch 12 [###...] loss 0.5, 12 s left");
  CHECK(cli::fit(parts, 36) == "epoch 12 [###...], 12 s left");
  CHECK(cli::fit(parts, 20) == "epoch 12, 12 s left");
  CHECK(cli::fit(parts, 18) == "epoch 12 [###...]");
  CHECK(cli::fit(parts, 16) == "epoch 12");
  CHECK(cli::fit(parts, 6) == "epoc..");
  // Two columns for a character beyond ASCII; what a terminal would obey is shown as "?".
  CHECK(cli::fit({{0, "\xE7\x94\xBB\xE5\x83\x8F"}}, 4) == "\xE7\x94\xBB\xE5\x83\x8F");
  CHECK(cli::fit({{0, "\xE7\x94\xBB\xE5\x83\x8F"}}, 3) == "..");
  CHECK(cli::fit({{0, "a\x1b[31m\xC2\x9B\xFF\n"}}, 80) == "a?[31m???");
  for (std::size_t width = 0; width < 50; ++width) width_of(parts, width);
}

TEST_CASE("where a run stands fits 60 columns, and is rounded as its result") {
  const cli::Standing s = {1234, 0.5, cli::rounded(0.69315), "recall@20 " + cli::rounded(0.05678), 754, 35900, true};
  const auto line = [&](std::size_t width) { return cli::fit(cli::line_of(s, width), width); };
  CHECK(line(197) ==
        "epoch 1234 [##########..........] loss 0.6932, recall@20 0.0568, 13 min left, run 9 h 58 min or more");
  CHECK(line(77) == "epoch 1234 [####.....], recall@20 0.0568, 13 min left, run 9 h 58 min or more");
  CHECK(line(57) == "epoch 1234 [###...], 13 min left, run 9 h 58 min or more");
  CHECK(line(37) == "epoch 1234 [##...], 13 min left");
  CHECK(cli::duration(0.4) == "0 s");
  CHECK(cli::duration(200) == "3 min 20 s");
  CHECK(cli::duration(3900) == "1 h 05 min");
  CHECK(cli::duration(72 * 3600) == "72 h");

  EpochReport r;
  r.epoch = 7;
  r.losses.total = 0.69315;
  r.losses.part[0] = {"contrast", 0.25};
  r.losses.n_parts = 1;
  r.valid = {{"recall@20", 0.05678}};
  r.improved = true;
  CHECK(cli::fit(cli::line_of(r, "recall@20"), 80) ==
        "epoch 7: loss 0.6932 (contrast 0.2500)  recall@20 0.0568 *  0 s");
  CHECK(cli::fit(cli::line_of(r, "recall@20"), 57) == "epoch 7: loss 0.6932  recall@20 0.0568 *  0 s");
}

TEST_CASE("epochs that are left follow from early stopping, or from their number") {
  TrainConfig config;
  config.epochs = 100;
  config.patience = 3;
  const auto left = [&](int epoch, int stale) { return cli::epochs_left(config, epoch, stale).epochs; };
  CHECK(left(0, 0) == 3);  // 1, 2, 3: with this one four without improvement
  CHECK(left(10, 3) == 0);
  CHECK(left(98, 0) == 1);
  CHECK(cli::epochs_left(config, 10, 0).by_early_stopping);
  CHECK_FALSE(cli::epochs_left(config, 96, 0).by_early_stopping);
  config.eval_every = 5;
  CHECK(left(0, 0) == 19);  // validated after 4, 9, 14 and 19
  CHECK(left(4, 3) == 0);
}

TEST_CASE("on terminals of several widths no line is wider, whatever the names") {
  REARM_NEEDS_PROGRAMS();
  const Folder data, folder;
  test::write_data(data);
  fs::rename(data / "image_feat.npy",
             data / "the_images_of_all_products_as_a_very_deep_network_sees_them_\xE7\x94\xBB\xE5\x83\x8F_feat.npy");
  for (const int width : {40, 60, 80, 200}) {
    CAPTURE(width);
    Terminal terminal(test::with_small_rearm({rearm_program(), "train", data.path().string(), "--out",
                                              (folder / std::to_string(width)).string(), "--batch-size", "8",
                                              "--epochs", "1000000", "--patience", "1000000"}),
                      width);
    terminal.wait_for(" left");  // of a status line
    terminal.wait_for("epoch 2: ");
    terminal.type("\x03");
    CHECK(ended_by(terminal.finish(), SIGINT));
    CHECK(terminal.seen.find("; Ctrl-C again stops at once") < terminal.seen.find("Continue with:"));
    for (const std::string& line : drawn(terminal.seen)) {
      CAPTURE(line);
      CHECK(cli::columns_of(line) <= static_cast<std::size_t>(width));
    }
  }
}

TEST_CASE("a terminal that becomes narrower is followed") {
  REARM_NEEDS_PROGRAMS();
  const Folder data, folder;
  test::write_data(data);
  Terminal terminal(training(data, folder / "out", {"1000000", "--embedding-dim", "1024"}), 100);
  terminal.wait_for(" left, run ");
  terminal.resize(44);
  const std::size_t before = terminal.seen.size();
  terminal.wait_for("\x1b[J", before);  // the rows that the old line takes now
  terminal.wait_for("\r\x1b[K", terminal.seen.find("\x1b[J", before));
  terminal.type("\x03");
  CHECK(ended_by(terminal.finish(), SIGINT));
  for (const std::string& line : drawn(terminal.seen.substr(terminal.seen.find("\x1b[J", before)))) {
    CAPTURE(line);
    CHECK(cli::columns_of(line) <= 44);
  }
}

TEST_CASE("the line that an interrupted run prints continues it when it is pasted") {
  REARM_NEEDS_PROGRAMS();
  const Folder data, folder;
  test::write_data(data);
  const fs::path out = folder / "it's a run";
  const std::string epochs = "300";
  std::string line;
  {
    Terminal terminal(training(data, out, {epochs, "--overwrite"}), 80);
    terminal.wait_for("epoch 1: ");
    terminal.type("\x03");
    CHECK(ended_by(terminal.finish(), SIGINT));
    line = line_after(terminal.seen, "Continue with:");
  }
  CAPTURE(line);
  CHECK(test::has(line, " --resume"));
  CHECK_FALSE(test::has(line, "--overwrite"));
  CHECK(json::parse(test::read_file(out / "result.json"))["interrupted"] == true);
  Terminal pasted({"sh", "-c", line}, 80);
  const int status = pasted.finish();
  INFO("seen: " << pasted.seen);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  CHECK(test::has(pasted.seen, "continuing "));
  const json result = json::parse(test::read_file(out / "result.json"));
  CHECK(result["interrupted"] == false);
  CHECK(std::to_string(result["epochs"].get<int>()) == epochs);
}

TEST_CASE("Ctrl-C ends a shell's loop") {
  REARM_NEEDS_PROGRAMS();
  const Folder data, folder;
  test::write_data(data);
  std::string command;
  for (const std::string& word : training(data, folder / "out", {"1000000", "--overwrite"}))
    command += "'" + word + "' ";
  Terminal terminal({"bash", "-c", "for i in 1 2 3; do " + command + "; echo next round; done; echo all rounds"}, 80);
  terminal.wait_for("epoch 1: ");
  terminal.type("\x03");
  CHECK(ended_by(terminal.finish(), SIGINT));
  CHECK_FALSE(test::has(terminal.seen, "next round"));
  CHECK_FALSE(test::has(terminal.seen, "all rounds"));
}

TEST_CASE("--resume where no run is, is refused, and a refusal leaves no folder") {
  REARM_NEEDS_PROGRAMS();
  const Folder data, folder;
  test::write_data(data);
  const auto refused = [&](const std::vector<std::string>& more, const std::vector<std::string>& parts) {
    std::vector<std::string> words =
        test::with_small_rearm({data.path().string(), "--out", (folder / "new/deep").string()});
    words.insert(words.end(), more.begin(), more.end());
    test::check_refused(folder, "rearm train", words, parts);
    CHECK_FALSE(fs::exists(folder / "new"));
  };
  refused({"--resume"}, {"new/deep", "holds no run", "--out"});
  refused({"--cache", (folder / "stdout.txt").string()}, {"graph cache"});                  // a file
  refused({"--edge-keep", "1e-9", "--cache", (folder / "cache").string()}, {"edge_keep"});  // once the model is made
  // Folders that were there stay, also empty ones; one that holds something else is no run.
  fs::create_directory(folder / "mine");
  const auto resumed = [&] {
    test::check_refused(folder, "rearm train", {data.path().string(), "--out", (folder / "mine").string(), "--resume"},
                        {"mine", "holds no run"});
  };
  resumed();
  CHECK(fs::is_empty(folder / "mine"));
  folder.write("mine/notes.txt", "mine");
  resumed();
  // A run that was killed before its first checkpoint goes on: it begins again with its settings.
  fs::create_directory(folder / "killed");
  folder.write("killed/config.toml", "[train]\nepochs = 2\n[model]\nname = \"bpr_mf\"\n");
  const test::Finished r =
      test::run(folder, "rearm train", {data.path().string(), "--out", (folder / "killed").string(), "--resume"});
  INFO("stderr: " << r.err);
  CHECK(r.status == 0);
  CHECK(json::parse(test::read_file(folder / "killed/result.json"))["epochs"] == 2);
  // A refused `rearm prepare` leaves none either.
  folder.write("pairs.csv", "user,item\n1,2\n");
  test::check_refused(folder, "rearm prepare",
                      {(folder / "pairs.csv").string(), "--out", (folder / "made/data").string()}, {});
  CHECK_FALSE(fs::exists(folder / "made"));
}

TEST_CASE("the version, and the examples of --help, which work when they are pasted") {
  REARM_NEEDS_PROGRAMS();
  const Folder folder;
  const test::Finished version = test::run(folder, "rearm", {"--version"});
  CHECK(version.status == 0);
  CHECK(version.out == "rearm " REARM_VERSION_STRING "\n");
  ::setenv("REARM_CALLED_AS", "./run", 1);
  const test::Finished by_run = test::run(folder, "rearm train", {"--help"});
  ::unsetenv("REARM_CALLED_AS");
  CHECK(test::has(by_run.out, "\n  ./run train --synthetic "));
  // Examples that need files of the user's name data/baby; the others use what the ones before have made.
  std::string script = "set -e\ncd '" + folder.path().string() + "'\n";
  int n_lines = 0;
  for (const std::string command :
       {"train", "recommend", "similar", "explain", "prepare", "check", "evaluate", "models", "report", "export"}) {
    const test::Finished help = test::run(folder, "rearm " + command, {"--help"});
    CHECK(help.status == 0);
    std::istringstream lines(help.out.substr(std::min(help.out.find("Example"), help.out.size())));
    int of_command = 0;
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("  ") || test::has(line, "baby") || test::has(line, "Baby") || test::has(line, "gaps"))
        continue;
      // Smaller, to be quicker; the program trains a second model to compare with.
      if (const std::string flag = "--synthetic"; test::has(line, flag + ' '))
        line.insert(line.find(flag) + flag.size(), " --embedding-dim 8 --batch-size 4096");
      script += line + '\n';
      ++of_command;
    }
    CAPTURE(command);
    CHECK(of_command > 0);
    n_lines += of_command;
  }
  folder.write("examples.sh", script);
  Terminal terminal({"sh", (folder / "examples.sh").string()}, 80);
  const int status = terminal.finish();
  INFO(script << terminal.seen);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  CHECK(n_lines >= 8);
}

TEST_CASE("./run says nothing of CMake unless that fails or lasts, hands on how it was called, and ends by Ctrl-C") {
  const Folder folder;
  fs::create_directories(folder / "build/release/bin");
  fs::create_directories(folder / "stub");
  fs::copy_file(fs::path(REARM_SOURCE_DIR) / "run", folder / "run");
  const auto script = [&](const std::string& name, const std::string& text) {
    folder.write(name, "#!/usr/bin/env bash\n" + text);
    fs::permissions(folder / name, fs::perms::owner_all);
  };
  script("build/release/bin/rearm", "echo \"$REARM_CALLED_AS $*\"\n");
  script("stub/apt-get", "");
  script("stub/cmake",
         "echo 'of cmake'\n[[ $1 != --preset ]] || exit 0\n[[ $HOW != lasts ]] || sleep 60\n"
         "[[ $HOW != builds && $HOW != fails ]] || echo '[1/2] Building CXX object'\n[[ $HOW != fails ]]\n");
  const auto terminal = [&](const std::string& how, const std::string& command) {
    return "cd '" + folder.path().string() + "' && export PATH=\"$PWD/stub:$PATH\" HOW=" + how + " && " + command;
  };
  const auto run = [&](const std::string& how) {
    Terminal t({"bash", "-c", terminal(how, "./run check 'a b' 2>err; status=$?; cat err; exit $status")}, 80);
    const int status = t.finish();
    return std::pair(WIFEXITED(status) ? WEXITSTATUS(status) : -1, t.seen);
  };
  CHECK(run("does_nothing") == std::pair(0, std::string("./run check a b\r\n")));
  CHECK(run("builds") ==
        std::pair(0, std::string("./run check a b\r\nrun: building rearm (some minutes the first time)\r\n")));
  const auto [status, said] = run("fails");
  CHECK(status == 1);
  CHECK(test::has(said, "of cmake\r\n[1/2] Building CXX object\r\nrun: rearm could not be built"));
  Terminal loop({"bash", "-c", terminal("lasts", "for i in 1 2; do ./run check; echo next round; done")}, 80);
  loop.wait_for("building rearm");
  loop.type("\x03");
  CHECK(ended_by(loop.finish(), SIGINT));
  CHECK_FALSE(test::has(loop.seen, "next round"));
}

}  // namespace programs_terminal_test
