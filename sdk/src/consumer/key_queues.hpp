#pragma once

// Events that wait for a worker: a lane for each aggregate, of which one at a time
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

  /// Behind those of its lane with the same or a smaller place.
  void add(const std::string& key, Ticket ticket, std::uint64_t place);

  /// The first of the lane that has waited longest; the lane is shut until done().
  [[nodiscard]] std::optional<Ticket> next();
  /// Opens the lane again.
  void done(const std::string& key);

  /// Empties the lane; those that waited in it, in order.
  std::vector<Ticket> clear(const std::string& key);
  /// Empties all, in no order between lanes; those that are out stay out.
  std::vector<Ticket> clear();

  [[nodiscard]] bool any_ready() const noexcept { return !ready_.empty(); }
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_; }

 private:
  struct Waiting {
    Ticket ticket;
    std::uint64_t place;
  };
  struct Lane {
    std::deque<Waiting> tickets;
    bool shut = false;
  };
  std::unordered_map<std::string, Lane> lanes_;
  std::deque<std::string> ready_;  // keys of open lanes with tickets
  std::size_t waiting_ = 0;
};

}  // namespace tidings
