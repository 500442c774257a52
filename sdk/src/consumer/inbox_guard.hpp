#pragma once

// Work in the inbox that leaves nothing behind when it throws.

#include "consumer/inbox_unavailable.hpp"
#include "inbox/inbox.hpp"

#include <tidings/error.hpp>

#include <exception>
#include <string>
#include <utility>

namespace tidings {

/// Rolls back when `work` throws. Throws InboxUnavailable for a transient error of the database, and
/// DatabaseError for another one.
template <class Work>
auto guarded(Inbox& inbox, Work&& work) {
  try {
    return std::forward<Work>(work)();
  } catch (const InboxUnavailable&) {
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

}  // namespace tidings
