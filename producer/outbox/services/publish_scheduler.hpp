#pragma once

// Decides which event may go out next, so that per aggregate the stream's order
// is commit order whatever fails. Does no I/O and reads no clock.
//
// Events go out in commit order, many in flight, but one of each aggregate: its next waits until that one is
// stored or dead, and other aggregates pass meanwhile. Where atomic batches are allowed, the waiting events
// of aggregates that have many go together in one, of which all or none are stored. What was sent in vain, in
// a batch or by itself, goes alone the next time. Events of a subject that the stream may not take are held
// back and go alone, see SuspectSubjects.
//
// An aggregate has a queue while it has something in flight, waiting or FAILED. Rows
// that a queue cannot hold stay in the table and are read again when it is their turn,
// so memory is bounded by the window and the number of blocked aggregates.

#include "services/aggregate_queues.hpp"
#include "services/suspect_subjects.hpp"

#include <tidings/event_publisher.hpp>
#include <tidings/outbox_event.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <queue>
#include <string>
#include <utility>
#include <vector>

namespace tidings {

class PublishScheduler {
 public:
  /// At most `window` events are held (in flight or waiting in memory). They are published to so many
  /// partitions.
  explicit PublishScheduler(std::size_t window, int partitions = 1);

  // Rows come in.

  /// How many rows may be offered now.
  [[nodiscard]] std::size_t room() const noexcept {
    return window_ - std::min(window_, queues_.entries().size());
  }
  /// The next row in commit order. It is taken, or left in the table behind others of its aggregate.
  void offer(OutboxEvent event);
  /// A FAILED or PROCESSING row found at start: its aggregate is blocked until it is `due`. With `look_at`,
  /// it is read again at that time, if that is before: another program may settle it.
  void block(const OutboxEvent& head, Timestamp due, std::optional<Timestamp> look_at = {});
  /// A FAILED or PROCESSING row found later. Unless it is known, another program has written it: from now on
  /// what comes after it in its aggregate waits for it.
  void notice(const OutboxEvent& row, Timestamp due, std::optional<Timestamp> look_at = {});

  /// An aggregate whose rows past `after` are to be read from the table.
  struct Refill {
    std::string aggregate_id, aggregate_type;
    OutboxPosition after;
    std::vector<std::string> settled_beside;  ///< others with the createdAt of `after`
    bool retry = false;                       ///< the FAILED head, at `after`, is due, or is looked at
    int retry_count = 0;                      ///< of that head; the table may not show the latest yet
    Timestamp due{};                          ///< that head, as long as nobody else has written it
    Timestamp updated_at{};                   ///< its last change that is known
    AggregateQueues::Queue* queue = nullptr;
  };
  /// The next aggregate that wants rows: its retry is due at `now`, or what it left behind can go on.
  [[nodiscard]] std::optional<Refill> next_refill(Timestamp now);
  /// The answer to next_refill: rows in commit order; `complete` when there were no more. Where a retry's
  /// head is gone, it is not a retry any more.
  void refill(const Refill& request, std::vector<OutboxEvent> rows, bool complete);

  // Events go out.

  /// The next event to publish by itself; empty when none may go now. With `probe_suspects`, it is one of a
  /// suspect subject when there is no other, and nothing is in flight. It stays valid until its outcome is
  /// reported.
  [[nodiscard]] std::optional<PublishRequest> next_send(bool probe_suspects = true);
  /// Once next_send() has none: the next events to publish as one batch, in commit order. False when there is
  /// none.
  [[nodiscard]] bool next_batch(std::vector<PublishRequest>& batch);
  /// Whether the stream takes batches.
  void allow_batches(bool allowed) noexcept { batches_allowed_ = allowed; }

  // Outcomes come back. stored() and refused() return the event, or nothing when that token is not in flight.

  [[nodiscard]] std::optional<OutboxEvent> stored(std::uint64_t token);
  /// When a refused event is tried again; empty when it is not.
  using RetryAt = std::function<std::optional<Timestamp>(const OutboxEvent&)>;
  /// Refused at the time `at` because of the event itself: it comes back with retry_count raised, which
  /// happens here alone, and `at` as updated_at. Its aggregate is blocked until `retry_at`; without such a
  /// time, the event is dead and the next goes on.
  [[nodiscard]] std::optional<OutboxEvent> refused(std::uint64_t token, Timestamp at,
                                                   const RetryAt& retry_at);
  /// Not stored, because of something else: it will be sent again, in its place and alone.
  void returned(std::uint64_t token);
  /// Not stored though sent by itself, because of its subject or of something else: others are sent first.
  void suspected(std::uint64_t token);
  /// The event in flight; nullptr when it is not.
  [[nodiscard]] const AggregateQueues::Entry* sent(std::uint64_t token) { return queues_.in_flight(token); }

  /// After a transient error of the broker: sends one event at a time until one is stored.
  void probe() noexcept { probing_ = true; }
  [[nodiscard]] bool probing() const noexcept { return probing_; }

  // Its state.

  /// Something is pending that is not of a suspect subject.
  [[nodiscard]] bool has_unsuspected() const noexcept { return !ready_.empty() || !runs_.empty(); }
  [[nodiscard]] bool has_suspects() const noexcept { return !suspects_.empty(); }
  [[nodiscard]] std::size_t in_flight() const noexcept { return in_flight_; }
  [[nodiscard]] bool idle() const noexcept { return queues_.entries().empty() && refills_.empty(); }
  [[nodiscard]] std::size_t blocked() const noexcept { return retries_.size(); }
  /// The first that is due after this time.
  [[nodiscard]] std::optional<Timestamp> next_retry(Timestamp after) const;
  /// How many rows were offered and stay in the table until their aggregate goes on.
  [[nodiscard]] std::int64_t left_behind() const noexcept { return queues_.left_behind(); }
  /// Before every row is offered again: what was left behind is counted anew.
  void forget_left_behind() { queues_.forget_left_behind(); }

 private:
  using Queue = AggregateQueues::Queue;
  using Entry = AggregateQueues::Entry;

  void take(Queue& queue, OutboxEvent&& event);
  void leave_in_table(Queue& queue) { queues_.leave_behind(queue, queue.left_behind + 1); }
  void make_ready(Entry& entry) { ready_.emplace(entry.number, &entry); }
  PublishRequest send(Entry& entry);
  void leave_all_in_table(Queue& queue);
  [[nodiscard]] bool leave_if_blocked(Entry& entry);
  void block(Queue& queue, const OutboxEvent& head, Timestamp due, std::optional<Timestamp> look_at);
  void advance(Queue& queue, const OutboxEvent& settled);
  void advance(Queue& queue);
  void land(Entry& entry);
  [[nodiscard]] bool may_be_batched(const Entry& entry) const;
  [[nodiscard]] bool goes_in_batch(const Queue& queue) const;
  void dissolve_runs();

  std::size_t window_;
  AggregateQueues queues_;
  // The first of each queue, unless it is in flight; the earliest goes out first.
  std::priority_queue<std::pair<std::uint64_t, Entry*>, std::vector<std::pair<std::uint64_t, Entry*>>,
                      std::greater<>>
      ready_;
  std::multimap<Timestamp, Queue*> retries_;  // blocked aggregates, by the time of their retry
  std::deque<Queue*> refills_;                // aggregates that have rows in the table and none in memory
  std::deque<Queue*> runs_;                   // with none in flight and many waiting: these go in a batch
  SuspectSubjects suspects_;
  std::size_t in_flight_ = 0;
  std::uint64_t sends_ = 0;
  bool probing_ = false;
  bool batches_allowed_ = false;
};

}  // namespace tidings
