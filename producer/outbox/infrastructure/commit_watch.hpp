#pragma once

// Tells when others have committed to the database, without asking it all the time.

#include <chrono>
#include <memory>
#include <string>

namespace tidings {

/// wait() and sleep() belong to one thread; wake() may be called from any.
class CommitWatch {
 public:
  /// For the database at `url`, as in DATABASE_URL. Never throws for a database that cannot be reached:
  /// wait() then lasts for its timeout, unless woken.
  [[nodiscard]] static std::unique_ptr<CommitWatch> open(const std::string& url);

  CommitWatch() = default;
  virtual ~CommitWatch() = default;
  CommitWatch(const CommitWatch&) = delete;
  CommitWatch& operator=(const CommitWatch&) = delete;

  /// Returns when the database should be read, at wake(), or after `timeout`. True when it should be read.
  virtual bool wait(std::chrono::milliseconds timeout) = 0;
  /// The read that wait() asked for found something: there may be more soon.
  virtual void found() noexcept {}
  /// Returns at wake() or after `timeout`, whatever is written.
  virtual void sleep(std::chrono::milliseconds timeout) = 0;
  virtual void wake() noexcept = 0;
};

}  // namespace tidings
