#pragma once
/// @file child_runs.hpp
/// Many training runs, each a process `rearm train` with a folder of its own, within a budget of processes and memory.
/// What a run has reached is read from its folder, so nothing is lost or done twice whenever this program is killed.

#include <rearm/eval/significance.hpp>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace rearm::cli {

/// A run that is to be there.
struct ChildRun {
  std::string name;                    ///< for people
  std::string kind;                    ///< runs of one kind, those of one model, take about the same memory
  std::filesystem::path out;           ///< its folder; what it prints goes to `out`.log, why it failed to `out`.failed
  std::vector<std::string> arguments;  ///< of `rearm train`, without --out, --resume and --overwrite
  /// Of a run that goes on in rounds, the epochs that this round ends with: what it had reached then is kept in
  /// `out`.<epochs>.json. 0: the run is one.
  int epochs = 0;
};

/// What a run has come to.
struct RunOutcome {
  enum class State { open, finished, failed } state = State::open;
  nlohmann::json result;  ///< result.json, of a finished one
  std::string failure;    ///< why it failed, one line
};

struct RunBudget {
  int jobs = 1;
  double memory_bytes = 0;  ///< of all processes together; 0: no limit
};

/// What commands that run many are told of it.
struct RunOptions {
  int jobs = 0;          ///< 0: as many as there are CPUs for
  int threads = 1;       ///< of each run; 0: all CPUs
  double gigabytes = 0;  ///< of all processes together; 0: no limit
  std::string backend = "auto";
  bool retry = false;  ///< run again what failed

  /// Sets what is 0 by the CPUs that may be used.
  void choose();
  RunBudget budget() const { return {jobs, 1e9 * gigabytes}; }
};
/// --jobs, --threads, --memory, --backend, --retry.
void add_run_options(CLI::App& app, RunOptions& options);

/// The run OUT/runs/<name>-s<seed> of a model with the settings of a file, on the data set in `dir`.
ChildRun child_run(const std::filesystem::path& out, const std::string& name, const std::string& model,
                   const std::filesystem::path& dir, const std::filesystem::path& settings, std::uint64_t seed,
                   const RunOptions& options);

/// What the files say. Throws IoError or DataError if they cannot be read.
RunOutcome outcome_of(const ChildRun& run);

/// Runs those that are open; those that were begun go on where they were. A run that fails leaves the others alone.
/// With a limit of memory, a run begins when what runs of its kind were seen to need is free, the first of a kind alone
/// until its first checkpoint; if they need more than the limit together, the youngest ends and goes on later; one that
/// needs more than all of it has failed. Progress goes to stderr, a line a run; `said(result)` is what it says of a
/// finished one. A signal is passed on, and the runs' ends are waited for. Returns the outcomes in the order of `runs`;
/// those of interrupted ones are open.
std::vector<RunOutcome> run_children(std::span<const ChildRun> runs, const RunBudget& budget,
                                     const std::function<std::string(const nlohmann::json& result)>& said);

/// Writes `record` into the folder's file `name`; if it is there already it must be the same. `record` has objects
/// `asked`, what the runs are of, and `data`, digests. Throws ConfigError saying what differs, or that the folder holds
/// a training run.
void require_same_experiment(const std::filesystem::path& out, const std::string& name,
                             const nlohmann::ordered_json& record);
/// Makes failed runs in OUT/runs open.
void forget_failures(const std::filesystem::path& out);
/// Prints the line that continues what was interrupted.
void tell_how_to_go_on();

/// "0.1234 ± 0.0056" with that many decimals; of one value it alone.
std::string with_spread(const Spread& spread, int decimals);

/// The file of this program.
std::filesystem::path own_program();

}  // namespace rearm::cli
