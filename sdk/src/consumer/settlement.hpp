#pragma once

// What is to become of a message once the inbox has committed, and the rules by
// which a handler's exception decides it.

#include "inbox/inbox.hpp"

#include <tidings/consumer_options.hpp>

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace tidings {

struct Settlement {
  enum class Kind {
    handled,
    duplicate,
    ignored,
    retry,
    held_back,    ///< not started: an earlier event of its aggregate waits for its retry
    fenced,       ///< its handler ended too late, the message belongs to a later delivery of it
    not_started,  ///< at a stop, or while no worker is left
    dead_letter
  };
  Kind kind = Kind::handled;
  std::chrono::milliseconds delay{};  ///< of a retry, and of one that was not started
  std::string reason{};               ///< of a retry or dead letter
  int attempts = 0;                   ///< handler starts so far
  std::chrono::nanoseconds took{};    ///< by the handler
};

/// The inbox's database is in trouble (locked, full, gone): nothing was committed and no
/// attempt used; try the same messages again.
class InboxUnavailable : public Error {
 public:
  explicit InboxUnavailable(const std::string& what) : Error("inbox: " + what, Retry::yes) {}
};

/// Handlers by type, each with how it is tried again.
class Handlers {
 public:
  struct Entry {
    std::function<void(const Delivery&)> handle;
    RetryPolicy retry{};
  };

  /// False when the type has one already.
  bool add(const std::string& type, Entry entry) { return entries_.emplace(type, std::move(entry)).second; }
  [[nodiscard]] const Entry* find(const std::string& type) const;
  [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }

 private:
  std::map<std::string, Entry, std::less<>> entries_;
};

/// Does no I/O.
class FailurePolicy {
 public:
  explicit FailurePolicy(const ConsumerOptions& options) : options_(options) {}

  [[nodiscard]] int max_attempts(const Handlers::Entry& entry) const {
    return entry.retry.max_attempts.value_or(options_.max_attempts);
  }
  /// Of a type that no handler takes.
  [[nodiscard]] Settlement unhandled(const Delivery& delivery) const;
  /// Inside of a catch block, of what the handler has thrown.
  [[nodiscard]] Settlement current_exception(const Delivery& delivery, const Handlers::Entry& entry) const;
  /// A failed attempt: a retry, or a dead letter when it was the last. Without a delay, that of the backoff.
  [[nodiscard]] Settlement failed(const Delivery& delivery, const Handlers::Entry& entry, std::string reason,
                                  std::optional<std::chrono::milliseconds> delay = {}) const;
  /// The handler took longer than it may.
  [[nodiscard]] Settlement overdue(const Delivery& delivery, const Handlers::Entry& entry) const;

 private:
  const ConsumerOptions& options_;
};

/// The count of an event's starts when it is to be started again, and what the inbox keeps meanwhile. A start
/// whose process ended blames nobody while others ran beside it: the event is a suspect, and is started alone
/// from then on. Once it has ended a process alone, too, the first one was its doing.
class AttemptRecord {
 public:
  /// `in_crowd_before`: it was started beside others, of which the inbox has kept nothing.
  AttemptRecord(Inbox::Attempts attempts, bool in_crowd_before);

  [[nodiscard]] bool suspect() const noexcept { return in_crowd_ || after_crowd_ || alone_; }
  /// AttemptRecord that failed or ended a process.
  [[nodiscard]] int failed() const noexcept { return attempts_.starts + (after_crowd_ ? 1 : 0); }
  /// No handler is to run again: it failed so often, or was rejected, and its dead letter could not be
  /// stored.
  [[nodiscard]] bool over(int max_attempts) const noexcept { return dead_ || failed() >= max_attempts; }
  /// Of the latest.
  [[nodiscard]] std::string reason() const;
  /// The number of the start to come, as its handler is told.
  [[nodiscard]] int next() const noexcept { return attempts_.starts + 1; }

  [[nodiscard]] Inbox::Attempts before() const { return attempts_; }
  // What the inbox is to keep while the event runs.
  [[nodiscard]] Inbox::Attempts alone() const;
  [[nodiscard]] Inbox::Attempts in_crowd() const;
  /// What it keeps after a start that failed.
  [[nodiscard]] static Inbox::Attempts after(const Delivery& delivery, const Settlement& settlement);

 private:
  Inbox::Attempts attempts_;
  bool in_crowd_, after_crowd_, alone_, dead_;
};

}  // namespace tidings
