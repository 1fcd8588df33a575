#pragma once
/// @file thread_ranks.hpp
/// Ranks that are threads of one process: how everything that ranks do is tested.

#include <rearm/core/communicator.hpp>

#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <exception>
#include <mutex>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace rearm::REARM_ABI {

namespace cpu {

/// Where the ranks of one process meet.
class RankMeeting {
 public:
  using Parts = std::span<const std::span<const std::byte>>;

  explicit RankMeeting(int size) : size_(size), sends_(static_cast<std::size_t>(size)) {}

  void transfer(int rank, Parts send, std::span<const std::span<std::byte>> receive) {
    sends_[static_cast<std::size_t>(rank)] = send;
    meet();
    const auto own = static_cast<std::size_t>(rank);
    std::size_t other = own, got = 0;  // of whom there came another length
    for (std::size_t q = 0; q < sends_.size(); ++q) {
      if (q == own) continue;
      const std::span<const std::byte> from = sends_[q][own];
      if (from.size() != receive[q].size())
        other = q, got = from.size();
      else if (!from.empty())
        std::memcpy(receive[q].data(), from.data(), from.size());
    }
    meet();  // nobody leaves, not by an exception either, before all have read what it sends
    if (other != own)
      throw RankError(detail::message("rank ", rank, " expected ", receive[other].size(), " bytes of rank ", other,
                                      " but got ", got, "; the ranks do not do the same"));
  }
  /// Ends every wait: with an error where somebody waits for this rank.
  void leave(int rank, const std::string& why) {
    const std::lock_guard lock(mutex_);
    if (left_.empty()) left_ = detail::message("rank ", rank, " of ", size_, why);
    changed_.notify_all();
  }

 private:
  void meet() {
    std::unique_lock lock(mutex_);
    const std::uint64_t now = meeting_;
    if (left_.empty() && ++here_ == size_) {
      here_ = 0;
      ++meeting_;
      changed_.notify_all();
      return;
    }
    changed_.wait(lock, [&] { return meeting_ != now || !left_.empty(); });
    if (meeting_ == now) throw RankError(left_);
  }
  int size_;
  std::vector<Parts> sends_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t meeting_ = 0;
  int here_ = 0;
  std::string left_;
};

class ThreadRank final : public Communicator {
 public:
  ThreadRank(RankMeeting& meeting, int rank, int size) : Communicator(rank, size), meeting_(meeting) {}

 protected:
  void transfer(std::span<const std::span<const std::byte>> send,
                std::span<const std::span<std::byte>> receive) override {
    meeting_.transfer(rank(), send, receive);
  }

 private:
  RankMeeting& meeting_;
};

}  // namespace cpu

/// f(Communicator&) on `size` threads, each of which is a rank, with a context of its own for what it computes. A rank
/// that throws ends the others' waits; then a RankError that names it, with its message, is thrown here.
template <class F>
void run_ranks(int size, const F& f) {
  if (size < 1) throw ConfigError(detail::message("run_ranks: size = ", size, ": must be at least 1"));
  cpu::RankMeeting meeting(size);
  std::vector<std::string> failed(static_cast<std::size_t>(size)), stopped(failed);
  std::vector<std::thread> threads;
  const auto run = [&](int rank) {
    const auto i = static_cast<std::size_t>(rank);
    try {
      cpu::ThreadRank ranks(meeting, rank, size);
      f(static_cast<Communicator&>(ranks));
      meeting.leave(rank, " has ended while others wait for it");
      return;
    } catch (const RankError& e) {
      stopped[i] = e.what();
    } catch (const std::exception& e) {
      failed[i] = detail::message("rank ", rank, " of ", size, ": ", e.what());
    } catch (...) {
      failed[i] = detail::message("rank ", rank, " of ", size, ": threw something that is no std::exception");
    }
    meeting.leave(rank, ": " + (failed[i].empty() ? stopped[i] : failed[i]));
  };
  for (int rank = 0; rank < size; ++rank) try {
      threads.emplace_back(run, rank);
    } catch (const std::system_error& e) {
      failed[static_cast<std::size_t>(rank)] =
          detail::message("rank ", rank, " of ", size, " got no thread: ", e.what());
      meeting.leave(rank, " got no thread");
      break;
    }
  for (std::thread& thread : threads) thread.join();
  for (const auto* texts : {&failed, &stopped})
    for (const std::string& text : *texts)
      if (!text.empty()) throw RankError(text);
}

}  // namespace rearm::REARM_ABI
