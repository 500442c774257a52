#pragma once

// Tells when others have committed to the database, without asking it all the time.

#include <chrono>
#include <memory>
#include <string>

namespace tidings {

/// wait() and sleep() belong to one thread; wake() and give_up() may be called from any.
class CommitWatch {
 public:
  /// For the database at `url`, as in DATABASE_URL. Never throws for a database that cannot be reached:
  /// wait() then lasts for its timeout, unless woken.
  [[nodiscard]] static std::unique_ptr<CommitWatch> open(const std::string& url);

  virtual ~CommitWatch();
  CommitWatch(const CommitWatch&) = delete;
  CommitWatch& operator=(const CommitWatch&) = delete;

  /// Returns true when the database should be read, false at wake() or after `timeout` (up to a day).
  virtual bool wait(std::chrono::milliseconds timeout) = 0;
  /// The read that wait() asked for found something: there may be more soon.
  virtual void found() noexcept {}
  /// Returns at wake() or after `timeout`, whatever is written.
  virtual void sleep(std::chrono::milliseconds timeout);
  void wake() noexcept;
  /// Thread-safe: no database is asked any more; what a thread waits for from it fails.
  virtual void give_up() noexcept {}

 protected:
  using Clock = std::chrono::steady_clock;

  /// Throws a retryable Error when the process may have no more descriptors.
  CommitWatch();

  [[nodiscard]] static Clock::time_point deadline_after(std::chrono::milliseconds timeout);
  /// True once for all that wake() was called since the last time.
  bool take_wake() noexcept;
  /// Returns at wake(), when `descriptor` (-1: none) can be read, or after `duration`.
  void poll(Clock::duration duration, int descriptor) const;

 private:
  static std::unique_ptr<CommitWatch> open_file(const std::string& path);
  static std::unique_ptr<CommitWatch> open_postgres(const std::string& url);

  int wakes_;  // an eventfd
};

}  // namespace tidings
