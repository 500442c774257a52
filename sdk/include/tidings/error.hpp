#pragma once

// One base for everything that Tidings throws: it tells what is worth trying again from what is not.

#include <stdexcept>
#include <string>

namespace tidings {

class Error : public std::runtime_error {
 public:
  enum class Retry { no, yes };

  explicit Error(const std::string& what, Retry retry = Retry::no)
      : std::runtime_error(what), retryable_(retry == Retry::yes) {}

  /// True when the cause lies outside of the request (broker or database away, lock held by another): the
  /// same call may succeed later.
  [[nodiscard]] bool retryable() const noexcept { return retryable_; }

 private:
  bool retryable_;
};

/// A setting, flag or option that cannot be used. Names it, the value and what it takes.
struct SettingError : Error {
  using Error::Error;
};

/// NATS said no or did not answer.
struct NatsError : Error {
  using Error::Error;
};

/// The database said no. Retryable for a lock, a full disk, a lost connection.
struct DatabaseError : Error {
  using Error::Error;
};

}  // namespace tidings
