#pragma once

// Decides which event may go out next, so that per aggregate the stream's order
// is commit order whatever fails. Does no I/O and reads no clock.
//
// In commit order (the normal state), many in flight: where the stream may be
// chained to, each event names the one sent before it as the stream's expected
// last message, and the first that is not stored makes the stream refuse all
// behind it. A chain hangs on a head that went alone and that the stream had not
// known: its end is then after all that an earlier processor left there. On one
// that it had (a duplicate), the chain could catch although others before it are
// not stored. Where the stream may not be chained to, an event whose aggregate has
// one in flight waits for it, and all others behind it.
//
// Passing (after a failure): one event in flight for each aggregate; the next
// follows when it is stored, and others pass meanwhile. After a while commit
// order is tried again; without a chain only when no lane has rows in the table.
//
// A lane is an aggregate with something in flight, waiting or FAILED. Rows that
// a lane cannot hold stay in the table and are read again when it is their turn,
// so memory is bounded by the window and the number of blocked aggregates.

#include <tidings/outbox_event.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace tidings {

class PublishScheduler {
 public:
  /// At most `window` events are held (in flight or waiting in memory).
  explicit PublishScheduler(std::size_t window);

  // Rows come in.

  /// How many rows may be offered now.
  [[nodiscard]] std::size_t room() const noexcept;
  /// The next row in commit order. It is taken, or left in the table behind its lane.
  void offer(OutboxEvent event);
  /// A FAILED or PROCESSING row found at start: its aggregate is blocked until `retry_at`.
  void block(const OutboxEvent& head, Timestamp retry_at);

  /// An aggregate whose rows past `after` are to be read from the table.
  struct Refill {
    std::string aggregate_id, aggregate_type;
    OutboxPosition after;
    bool retry = false;  ///< the FAILED head, at `after`, is due
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

  // Outcomes come back. Each returns the event when it is settled by it.

  /// `duplicate`: the stream had it already.
  [[nodiscard]] std::optional<OutboxEvent> stored(std::uint64_t token, bool duplicate = false);
  /// Refused for its own sake: the event comes back to be marked, with retry_count raised. With
  /// `retry_at`, its aggregate is blocked until then; without, the event is dead and the next goes on.
  /// Empty when the refusal does not count, because the event was sent behind one that was not stored.
  template <class RetryAt>
  [[nodiscard]] std::optional<OutboxEvent> refused(std::uint64_t token, RetryAt&& retry_at) {
    auto event = take_refused(token);
    if (event) settle_refused(*event, retry_at(*event));
    return event;
  }
  /// Not stored, and not its fault: it will be sent again, in its place.
  void returned(std::uint64_t token);

  /// Whether the stream may be chained to. When that changes, what is in flight is waited for.
  void allow_chain(bool allowed);

  /// Sends one event at a time until one is stored: the broker was in trouble.
  void probe() noexcept { probing_ = true; }
  [[nodiscard]] bool probing() const noexcept { return probing_; }

  // What it looks like.

  [[nodiscard]] std::size_t in_flight() const noexcept { return in_flight_; }
  [[nodiscard]] bool idle() const noexcept { return held_ == 0 && refills_.empty(); }
  [[nodiscard]] std::size_t blocked() const noexcept { return retries_.size(); }
  [[nodiscard]] std::optional<Timestamp> next_retry() const;
  /// Rows that were offered and stay in the table until their lane goes on.
  [[nodiscard]] std::int64_t left_behind() const noexcept { return left_behind_; }
  [[nodiscard]] bool chained() const noexcept { return in_order_ && chain_allowed_; }
  /// Before every row is offered again: what was left behind is counted anew.
  void forget_left_behind();

 private:
  struct Key {
    std::string aggregate_id, aggregate_type;
  };
  struct KeyView {
    std::string_view aggregate_id, aggregate_type;
    KeyView(std::string_view id, std::string_view type) : aggregate_id(id), aggregate_type(type) {}
    KeyView(const Key& key) : KeyView(key.aggregate_id, key.aggregate_type) {}
    bool operator==(const KeyView&) const = default;
  };
  struct KeyHash {
    using is_transparent = void;
    std::size_t operator()(const KeyView& key) const noexcept;
  };
  struct KeyEqual {
    using is_transparent = void;
    bool operator()(const KeyView& left, const KeyView& right) const noexcept { return left == right; }
  };

  using Slot = std::uint32_t;  // index into entries_
  static constexpr Slot none = ~Slot{0};

  struct Lane {
    const Key* key = nullptr;
    Slot first = none, last = none;  // its events in memory, in commit order; the first may be in flight
    std::uint32_t size = 0;
    OutboxPosition head_position;       // of the FAILED head
    int head_retries = 0;               // of it: the table may not show the latest yet
    OutboxPosition last_position;       // of the last row that was taken
    std::int64_t left_behind = 0;       // rows past it that stay in the table
    std::optional<Timestamp> retry_at;  // its next row is FAILED; nothing goes before that time
    bool refilling = false;             // in refills_, or rows are being read
  };
  struct Entry {
    OutboxEvent event;
    Lane* lane = nullptr;
    std::uint64_t number = 0;  // grows with each event taken; 0 when the slot is free
    Slot next = none;          // in its lane
    bool sent = false;
  };

  [[nodiscard]] std::uint64_t token_of(Slot slot) const noexcept;
  [[nodiscard]] Slot in_flight_slot(std::uint64_t token) const noexcept;
  Lane& lane_of(const OutboxEvent& event);
  void take(Lane& lane, OutboxEvent event);
  OutboxEvent remove(Slot slot);
  void leave_in_table(Lane& lane);
  void drop_unsent(Lane& lane);
  void advance(Lane& lane);
  std::optional<OutboxEvent> take_refused(std::uint64_t token);
  void settle_refused(const OutboxEvent& event, std::optional<Timestamp> retry_at);
  void landed();
  void break_order();
  void try_order_again();
  void make_ready();

  std::size_t window_;
  std::deque<Entry> entries_;  // as many as were ever held at once; a deque, since events must not move
  std::vector<Slot> free_;
  std::size_t held_ = 0;
  std::unordered_map<Key, Lane, KeyHash, KeyEqual> lanes_;
  std::deque<Slot> ready_;                   // may be sent, in this order
  std::multimap<Timestamp, Lane*> retries_;  // blocked lanes by the time of their retry
  std::deque<Lane*> refills_;                // lanes whose queue is empty and that left rows behind
  std::uint64_t next_number_ = 1;
  std::size_t in_flight_ = 0;
  std::int64_t left_behind_ = 0;

  bool chain_allowed_ = true;
  bool in_order_ = true;
  bool settling_ = false;        // nothing is sent until what is in flight has landed
  bool head_in_flight_ = false;  // of a chain; nothing is sent until it is stored
  bool probing_ = false;
  std::string last_sent_;  // id of the event sent last, to which the next is chained
  std::uint64_t stored_in_this_state_ = 0;
  std::uint64_t passing_for_;  // events stored before the chain is tried again
};

}  // namespace tidings
