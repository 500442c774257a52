#pragma once

// Who of a strict group's instances is at work, in the inbox's database: one holds the tenure, and beats so
// that the others see it. What it commits is checked against the tenure (Inbox::fence), so that the commits
// of an owner that was frozen past its lease have no effect.

#include <tidings/error.hpp>

#include <cstdint>
#include <string>

namespace tidings {

/// Another instance has the tenure: what was to be committed was rolled back.
struct TenureLost : Error {
  TenureLost() : Error("another instance of the group has taken over: nothing was committed") {}
};

/// On a connection of its own, since a long handler has the inbox's. One of two threads at a time. All throw
/// DatabaseError, retryable for a lock or an outage.
class TenureStore {
 public:
  struct Seen {
    std::string tenure;  ///< empty: nobody has it
    std::int64_t beat = 0;

    friend bool operator==(const Seen&, const Seen&) = default;
  };

  virtual ~TenureStore() = default;

  /// Never waits for a lock.
  [[nodiscard]] virtual Seen look() = 0;
  /// Throws as well where the owner may not have been able to beat, for a lock that was met here.
  /// Ends what the owner before still has open, where the database can, and waits for its commits. False when
  /// what is `seen` is not true any more.
  [[nodiscard]] virtual bool take(const Seen& seen, const std::string& tenure) = 0;
  /// False when another has the tenure.
  [[nodiscard]] virtual bool beat(const std::string& tenure) = 0;
  /// No effect when another has it.
  virtual void release(const std::string& tenure) = 0;
};

/// A random one: the numbers of a standby that lags could be given out twice.
[[nodiscard]] std::string new_tenure();

}  // namespace tidings
