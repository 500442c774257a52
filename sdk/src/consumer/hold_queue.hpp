#pragma once

// What a strict group's owner has and has not handled, in the order of the stream. An event that waits for
// its retry stays here, and later ones of its key wait behind it; all others pass.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tidings {

/// Does no I/O and reads no clock. Sequences are those of the stream.
class HoldQueue {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// An empty key: it waits for nobody, and nobody for it. `due`: not before.
  void add(std::uint64_t sequence, const std::string& key, Time due = {});

  /// Takes out up to `max` that may be handled now, the earliest first. What is to follow them in their keys
  /// must be handled after them, or be added again.
  [[nodiscard]] std::vector<std::uint64_t> take(std::size_t max, Time now);

  /// Takes out all, in order.
  [[nodiscard]] std::vector<std::uint64_t> take_all();

  /// When the next event that waits for its retry is due.
  [[nodiscard]] std::optional<Time> next_due(Time now) const;

  /// Keys with an event that waits for its retry.
  [[nodiscard]] std::size_t held_keys(Time now) const;
  /// Of the key that most events wait in, behind one that waits for its retry; empty when none does.
  [[nodiscard]] std::string longest_key(Time now) const;
  [[nodiscard]] std::size_t size() const noexcept { return events_.size(); }

 private:
  struct Held {
    std::string key;
    Time due{};
  };
  std::map<std::uint64_t, Held> events_;
};

}  // namespace tidings
