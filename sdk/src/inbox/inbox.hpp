#pragma once

// What the engine needs from an inbox: an event's identity and its handler's writes are committed together,
// so that each event takes effect once. Users choose SqliteInbox or PostgresInbox and see none of this.

#include "inbox/event_key.hpp"
#include "inbox/tenure_store.hpp"

#include <tidings/timestamp.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tidings {

class Inbox {
 public:
  using Clock = std::chrono::steady_clock;

  /// What is kept of an event whose handler was started and has not succeeded yet.
  struct Attempts {
    enum class State {
      running_in_batch,              ///< started among others
      running_isolated,              ///< started with nothing beside it
      running_isolated_after_batch,  ///< the same, after a process that ended while it ran among others
      failed,                        ///< will be tried again
      dead_letter                    ///< no handler runs again
    };
    int starts = 0;  ///< of its handler; not those in a batch that were not seen to end
    State state = State::failed;
    std::string reason{};                     ///< why it failed; empty while it runs
    std::optional<Timestamp> next_attempt{};  ///< when a failed one is to be tried again
    /// Of a dead letter: when its stream stored the message. Another message with the same event begins anew.
    std::optional<Timestamp> message_stored_at{};

    friend bool operator==(const Attempts&, const Attempts&) = default;
  };

  virtual ~Inbox() = default;

  /// Binds this inbox to one group; called first, and once. Throws Error when another consumer uses this
  /// object.
  virtual void join(const std::string& group) = 0;

  /// Whether the group's order is strict, as its first strict instance has noted here.
  [[nodiscard]] virtual bool is_strict() = 0;
  /// Notes that it is, for good.
  virtual void make_strict() = 0;
  /// Of a strict group. No call on it waits longer than `patience` for a lock.
  [[nodiscard]] virtual std::unique_ptr<TenureStore> open_tenures(std::chrono::milliseconds patience) = 0;
  /// From now on the last statement before each commit() checks this tenure, under a lock that
  /// TenureStore::take() waits for; commit() throws TenureLost when another has it. Empty: no check.
  virtual void fence(const std::string& tenure) = 0;

  virtual void begin() = 0;
  virtual void commit() = 0;
  virtual void rollback() noexcept = 0;

  /// False once the transaction that was begun has been lost, with the connection or by an error.
  [[nodiscard]] virtual bool in_transaction() const noexcept = 0;

  /// Inside a transaction: what follows can be undone alone, or kept.
  virtual void savepoint() = 0;
  virtual void release_savepoint() = 0;
  virtual void rollback_to_savepoint() = 0;

  /// Inside a transaction: these are about to be claimed. One statement may serve them all; those that are
  /// not claimed in the end leave no row.
  virtual void claim_ahead(const std::vector<EventIdentity>& /*events*/) {}
  /// False where a claim costs no round trip: then it is not called.
  [[nodiscard]] virtual bool claims_ahead() const noexcept { return false; }

  /// Whether no other instance can handle anything while a handler holds its transaction open.
  [[nodiscard]] virtual bool transaction_locks_all() const noexcept { return false; }

  /// Why what is committed from now on would not last; empty while all is well, and final. Then begin() and
  /// commit() throw a transient error, so that nothing is acked.
  [[nodiscard]] virtual std::string lost() { return {}; }

  /// Since when the consumer's thread has waited for the database, as far as it knows. Thread-safe.
  void waits(bool waits) noexcept { waits_since_ = waits ? Clock::now().time_since_epoch().count() : 0; }
  [[nodiscard]] std::optional<Clock::time_point> waits_since() const noexcept {
    const auto since = waits_since_.load();
    return since == 0 ? std::nullopt : std::optional{Clock::time_point{Clock::duration{since}}};
  }
  /// Where the database can be cut off: what another thread does in it fails now, and its locks are free.
  /// Thread-safe.
  virtual void interrupt() noexcept {}

  /// Called after a handler. Throws when the handler has hidden that a statement failed, and with it the
  /// transaction, or when it has ended the transaction or tried to.
  virtual void require_sound() const {}
  /// Called after a handler that has thrown: what its error does not say. Empty when there is nothing to add.
  [[nodiscard]] virtual std::string remark_on_failure() const { return {}; }

  /// Writes the event's row. False when it is there already: handled before. Before the handler's savepoint:
  /// within it, SQLite would copy the page for each event, which cost a tenth of the throughput.
  [[nodiscard]] virtual bool claim(const EventIdentity& event) = 0;
  /// Undoes the last claim of this transaction.
  virtual void unclaim() = 0;
  [[nodiscard]] virtual bool handled(const EventIdentity& event) = 0;

  /// Empty when nothing has failed or is running.
  [[nodiscard]] virtual std::optional<Attempts> attempts(const EventIdentity& event) = 0;
  virtual void record_attempts(const EventIdentity& event, const Attempts& attempts) = 0;
  virtual void forget_attempts(const EventIdentity& event) = 0;

  /// Up to where the group has settled everything on a stream, as the server has last told. The durable that
  /// knew it may be gone.
  struct Position {
    std::string stream_created;  ///< as the server writes it: it tells streams of one name apart
    std::uint64_t settled_to = 0;

    friend bool operator==(const Position&, const Position&) = default;
  };
  /// False where the login has no right to the table of positions, which older versions did not have: nothing
  /// is kept then, and there is none.
  [[nodiscard]] virtual bool keeps_positions() const noexcept { return true; }
  [[nodiscard]] virtual std::optional<Position> position(const std::string& stream) = 0;
  virtual void keep_position(const std::string& stream, const Position& position) = 0;
  /// The group has handled events that it still remembers.
  [[nodiscard]] virtual bool has_handled_events() = 0;

  /// Looks at up to `limit` rows, from where the last call ended, and deletes those handled longer than `age`
  /// ago: of the own group, and then of groups that are gone. True when the end was reached (the next call
  /// starts again).
  virtual bool prune(std::chrono::hours age, int limit) = 0;

  /// True when the error is the database's (locked, full, read-only, lost) and not the message's: the engine
  /// then waits and tries again without using up an attempt.
  [[nodiscard]] virtual bool is_transient(const std::exception& error) const noexcept = 0;
  /// The same for an error that a handler has thrown: a statement that takes too long is its own fault.
  [[nodiscard]] virtual bool is_transient_in_handler(const std::exception& error) const noexcept {
    return is_transient(error);
  }

 private:
  std::atomic<Clock::rep> waits_since_{0};
};

}  // namespace tidings
