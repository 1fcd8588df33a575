#pragma once
/// @file mpi.hpp
/// Ranks that are processes, on one machine or several, connected by MPI: `mpirun -n 4 PROGRAM`. Needs an MPI library
/// (CMake: REARM_MPI, or the component `MPI` of find_package).

#include <rearm/backend/cpu/available_cpus.hpp>
#include <rearm/core/communicator.hpp>

#include <mpi.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace rearm::REARM_ABI {

namespace detail {
/// Throws RankError for a call of MPI that failed.
inline void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw RankError(message(call, " failed: ", std::string(text, static_cast<std::size_t>(length))));
}
}  // namespace detail

/// MPI from its beginning to its end, in a process: make one in main, before threads. Only the thread that made it may
/// use communicators of MPI. A process that was started without mpirun is alone.
class MpiSession {
 public:
  MpiSession() {
    int given = 0;
    detail::check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &given), "MPI_Init_thread");
    if (given < MPI_THREAD_FUNNELED) throw RankError("this MPI library allows no threads beside the one that calls it");
  }
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;
  ~MpiSession() { MPI_Finalize(); }
  /// Ends all ranks at once; mpirun then has this status.
  [[noreturn]] static void abort(int status) {
    MPI_Abort(MPI_COMM_WORLD, status);
    std::abort();
  }
  /// Threads of each rank, so that those on one machine share the CPUs that they may use.
  static int threads_a_rank() {
    MPI_Comm here = MPI_COMM_NULL;
    detail::check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &here),
                      "MPI_Comm_split_type");
    int n = 1;
    detail::check_mpi(MPI_Comm_size(here, &n), "MPI_Comm_size");
    MPI_Comm_free(&here);
    const int all = std::max(1, static_cast<int>(std::thread::hardware_concurrency()) / n);
    return std::min(cpu::available_cpus(), all);  // a launcher may have bound ranks to CPUs of their own
  }
  static int rank() { return of(MPI_Comm_rank); }
  static int size() { return of(MPI_Comm_size); }

 private:
  template <class F>
  static int of(const F& f) {
    int value = 0;
    detail::check_mpi(f(MPI_COMM_WORLD, &value), "MPI_COMM_WORLD");
    return value;
  }
};

/// All processes of a session. Messages are sent between every two ranks in pieces, since the collectives of MPI 3
/// count in 32 bits; all are under way at once.
class MpiRanks final : public Communicator {
 public:
  explicit MpiRanks(const MpiSession& session) : Communicator(session.rank(), session.size()) {
    detail::check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &all_), "MPI_Comm_dup");
    MPI_Comm_set_errhandler(all_, MPI_ERRORS_RETURN);
  }
  ~MpiRanks() override { MPI_Comm_free(&all_); }

 protected:
  void transfer(std::span<const std::span<const std::byte>> send,
                std::span<const std::span<std::byte>> receive) override {
    requests_.clear();
    expected_.clear();
    const auto in_pieces = [&](std::size_t size, const char* call, bool receives, const auto& f) {
      constexpr std::size_t most = std::size_t{1} << 30;
      for (std::size_t at = 0; at < size; at += most) {
        const int n = static_cast<int>(std::min(most, size - at));
        expected_.push_back(receives ? n : -1);
        detail::check_mpi(f(at, n, requests_.emplace_back()), call);
      }
    };
    // Each rank begins with its next one, so that not all speak to the same.
    for (int step = 1; step < size(); ++step) {
      const int from = (rank() + size() - step) % size(), to = (rank() + step) % size();
      const std::span<std::byte> in = receive[static_cast<std::size_t>(from)];
      const std::span<const std::byte> out = send[static_cast<std::size_t>(to)];
      in_pieces(in.size(), "MPI_Irecv", true, [&](std::size_t at, int n, MPI_Request& request) {
        return MPI_Irecv(in.data() + at, n, MPI_BYTE, from, 0, all_, &request);
      });
      in_pieces(out.size(), "MPI_Isend", false, [&](std::size_t at, int n, MPI_Request& request) {
        return MPI_Isend(out.data() + at, n, MPI_BYTE, to, 0, all_, &request);
      });
    }
    statuses_.resize(requests_.size());
    detail::check_mpi(MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), statuses_.data()),
                      "MPI_Waitall");
    for (std::size_t i = 0; i < expected_.size(); ++i) {
      int n = 0;
      if (expected_[i] < 0) continue;
      detail::check_mpi(MPI_Get_count(&statuses_[i], MPI_BYTE, &n), "MPI_Get_count");
      if (n != expected_[i])
        throw RankError(detail::message("rank ", rank(), " expected ", expected_[i], " bytes of rank ",
                                        statuses_[i].MPI_SOURCE, " but got ", n, "; the ranks do not do the same"));
    }
  }

 private:
  MPI_Comm all_ = MPI_COMM_NULL;
  std::vector<MPI_Request> requests_;
  std::vector<MPI_Status> statuses_;
  std::vector<int> expected_;  ///< bytes of the receives; -1 for what is sent
};

}  // namespace rearm::REARM_ABI
