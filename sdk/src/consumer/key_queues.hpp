#pragma once

// Events that wait for a worker: a queue for each key, from which one event at a time is handed out.
// Does no I/O and starts no thread.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace tidings {

class KeyQueues {
 public:
  using Ticket = std::uint64_t;

  /// The ticket goes behind those of its queue with the same or a smaller place.
  void add(const std::string& key, Ticket ticket, std::uint64_t place);

  /// The first ticket of the queue that has waited longest; the queue is shut until done().
  [[nodiscard]] std::optional<Ticket> next();
  /// Queues that next() can hand out from.
  [[nodiscard]] std::size_t open() const noexcept { return ready_.size(); }
  /// Opens the queue again.
  void done(const std::string& key);

  /// Empties the queue and returns what waited in it, in order.
  std::vector<Ticket> clear(const std::string& key);
  /// Empties all queues; tickets already handed out are unaffected.
  void clear();

 private:
  struct Waiting {
    Ticket ticket;
    std::uint64_t place;
  };
  struct Queue {
    std::deque<Waiting> tickets;
    bool shut = false;
  };
  std::unordered_map<std::string, Queue> queues_;
  std::deque<std::string> ready_;  // keys of open queues with tickets
};

}  // namespace tidings
