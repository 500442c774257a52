#pragma once

// What can go wrong with an inbox of either kind: locks that others hold on it or on what handlers write
// beside it, a full disk, rows that it does not take.

#include "support/test_inbox.hpp"

#include <memory>
#include <string>

namespace tidings::test {

/// Another session that lets nobody write to the inbox that is called inbox, while this lives.
class InboxLock {
 public:
  explicit InboxLock(const InboxPlace& place);
  ~InboxLock();
  InboxLock(const InboxLock&) = delete;
  InboxLock& operator=(const InboxLock&) = delete;

 private:
  struct Session;
  std::unique_ptr<Session> session_;
};

/// Part of the error of a statement that waited for a lock in vain.
[[nodiscard]] std::string lock_error();

/// Waits for locks for a second at most, not for five.
void be_impatient(TestInbox& inbox);
/// Not even that long.
void wait_for_nothing(TestInbox& inbox);

/// Where handlers write on connections of their own.
class OtherDatabase {
 public:
  explicit OtherDatabase(const InboxPlace& place);
  ~OtherDatabase();
  OtherDatabase(const OtherDatabase&) = delete;
  OtherDatabase& operator=(const OtherDatabase&) = delete;

  void write() const;  ///< does not wait for a lock
  // Thread-safe.
  void lock();
  void unlock();

 private:
  struct Session;
  std::string location_;
  std::unique_ptr<Session> session_;
};

/// The disk is full: no start can be recorded beyond the fifth.
void make_full(TestInbox& inbox);
void make_room(TestInbox& inbox);

/// No start of the event b can be recorded.
void refuse_b(TestInbox& inbox);
void take_b(TestInbox& inbox);

}  // namespace tidings::test
