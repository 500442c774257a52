#pragma once

// Work in the inbox that leaves nothing behind when it throws.

#include "inbox/inbox.hpp"

#include <tidings/error.hpp>

#include <exception>
#include <string>
#include <utility>

namespace tidings {

/// A transient error of the inbox's database (locked, full, gone): nothing was committed and no attempt used.
/// Try the same messages again.
class InboxUnavailable : public Error {
 public:
  explicit InboxUnavailable(const std::string& what) : Error("inbox: " + what, Retry::yes) {}
};

/// The same for an error that a handler has thrown: it may also come from something else that the handler
/// uses.
class HandlerUnavailable : public InboxUnavailable {
 public:
  HandlerUnavailable(const std::string& type, const std::string& what)
      : InboxUnavailable(what + " (thrown by the handler of " + type + ")") {}
};

/// While it lives, the inbox counts as waiting for its database, except while a handler runs: see
/// BatchExecutor::run().
class InboxWait {
 public:
  explicit InboxWait(Inbox& inbox) : inbox_(inbox) { inbox_.waits(true); }
  ~InboxWait() { inbox_.waits(false); }

 private:
  Inbox& inbox_;
};

/// Rolls back when `work` throws. Throws InboxUnavailable for a transient error of the database, and
/// DatabaseError for another one; TenureLost passes through.
template <class Work>
auto guarded(Inbox& inbox, Work&& work) {
  const InboxWait wait{inbox};
  try {
    return std::forward<Work>(work)();
  } catch (const InboxUnavailable&) {
    inbox.rollback();
    throw;
  } catch (const TenureLost&) {
    inbox.rollback();
    throw;
  } catch (const std::exception& error) {
    inbox.rollback();
    if (inbox.is_transient(error)) throw InboxUnavailable(error.what());
    throw DatabaseError(std::string("inbox: ") + error.what());
  } catch (...) {
    inbox.rollback();
    throw;
  }
}

/// The same in a transaction, which is committed when `work` returns.
template <class Work>
void transact(Inbox& inbox, Work&& work) {
  guarded(inbox, [&] {
    inbox.begin();
    work();
    inbox.commit();
  });
}

}  // namespace tidings
