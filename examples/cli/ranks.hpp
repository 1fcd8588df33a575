#pragma once
/// @file ranks.hpp
/// The processes of a program that mpirun has started: which commands run on several, who prints, and how all end.

#include "status_line.hpp"

#include <rearm/core/communicator.hpp>

#if defined(REARM_MPI_PROGRAM)
#include <rearm/backend/cpu/mpi.hpp>
#endif

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>

namespace rearm::cli {

namespace detail {
inline Communicator* ranks = nullptr;
}  // namespace detail

/// Null unless there are several.
inline Communicator* ranks() { return detail::ranks; }
/// Whether this process is the one that prints and writes.
inline bool first_rank() { return ranks() == nullptr || ranks()->rank() == 0; }

/// Number of processes that an MPI launcher says it has started; 1 without one.
inline int launched() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"})
    if (const char* const said = std::getenv(name); said != nullptr) return std::atoi(said);
  return 1;
}

/// One for the program, in main.
class RankSession {
 public:
  RankSession() {
#if defined(REARM_MPI_PROGRAM)
    if (launched() < 2 && std::getenv("PMIX_RANK") == nullptr) return;  // starting MPI takes its time
    session_.emplace();
    if (session_->size() < 2) return;
    all_.emplace(*session_);
    detail::ranks = &*all_;
    if (first_rank()) return;
    StatusLine::silent = true;
    if (std::freopen("/dev/null", "w", stdout) == nullptr) std::abort();
#endif
  }
  RankSession(const RankSession&) = delete;
  RankSession& operator=(const RankSession&) = delete;
  ~RankSession() { detail::ranks = nullptr; }
  /// Throws ConfigError for a command that one process runs, and where this program cannot be one of several.
  static void require_alone(const std::string& command) {
    if (launched() > 1)
      throw ConfigError(rearm::detail::message("rearm ", command, " runs as one process: call it without mpirun"));
  }
  static void require_ranks() {
    if (launched() > 1 && ranks() == nullptr)
      throw ConfigError(rearm::detail::message("mpirun has started ", launched(),
                                               " processes, but this program was built without MPI: build with `cmake "
                                               "-D REARM_MPI=ON`, or start one process"));
  }
  /// Of a context in this process, where nobody says it: the CPUs of a machine are shared by the ranks on it.
  static int threads() {
#if defined(REARM_MPI_PROGRAM)
    if (ranks() != nullptr) return MpiSession::threads_a_rank();
#endif
    return 0;
  }

 private:
#if defined(REARM_MPI_PROGRAM)
  std::optional<MpiSession> session_;
  std::optional<MpiRanks> all_;
#endif
};

/// Whoever has done its part waits until all have: a process that ends, by a signal it has answered, would end others.
class EndTogether {
 public:
  EndTogether() = default;
  EndTogether(const EndTogether&) = delete;
  EndTogether& operator=(const EndTogether&) = delete;
  ~EndTogether() {
    if (ranks() == nullptr || std::uncaught_exceptions() > 0) return;
    try {
      ranks()->barrier();
    } catch (const RankError&) {  // one of them is gone, as this one is about to be
    }
  }
};

/// What begins a message, so that it names the rank.
inline std::string rank_prefix() {
  return ranks() == nullptr ? "" : rearm::detail::message("rank ", ranks()->rank(), " of ", ranks()->size(), ": ");
}
/// Before an error is printed: what all ranks found at once, rank 0 says, which ends the others before they do.
inline void let_first_rank_speak() {
  if (!first_rank()) ::sleep(1);
}
/// After it: no rank goes on without this one.
inline void end_all_ranks([[maybe_unused]] int status) {
  if (ranks() == nullptr) return;
  std::fflush(nullptr);
#if defined(REARM_MPI_PROGRAM)
  MpiSession::abort(status);
#endif
}

}  // namespace rearm::cli
