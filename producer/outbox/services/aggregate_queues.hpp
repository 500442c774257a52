#pragma once

// The events that are held in memory, in a queue for each aggregate, and what is known
// of an aggregate's rows in the table.

#include <tidings/outbox_event.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace tidings {

class AggregateQueues {
 public:
  struct Aggregate {
    std::string id, type;
  };
  using Slot = std::uint32_t;  ///< where an event is held: an index into the entries
  static constexpr Slot none = ~Slot{0};

  /// The FAILED or PROCESSING row that its aggregate waits for. Its retry count is kept here, since the table
  /// may not show the latest yet.
  struct BlockedHead {
    OutboxPosition position;
    int retry_count = 0;
  };

  struct Queue {
    const Aggregate* aggregate = nullptr;
    Slot first = none, last = none;  ///< its events in memory, in commit order; the first may be in flight
    std::uint32_t size = 0;
    std::optional<BlockedHead> blocked;  ///< nothing goes out before its retry is due
    OutboxPosition last_position;        ///< the last row that was taken into memory
    std::int64_t left_behind = 0;        ///< rows past it that stay in the table
    bool refilling = false;              ///< waits for rows to be read, or they are being read
  };

  struct Entry {
    OutboxEvent event;
    Queue* queue = nullptr;
    std::uint64_t number = 0;  ///< grows with each event taken; 0 when the slot is free
    Slot next = none;          ///< in its queue
    bool sent = false;
  };

  /// The aggregate's queue, made when there is none.
  Queue& of(const OutboxEvent& event);
  /// There must be one.
  Queue& find(std::string_view aggregate_id, std::string_view aggregate_type);
  void erase(const Queue& queue);

  Slot push(Queue& queue, OutboxEvent event);
  OutboxEvent remove(Slot slot);

  [[nodiscard]] Entry& operator[](Slot slot) { return entries_[slot]; }
  [[nodiscard]] const Entry& operator[](Slot slot) const { return entries_[slot]; }
  /// One past the highest slot; some below it are free.
  [[nodiscard]] Slot slots() const noexcept { return static_cast<Slot>(entries_.size()); }
  /// How many events are held.
  [[nodiscard]] std::size_t held() const noexcept { return entries_.size() - free_.size(); }

  /// Names an event across a change of its slot's owner.
  [[nodiscard]] std::uint64_t token_of(Slot slot) const noexcept;
  /// The slot of the event that is in flight under this token; none for any other.
  [[nodiscard]] Slot in_flight(std::uint64_t token) const noexcept;

  void leave_behind(Queue& queue, std::int64_t rows);
  void forget_left_behind();
  [[nodiscard]] std::int64_t left_behind() const noexcept { return left_behind_; }

 private:
  struct View {
    std::string_view id, type;
    View(std::string_view its_id, std::string_view its_type) : id(its_id), type(its_type) {}
    View(const Aggregate& aggregate) : View(aggregate.id, aggregate.type) {}
    bool operator==(const View&) const = default;
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(const View& view) const noexcept;
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const View& left, const View& right) const noexcept { return left == right; }
  };

  std::deque<Entry> entries_;  // as many as were ever held at once; a deque, since events must not move
  std::vector<Slot> free_;
  std::unordered_map<Aggregate, Queue, Hash, Equal> queues_;
  std::uint64_t next_number_ = 1;
  std::int64_t left_behind_ = 0;
};

}  // namespace tidings
