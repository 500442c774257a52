#pragma once

// Tells when another process, or another connection of this one, has written to
// the database file: inotify on the file and its WAL. Says nothing of what was written.

#include "infrastructure/commit_watch.hpp"

#include <chrono>
#include <string>
#include <string_view>

namespace tidings {

class FileCommitWatch final : public CommitWatch {
 public:
  /// Watches the folder of `path`, since WAL and journal come and go. Where inotify cannot be
  /// had (out of watches), wait() simply lasts for its timeout, unless woken.
  explicit FileCommitWatch(const std::string& path);
  ~FileCommitWatch() override;

  /// Returns at the next write to the database since the last call, at wake(), or after `timeout`
  /// (up to a day). True when the database should be read after a write, at most once a millisecond;
  /// and, as the write of a commit is seen before the commit is (its fsync comes between), a few more
  /// times in the second after each write.
  bool wait(std::chrono::milliseconds timeout) override;
  void sleep(std::chrono::milliseconds timeout) override;
  void wake() noexcept override;

 private:
  using Clock = std::chrono::steady_clock;

  bool start(const std::string& folder);
  void stop(const std::string& reason);
  bool drain_inotify();
  bool take_wake() noexcept;
  [[nodiscard]] bool is_ours(std::string_view name) const noexcept;
  void read_soon(Clock::time_point now);
  void read_again_later(Clock::time_point now);
  void poll(Clock::duration duration, bool for_writes) const;

  std::string file_name_;
  int inotify_ = -1;
  int event_ = -1;
  Clock::time_point read_at_ = Clock::time_point::max();  ///< when the next read is due without a new event
  Clock::time_point asked_at_{};                          ///< when a write last asked for a read
  Clock::duration pause_{};  ///< between the read that is due and the one after it
};

}  // namespace tidings
