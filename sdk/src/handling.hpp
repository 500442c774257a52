#pragma once

// Runs handlers inside the inbox's transactions and says what is to become of
// each message. Knows nothing of NATS.

#include "held_aggregates.hpp"

#include <tidings/consumer.hpp>

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tidings {

/// What to do with a message now that the inbox has committed.
struct Verdict {
  enum class Kind { handled, duplicate, ignored, retry, held_back, dead_letter };
  Kind kind = Kind::handled;
  std::chrono::milliseconds delay{};  ///< of a retry, or of one that is held back behind it
  std::string reason{};               ///< of a retry or dead letter
  int attempts = 0;                   ///< handler starts so far
};

/// The inbox's database is in trouble (locked, full, gone): nothing was committed and no
/// attempt used; try the same messages again.
class InboxTrouble : public Error {
 public:
  explicit InboxTrouble(const std::string& what) : Error("inbox: " + what, Retry::yes) {}
};

class Handling {
 public:
  using Handlers = std::map<std::string, ConsumerEngine::Handler, std::less<>>;

  Handling(Inbox& inbox, const Handlers& handlers, const ConsumerOptions& options)
      : inbox_(inbox), handlers_(handlers), options_(options) {}

  /// Group commit: messages that JetStream hands out for the first time, in one transaction with
  /// a savepoint each, so that one that fails rolls back alone. Ends early when the batch's time
  /// is up. Returns a verdict for each message that it came to: a prefix of `deliveries`.
  /// When the transaction as a whole fails, for a deferred constraint or a ROLLBACK of a handler's own,
  /// each is handled alone.
  [[nodiscard]] std::vector<Verdict> together(std::span<Delivery> deliveries);

  /// One redelivered message. Its start is committed before the handler runs: a message that
  /// kills the process is found by its count, and its former neighbours are not blamed: dead after
  /// `max_attempts` deaths, the one in a batch included. A delivery
  /// starts with attempt 0; after InboxTrouble, calling again with the same object counts no new start.
  [[nodiscard]] Verdict alone(Delivery& delivery);

  /// After the dead letter's original is terminated: a redriven copy starts from zero.
  void forget(const std::string& event_id);

  /// A small step of forgetting what was handled longer than `age` ago; true at the end of a round.
  bool prune(std::chrono::hours age, int limit);

 private:
  const ConsumerEngine::Handler* find_handler(const std::string& type) const;
  [[nodiscard]] std::vector<Verdict> in_one_transaction(std::span<Delivery> deliveries);
  [[nodiscard]] std::vector<Verdict> one_by_one(std::span<Delivery> deliveries);
  [[nodiscard]] Verdict in_savepoint(Delivery& delivery);
  [[nodiscard]] Verdict alone_unless_held(Delivery& delivery);
  [[nodiscard]] std::optional<Verdict> held_back(const Delivery& delivery);
  void hold_or_release(const Delivery& delivery, const Verdict& verdict);
  [[nodiscard]] Verdict run_started(Delivery& delivery, const ConsumerEngine::Handler& handler);
  [[nodiscard]] Verdict unhandled(const Delivery& delivery) const;
  [[nodiscard]] Verdict judge_current_exception(const Delivery& delivery) const;
  [[nodiscard]] Verdict retry(const Delivery& delivery, std::string reason,
                              std::optional<std::chrono::milliseconds> delay) const;
  void remember(const Delivery& delivery, const Verdict& verdict);

  template <class Work>
  auto guarded(Work&& work);

  Inbox& inbox_;
  const Handlers& handlers_;
  const ConsumerOptions& options_;
  HeldAggregates held_;
};

}  // namespace tidings
