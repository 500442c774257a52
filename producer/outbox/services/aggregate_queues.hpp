#pragma once

// The events in memory, in a queue for each aggregate, and what is known of an aggregate's rows in the table.

#include <tidings/outbox_event.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace tidings {

class AggregateQueues {
 public:
  struct Aggregate {
    std::string aggregate_id, aggregate_type;
  };

  /// The FAILED or PROCESSING row that its aggregate waits for. Its retry count is kept here, since the table
  /// may not show the latest yet.
  struct BlockedHead {
    OutboxPosition position;
    int retry_count = 0;
    Timestamp due;         ///< when it is tried again, unless another program has written it since
    Timestamp updated_at;  ///< which then is later
  };

  /// PostgreSQL: events with the same createdAt that are settled. Their order is not that of positions, so a
  /// position does not tell them from those which are left in the table.
  struct SettledTies {
    std::string created_at;
    std::vector<std::string> ids;
  };

  struct Entry;
  struct Queue {
    const Aggregate* aggregate = nullptr;
    Entry *first = nullptr, *last = nullptr;  ///< in memory, in commit order; the first may be in flight
    std::uint32_t size = 0;                   ///< how many these are
    std::optional<BlockedHead> blocked;       ///< nothing goes out before its retry is due
    OutboxPosition last_position;             ///< the last row that was taken into memory
    SettledTies settled_ties;                 ///< of the rows next to it
    std::int64_t left_behind = 0;             ///< PENDING rows past it that stay in the table
    bool more_behind = false;                 ///< so may others do, which are not counted
    bool refilling = false;                   ///< waits for rows to be read, or they are being read

    [[nodiscard]] bool has_rows_behind() const noexcept { return left_behind > 0 || more_behind; }
  };

  /// An event in memory.
  struct Entry {
    OutboxEvent event;
    Queue* queue = nullptr;
    std::uint64_t number = 0;  ///< grows with each event taken
    Entry* next = nullptr;     ///< in its queue
    bool sent = false;
    bool in_batch = false;      ///< how it was sent last
    bool alone = false;         ///< was sent before, so it does not go in a batch
    std::uint64_t sent_at = 0;  ///< number of its last sending
    bool on_trial = false;      ///< of a suspect subject, and sent after another was stored
  };

  /// The aggregate's queue, made when there is none. It stays where it is until it is erased.
  Queue& of(const OutboxEvent& event);
  void erase(const Queue& queue);

  /// An entry stays where it is until it is removed.
  Entry& push(Queue& queue, OutboxEvent&& event);
  OutboxEvent remove_first(Queue& queue);

  /// The event, which is removed, is settled, and its queue goes on.
  static void remember_ties(Queue& queue, const OutboxEvent& settled);

  /// By their numbers.
  [[nodiscard]] std::map<std::uint64_t, Entry>& entries() noexcept { return entries_; }
  [[nodiscard]] const std::map<std::uint64_t, Entry>& entries() const noexcept { return entries_; }
  /// The event in flight with this number; nullptr when there is none.
  [[nodiscard]] Entry* in_flight(std::uint64_t number);

  void leave_behind(Queue& queue, std::int64_t rows);
  void forget_left_behind();
  [[nodiscard]] std::int64_t left_behind() const noexcept { return left_behind_; }

 private:
  /// Finds the aggregate of an event without making an Aggregate of it.
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(const auto& of) const noexcept {
      const std::hash<std::string_view> hash;
      return hash(of.aggregate_id) * 31 + hash(of.aggregate_type);
    }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const auto& left, const auto& right) const noexcept {
      return left.aggregate_id == right.aggregate_id && left.aggregate_type == right.aggregate_type;
    }
  };

  std::map<std::uint64_t, Entry> entries_;
  std::unordered_map<Aggregate, Queue, Hash, Equal> queues_;
  std::uint64_t next_number_ = 1;
  std::int64_t left_behind_ = 0;
};

}  // namespace tidings
