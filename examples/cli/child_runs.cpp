#include "child_runs.hpp"

#include "program.hpp"
#include "progress.hpp"

#include <rearm/backend/cpu/available_cpus.hpp>
#include <rearm/core/available_memory.hpp>
#include <rearm/io/json.hpp>
#include <rearm/run/folder.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <deque>
#include <map>
#include <ostream>
#include <set>
#include <sstream>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

namespace rearm::cli {
namespace {

namespace fs = std::filesystem;
using rearm::detail::message;
using Clock = std::chrono::steady_clock;

fs::path beside(const fs::path& out, const char* ending) { return out.string() + ending; }

/// Whether another process holds the folder: a run that a killed program had started, and that has not ended yet.
bool held(const fs::path& out) {
  const rearm::detail::FileDescriptor file(::open((out / ".lock").c_str(), O_RDWR | O_CLOEXEC));
  if (file.get() < 0) return false;
  return ::flock(file.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

/// What the program last said was wrong.
std::string last_complaint(const fs::path& log) {
  std::istringstream in(rearm::detail::read_text(log));
  std::string found;
  for (std::string line; std::getline(in, line);) {
    if (const std::size_t drawn = line.rfind('\r'); drawn != std::string::npos) line.erase(0, drawn + 1);
    if (line.starts_with("rearm: ")) found = line.substr(7);
  }
  return found;
}

/// A running `rearm train`.
struct Running {
  std::size_t index = 0;
  ::pid_t pid = 0;
  Clock::time_point since;
  bool evicted = false;    ///< by us, for its memory
  bool too_large = false;  ///< even alone
};

class Runner {
 public:
  Runner(std::span<const ChildRun> runs, const RunBudget& budget,
         const std::function<std::string(const nlohmann::json&)>& said)
      : runs_(runs), budget_(budget), said_(said), outcomes_(runs.size()) {
    for (std::size_t i = 0; i < runs.size(); ++i) {
      outcomes_[i] = outcome_of(runs[i]);
      if (outcomes_[i].state == RunOutcome::State::open)
        queue_.push_back(i);
      else
        ++n_done_;
      if (outcomes_[i].state == RunOutcome::State::finished)
        learn(runs[i].kind, outcomes_[i].result.value("peak_rss_bytes", 0.0));
    }
    n_before_ = n_done_;
  }
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;
  /// If anything was thrown, the runs end too.
  ~Runner() {
    for (const Running& r : running_) ::kill(r.pid, SIGTERM);
    for (const Running& r : running_) ::waitpid(r.pid, nullptr, 0);
  }

  std::vector<RunOutcome> run() {
    bool passed_on = false;
    while (!queue_.empty() || !running_.empty()) {
      if (interrupted()) queue_.clear();  // a run that had to end for its memory may just have come to it
      if (interrupted() && !std::exchange(passed_on, true)) {
        for (const Running& r : running_) ::kill(r.pid, SIGTERM);
        line_.say(
            message("interrupted; waiting for ", running_.size(), " run", running_.size() == 1 ? "" : "s", " to end"));
      }
      while (start_next()) {
      }
      watch_memory();
      collect();
      draw();
      if (!running_.empty() || !queue_.empty()) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    line_.clear();
    return std::move(outcomes_);
  }

 private:
  void learn(const std::string& kind, double bytes) { need_[kind] = std::max(need_[kind], bytes); }
  static double status_of(::pid_t pid, const char* line) {
    return static_cast<double>(rearm::detail::read_number(message("/proc/", pid, "/status"), line, 1024, 0));
  }
  static bool has_checkpoint(const fs::path& out) {
    return fs::exists(StagedFiles::current(out, "checkpoint.safetensors"));
  }
  double known_need(const std::string& kind) const {
    const auto found = need_.find(kind);
    return found == need_.end() ? 0 : found->second;
  }

  bool fits(const ChildRun& run) const {
    if (static_cast<int>(running_.size()) >= budget_.jobs) return false;
    if (budget_.memory_bytes == 0 || running_.empty()) return true;
    double sum = known_need(run.kind);
    if (sum == 0) return false;  // the first of its kind begins alone
    for (const Running& r : running_) {
      const double need = known_need(runs_[r.index].kind);
      if (need == 0) return false;
      sum += std::max(need, status_of(r.pid, "VmHWM:"));
    }
    return sum <= budget_.memory_bytes;
  }

  /// False if none can begin now.
  bool start_next() {
    if (queue_.empty() || interrupted()) return false;
    for (auto next = queue_.begin(); next != queue_.end(); ++next) {
      const ChildRun& run = runs_[*next];
      if (!fits(run)) return false;
      if (held(run.out)) {
        if (waited_for_.insert(*next).second) line_.say(message(run.name, ": its folder is in use; waiting for it"));
        continue;
      }
      const std::size_t index = *next;
      queue_.erase(next);
      start(index);
      return true;
    }
    return false;
  }

  void start(std::size_t index) {
    const ChildRun& run = runs_[index];
    std::vector<std::string> words = {own_program().string(), "train"};
    words.insert(words.end(), run.arguments.begin(), run.arguments.end());
    words.insert(words.end(), {"--out", run.out.string()});
    // What was begun goes on from its checkpoint; what is there without one begins again.
    if (has_checkpoint(run.out))
      words.emplace_back("--resume");
    else if (fs::exists(run.out) && holds_run(run.out))
      words.emplace_back("--overwrite");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const fs::path log = beside(run.out, ".log");
    fs::create_directories(run.out.parent_path());
    const rearm::detail::FileDescriptor output(::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (output.get() < 0) rearm::detail::throw_io(log, "cannot be written", errno);

    // A signal in between would be taken by a handler of ours that nobody in the new process asks.
    constexpr int asking[] = {SIGINT, SIGTERM, SIGHUP};
    sigset_t held_back, before;
    sigemptyset(&held_back);
    for (const int signal : asking) sigaddset(&held_back, signal);
    sigprocmask(SIG_BLOCK, &held_back, &before);
    const ::pid_t parent = ::getpid(), pid = ::fork();
    if (pid == 0) {
      ::setpgid(0, 0);  // a terminal's Ctrl-C is for us; we pass it on once
#if defined(__linux__)
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // or a killed program's runs would go on in folders that the next one needs
#endif
      for (const int signal : asking) {
        struct sigaction action = {};  // what is ignored (nohup) stays so
        if (::sigaction(signal, nullptr, &action) == 0 && action.sa_handler != SIG_IGN) std::signal(signal, SIG_DFL);
      }
      sigprocmask(SIG_SETMASK, &before, nullptr);
      const bool orphan = ::getppid() != parent;
      if (orphan || ::dup2(output.get(), STDOUT_FILENO) < 0 || ::dup2(output.get(), STDERR_FILENO) < 0) ::_exit(126);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    const int failed = errno;
    sigprocmask(SIG_SETMASK, &before, nullptr);
    if (pid < 0) throw IoError(message("cannot start a process: ", std::strerror(failed), "; use fewer --jobs"));
    running_.push_back({index, pid, Clock::now()});
  }

  void watch_memory() {
    if (budget_.memory_bytes == 0) return;
    double sum = 0;
    for (const Running& r : running_) {
      sum += status_of(r.pid, "VmRSS:");
      // What a run needs at most is known once it has been through an epoch.
      const ChildRun& run = runs_[r.index];
      const double peak = status_of(r.pid, "VmHWM:");
      if (peak > known_need(run.kind) && (known_need(run.kind) > 0 || has_checkpoint(run.out))) learn(run.kind, peak);
    }
    const auto young = std::ranges::max_element(running_, {}, &Running::since);
    if (sum <= budget_.memory_bytes || young == running_.end() || young->evicted) return;
    young->evicted = true;
    young->too_large = running_.size() == 1;
    learn(runs_[young->index].kind, status_of(young->pid, "VmHWM:"));
    ::kill(young->pid, young->too_large ? SIGKILL : SIGTERM);
  }

  void collect() {
    for (std::size_t i = 0; i < running_.size();) {
      int status = 0;
      const ::pid_t ended = ::waitpid(running_[i].pid, &status, WNOHANG);
      if (ended == 0 || (ended < 0 && errno == EINTR)) {
        ++i;
        continue;
      }
      const Running r = running_[i];
      running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i));
      finish(r, status);
    }
  }

  void finish(const Running& r, int status) {
    const ChildRun& run = runs_[r.index];
    RunOutcome& outcome = outcomes_[r.index] = outcome_of(run);
    // A run that a signal asks to end saves what it has done, and ends by that signal or with the shell's number for
    // it.
    const int said = WIFSIGNALED(status) ? WTERMSIG(status) : WIFEXITED(status) ? WEXITSTATUS(status) - 128 : 0;
    const bool asked = said == SIGINT || said == SIGTERM || said == SIGHUP;
    if (outcome.state == RunOutcome::State::open) {
      std::string failure;
      if (r.too_large) {
        failure = message("needed more than the ", gigabytes(budget_.memory_bytes), " GB of --memory alone");
      } else if (r.evicted) {
        line_.say(message(run.name, ": ended for now, the runs need more than --memory together"));
        queue_.push_back(r.index);
        return;
      } else if (WIFSIGNALED(status) && !asked && !interrupted()) {
        failure = message("ended by signal ", WTERMSIG(status), " (", ::strsignal(WTERMSIG(status)), ")",
                          WTERMSIG(status) == SIGKILL ? "; was there too little memory? see --memory" : "");
      } else if (WIFEXITED(status) && WEXITSTATUS(status) != 0 && !asked) {
        failure = last_complaint(beside(run.out, ".log"));
        if (failure.empty()) failure = message("ended with status ", WEXITSTATUS(status));
      } else if (WIFEXITED(status) && !asked && !interrupted()) {  // as it would each time
        failure = message("ended without a result; see ", beside(run.out, ".log").string());
      } else {  // it was asked to end, and what it has done is kept
        return;
      }
      write_file_atomically(beside(run.out, ".failed"), [&](std::ostream& file) { file << failure << '\n'; });
      outcome = {RunOutcome::State::failed, {}, failure};
    }
    ++n_done_;
    const double seconds = std::chrono::duration<double>(Clock::now() - r.since).count();
    seconds_ += seconds;
    if (outcome.state == RunOutcome::State::failed) {
      line_.say(message('[', n_done_, '/', runs_.size(), "] ", run.name, " failed: ", outcome.failure));
      return;
    }
    learn(run.kind, outcome.result.value("peak_rss_bytes", 0.0));
    line_.say(message('[', n_done_, '/', runs_.size(), "] ", run.name, ": ", said_(outcome.result), ", ",
                      outcome.result.value("epochs", 0), " epochs, ", duration(seconds), left()));
  }

  static std::string gigabytes(double bytes) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f", bytes / 1e9);
    return text;
  }
  /// What remains if the rest takes as long as what is done.
  std::string left() const {
    const std::size_t rest = runs_.size() - n_done_, here = n_done_ - n_before_;
    if (rest == 0 || here == 0) return {};
    const double each = seconds_ / static_cast<double>(here);
    return "; about " +
           duration(each * static_cast<double>(rest) / std::max(1, std::min(budget_.jobs, static_cast<int>(rest)))) +
           " left";
  }
  void draw() {
    std::string text = message(n_done_, " of ", runs_.size(), " done"), names;
    for (const Running& r : running_) names += (names.empty() ? "; running: " : ", ") + runs_[r.index].name;
    text += names;
    if (std::exchange(shown_, text) == text) return;
    line_.show([text](std::size_t) { return std::vector<LinePart>{{0, text}}; });
  }

  std::span<const ChildRun> runs_;
  RunBudget budget_;
  const std::function<std::string(const nlohmann::json&)>& said_;
  std::vector<RunOutcome> outcomes_;
  StatusLine line_;
  std::string shown_;  ///< on it
  std::deque<std::size_t> queue_;
  std::vector<Running> running_;
  std::map<std::string, double> need_;  ///< most bytes that a run of the kind was seen to hold
  std::set<std::size_t> waited_for_;
  std::size_t n_done_ = 0, n_before_ = 0;
  double seconds_ = 0;
};

}  // namespace

RunOutcome outcome_of(const ChildRun& run) {
  return rearm::detail::with_io_errors([&]() -> RunOutcome {
    const auto finished = [](const fs::path& path) {
      return RunOutcome{
          RunOutcome::State::finished, parse_json_object(rearm::detail::read_text(path), path.string()), {}};
    };
    const fs::path kept = beside(run.out, message('.', run.epochs, ".json").c_str());
    if (run.epochs > 0 && fs::exists(kept)) return finished(kept);
    if (const fs::path why = beside(run.out, ".failed"); fs::exists(why)) {
      std::string text = rearm::detail::read_text(why);
      while (text.ends_with('\n')) text.pop_back();
      return {RunOutcome::State::failed, {}, std::move(text)};
    }
    const fs::path path = run.out / "result.json";
    if (!fs::exists(path) || fs::exists(run.out / ".next" / "commit")) return {};
    RunOutcome out = finished(path);
    if (out.result.value("interrupted", true)) return {};
    if (run.epochs > 0) {
      const auto pointer = nlohmann::json::json_pointer("/settings/train/epochs");
      if (out.result.value(pointer, 0) != run.epochs) return {};  // of the round before
      write_file_atomically(kept, [&](std::ostream& file) { file << out.result.dump(2) << '\n'; });
    }
    return out;
  });
}

std::vector<RunOutcome> run_children(std::span<const ChildRun> runs, const RunBudget& budget,
                                     const std::function<std::string(const nlohmann::json& result)>& said) {
  try {
    return rearm::detail::with_io_errors([&] { return Runner(runs, budget, said).run(); });
  } catch (const nlohmann::json::exception& e) {
    throw DataError(message("result.json of a run is not as rearm writes it: ", e.what()));
  }
}

void require_same_experiment(const fs::path& out, const std::string& name, const nlohmann::ordered_json& record) {
  const fs::path path = out / name;
  if (!fs::exists(path)) {
    if (holds_run(out)) throw ConfigError(out.string() + ": holds a training run; choose another --out");
    return write_file_atomically(path, [&](std::ostream& file) { file << record.dump(2) << '\n'; });
  }
  const nlohmann::json theirs = parse_json_object(rearm::detail::read_text(path), path.string());
  std::string differ;
  for (const char* part : {"asked", "data"}) {
    const nlohmann::json ours = record.at(part), others = theirs.value(part, nlohmann::json::object());
    const bool digests = std::string_view(part) == "data";
    const auto text = [](const nlohmann::json& of, const std::string& key) {
      return of.contains(key) ? of.at(key).dump() : std::string("not there");
    };
    std::set<std::string> keys;
    for (const nlohmann::json* of : {&ours, &others})
      for (const auto& [key, value] : of->items()) keys.insert(key);
    for (const std::string& key : keys) {
      const std::string was = text(others, key), is = text(ours, key);
      if (was == is) continue;
      differ += (differ.empty() ? "" : ", ") + key;
      if (!digests) differ += " (was " + was + ", now " + is + ")";
    }
  }
  if (!differ.empty())
    throw ConfigError(message(out.string(), ": holds runs of something else; what differs: ", differ,
                              "; choose another --out, or go on with the same settings and data"));
}

void forget_failures(const fs::path& out) {
  rearm::detail::with_io_errors([&] {
    for (const std::string& name : rearm::detail::names_in(out / "runs"))
      if (name.ends_with(".failed")) fs::remove(out / "runs" / name);
  });
}

void RunOptions::choose() {
  if (threads == 0) threads = cpu::available_cpus();
  if (jobs == 0) jobs = std::max(1, cpu::available_cpus() / threads);
}

void add_run_options(CLI::App& app, RunOptions& options) {
  app.add_option("--jobs", options.jobs, "runs at a time, 0 for as many as there are CPUs for (0)")
      ->check(decimal())
      ->check(not_negative());
  app.add_option("--threads", options.threads, "threads of each run, 0 for all CPUs (1)")
      ->check(decimal())
      ->check(not_negative());
  app.add_option("--memory", options.gigabytes, "GB of memory that all runs may take together, 0 for no limit (0)")
      ->check(not_negative())
      ->type_name("GB");
  app.add_option("--backend", options.backend, "auto, cpu or cuda")->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  app.add_flag("--retry", options.retry, "run again what failed");
}

ChildRun child_run(const fs::path& out, const std::string& name, const std::string& model, const fs::path& dir,
                   const fs::path& settings, std::uint64_t seed, const RunOptions& options) {
  ChildRun run;
  run.name = name + "-s" + std::to_string(seed);
  run.kind = model;
  run.out = out / "runs" / run.name;
  run.arguments = {dir.string(),
                   "--model",
                   model,
                   "--config",
                   settings.string(),
                   "--seed",
                   std::to_string(seed),
                   "--cache",
                   (out / "cache").string(),
                   "--threads",
                   std::to_string(options.threads),
                   "--backend",
                   options.backend};
  return run;
}

void tell_how_to_go_on() {
  const auto again = [](const std::string& word) { return word.starts_with("--retry"); };
  std::printf("interrupted; what was trained is saved. Continue with:\n  %s\n", typed_line(again).c_str());
}

std::string with_spread(const Spread& spread, int decimals) {
  char mean[400], deviation[400];
  std::snprintf(mean, sizeof mean, "%.*f", decimals, spread.mean);
  std::snprintf(deviation, sizeof deviation, "%.*f", decimals, spread.deviation);
  return spread.n > 1 ? message(mean, " ± ", deviation) : mean;
}

std::filesystem::path own_program() {
  return rearm::detail::with_io_errors([] { return fs::read_symlink("/proc/self/exe"); });
}

}  // namespace rearm::cli
