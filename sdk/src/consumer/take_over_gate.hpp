#pragma once

// Keeps the owner of a strict group from starting any handler until it has all that the group has handed out
// and not settled: what a killed owner left behind comes again only after its AckWait, and may be earlier
// than what is here.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <set>

namespace tidings {

/// What the server says of the durable, at one moment.
struct HandedOut {
  std::uint64_t ack_pending = 0;        ///< handed out, and not settled
  std::uint64_t consumer_sequence = 0;  ///< how often it has handed out anything
  std::uint64_t stream_sequence = 0;    ///< the highest one handed out
};

/// Does no I/O and reads no clock. Sequences are those of the stream, unless said.
class TakeOverGate {
 public:
  using Time = std::chrono::steady_clock::time_point;

  explicit TakeOverGate(Time now) : closed_since_(now) {}

  /// A message has come. False for a second copy of one that is here. One that follows a gap in the
  /// consumer's sequence closes the gate: what is missing is elsewhere.
  [[nodiscard]] bool received(std::uint64_t sequence, std::uint64_t consumer_sequence, Time now);
  /// It is settled, or was dropped.
  void left(std::uint64_t sequence) { here_.erase(sequence); }

  /// Opens the gate when all that is handed out is here. The answer must be as new as what has come: it is
  /// when it counts no fewer deliveries, and knows of everything here. Then all that is here is among what it
  /// counts, and as many are the same ones.
  void tell(const HandedOut& state);

  /// Messages may be elsewhere: the connection was cut, there is a new leader.
  void close(Time now);
  /// It has been closed for too long, and what is not in a handler was dropped: its time counts from now, and
  /// a leader that has forgotten deliveries is believed.
  void restart(Time now) noexcept {
    closed_since_ = now;
    last_consumer_sequence_ = 0;
  }

  [[nodiscard]] bool open() const noexcept { return open_; }
  [[nodiscard]] Time closed_since() const noexcept { return closed_since_; }
  [[nodiscard]] std::size_t here() const noexcept { return here_.size(); }
  /// How many are elsewhere, as last told.
  [[nodiscard]] std::size_t missing() const noexcept {
    return pending_ > here_.size() ? pending_ - here_.size() : 0;
  }
  /// How often something was handed to somebody else while the gate was open.
  [[nodiscard]] std::uint64_t gaps() const noexcept { return gaps_; }

 private:
  bool open_ = false;
  Time closed_since_;
  std::set<std::uint64_t> here_;
  std::uint64_t last_consumer_sequence_ = 0;
  std::size_t pending_ = 0;
  std::uint64_t gaps_ = 0;
};

}  // namespace tidings
