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
  /// (up to a day). True when a write makes the database worth a look, but no sooner than 1 ms after
  /// the last write did; and, as the write of a commit is seen before the commit is (its fsync comes
  /// between), a few more times in the second after each write.
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
  void look_soon(Clock::time_point now);
  void look_again_later(Clock::time_point now);
  void poll(Clock::duration duration, bool for_writes) const;

  std::string file_name_;
  int inotify_ = -1;
  int event_ = -1;
  Clock::time_point look_at_ = Clock::time_point::max();  ///< the next look that is due without a new event
  Clock::time_point asked_at_{};                          ///< when a write last asked for a look
  Clock::duration pause_{};  ///< between the look that is due and the one after it
};

}  // namespace tidings
