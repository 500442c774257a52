#pragma once

// Events that wait for a worker: a queue for each key, of which one at a time
// is out. Does no I/O and starts no thread.

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

  /// Behind those of its queue with the same or a smaller place.
  void add(const std::string& key, Ticket ticket, std::uint64_t place);

  /// The first of the queue that has waited longest; the queue is shut until done().
  [[nodiscard]] std::optional<Ticket> next();
  /// Opens the queue again.
  void done(const std::string& key);

  /// Empties the queue; those that waited in it, in order.
  std::vector<Ticket> clear(const std::string& key);
  /// Empties all, in no order between queues; those that are out stay out.
  std::vector<Ticket> clear();

  [[nodiscard]] bool any_ready() const noexcept { return !ready_.empty(); }
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_; }

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
  std::size_t waiting_ = 0;
};

}  // namespace tidings
