#pragma once

// Decides which event may go out next, so that per aggregate the stream's order
// is commit order whatever fails. Does no I/O and reads no clock.
//
// In commit order (the normal state), many events are in flight. Where the stream may be chained to, each
// event names the one sent before it as the stream's expected last message, so the first that is not stored
// makes the stream refuse all behind it. A chain begins with an event that is sent alone and that the stream
// did not have, so it is stored after everything an earlier processor published. If it were a duplicate, the
// chain could succeed even though earlier events were never stored. Where the stream may not be chained to,
// an event whose aggregate has one in flight waits for it, and so do all others behind it.
//
// In per-aggregate mode ("passing", after a failure), each aggregate has one event in flight; its next
// follows when that is stored, and other aggregates pass meanwhile. After a while commit order is tried
// again; without a chain only when no aggregate has rows left in the table.
//
// An aggregate has a queue while it has something in flight, waiting or FAILED. Rows
// that a queue cannot hold stay in the table and are read again when it is their turn,
// so memory is bounded by the window and the number of blocked aggregates.

#include "services/aggregate_queues.hpp"

#include <tidings/outbox_event.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tidings {

class PublishScheduler {
 public:
  /// At most `window` events are held (in flight or waiting in memory).
  explicit PublishScheduler(std::size_t window);

  // Rows come in.

  /// How many rows may be offered now.
  [[nodiscard]] std::size_t room() const noexcept {
    return window_ - std::min(window_, queues_.entries().size());
  }
  /// The next row in commit order. It is taken, or left in the table behind others of its aggregate.
  void offer(OutboxEvent event);
  /// A FAILED or PROCESSING row found at start: its aggregate is blocked until `retry_at`.
  void block(const OutboxEvent& head, Timestamp retry_at);

  /// An aggregate whose rows past `after` are to be read from the table.
  struct Refill {
    std::string aggregate_id, aggregate_type;
    OutboxPosition after;
    bool retry = false;   ///< the FAILED head, at `after`, is due
    int retry_count = 0;  ///< of that head; the table may not show the latest yet
    AggregateQueues::Queue* queue = nullptr;
  };
  /// The next aggregate that wants rows: its retry is due at `now`, or what it left behind can go on.
  [[nodiscard]] std::optional<Refill> next_refill(Timestamp now);
  /// The answer to next_refill: rows in commit order; `complete` when there were no more.
  void refill(const Refill& request, std::vector<OutboxEvent> rows, bool complete);

  // Events go out.

  struct Send {
    std::uint64_t token = 0;
    const OutboxEvent* event = nullptr;  ///< valid until its outcome is reported
    std::string after;                   ///< id of the expected last message; empty for none
  };
  /// The next event to publish; empty when none may go now.
  [[nodiscard]] std::optional<Send> next_send();

  // Outcomes come back. stored() and refused() return the event if the outcome settles it.

  /// `duplicate`: the stream had it already.
  [[nodiscard]] std::optional<OutboxEvent> stored(std::uint64_t token, bool duplicate = false);
  /// When a refused event is tried again; empty when it is not.
  using RetryAt = std::function<std::optional<Timestamp>(const OutboxEvent&)>;
  /// Refused because of the event itself: it comes back with retry_count raised, which happens here alone.
  /// Its aggregate is blocked until `retry_at`; without such a time, the event is dead and the next goes on.
  /// Empty when the refusal does not count, because the event was sent behind one that was not stored.
  [[nodiscard]] std::optional<OutboxEvent> refused(std::uint64_t token, const RetryAt& retry_at);
  /// Not stored, because of something else: it will be sent again, in its place.
  void returned(std::uint64_t token);

  /// Whether the stream may be chained to. When that changes, what is in flight is waited for.
  void allow_chain(bool allowed);

  /// After a transient error of the broker: sends one event at a time until one is stored.
  void probe() noexcept { probing_ = true; }
  [[nodiscard]] bool probing() const noexcept { return probing_; }

  // Its state.

  [[nodiscard]] std::size_t in_flight() const noexcept { return in_flight_; }
  [[nodiscard]] bool idle() const noexcept { return queues_.entries().empty() && refills_.empty(); }
  [[nodiscard]] std::size_t blocked() const noexcept { return retries_.size(); }
  [[nodiscard]] std::optional<Timestamp> next_retry() const;
  /// How many rows were offered and stay in the table until their aggregate goes on.
  [[nodiscard]] std::int64_t left_behind() const noexcept { return queues_.left_behind(); }
  [[nodiscard]] bool chained() const noexcept { return in_order_ && chain_allowed_; }
  /// Before every row is offered again: what was left behind is counted anew.
  void forget_left_behind() { queues_.forget_left_behind(); }

 private:
  using Queue = AggregateQueues::Queue;
  using Entry = AggregateQueues::Entry;

  void take(Queue& queue, OutboxEvent&& event);
  void leave_in_table(Queue& queue) { queues_.leave_behind(queue, queue.left_behind + 1); }
  void drop_unsent(Queue& queue);
  void block(Queue& queue, const OutboxEvent& head, Timestamp retry_at);
  void advance(Queue& queue);
  void landed();
  void break_order();
  void try_order_again();

  std::size_t window_;
  AggregateQueues queues_;
  std::deque<Entry*> ready_;                  // may be sent, in this order
  std::multimap<Timestamp, Queue*> retries_;  // blocked aggregates, by the time of their retry
  std::deque<Queue*> refills_;                // aggregates that have rows in the table and none in memory
  std::size_t in_flight_ = 0;

  bool chain_allowed_ = true;
  bool in_order_ = true;
  bool settling_ = false;        // nothing is sent until what is in flight has landed
  bool head_in_flight_ = false;  // a chain's first event; nothing is sent until it is stored
  bool probing_ = false;
  std::string last_sent_;  // id of the event sent last, to which the next is chained
  std::uint64_t stored_in_this_state_ = 0;
  std::uint64_t passing_for_;  // events stored before commit order is tried again
};

}  // namespace tidings
