#pragma once

// An event that this instance has given back to the group, for its retry or behind another one's,
// takes effect before later events of its aggregate: they wait until it has come again.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

namespace tidings {

/// Of one instance; does no I/O and reads no clock. Sequences are those of the stream.
///
/// While this instance gets all that the group hands out, what it gave back comes to it again, and a hold
/// lasts until then. What goes to another instance shows as a gap in the consumer's sequence: that instance
/// may have settled the event, and does not tell. Then only a retry holds, until a little after its time.
class HeldKeys {
 public:
  using Clock = std::chrono::steady_clock;

  /// `longest` bounds how long a hold outlasts the time of its event, which may have been deleted meanwhile.
  explicit HeldKeys(std::chrono::milliseconds longest) : longest_(longest) {}

  /// A message has come, and is handled after those that came before it. The consumer's sequence counts what
  /// the group hands out to anyone. Holds end by the time at which a message came: when it is handled late,
  /// what it would overtake may have come meanwhile.
  void arrived(std::uint64_t consumer_sequence, Clock::time_point at);

  /// Whether an earlier event of the aggregate is to come first.
  [[nodiscard]] bool holds(std::string_view key, std::uint64_t sequence);

  /// The event at `sequence` is given back and comes again at `until`.
  void hold(const std::string& key, std::uint64_t sequence, Clock::time_point until);

  /// The event at `sequence` is given back behind an earlier one. Returns for how long: longer each time when
  /// the earlier one is late.
  [[nodiscard]] std::chrono::milliseconds hold_behind(const std::string& key, std::uint64_t sequence,
                                                      Clock::time_point now);

  /// The event at `sequence` is settled, or at hand and waiting in order.
  void release(std::string_view key, std::uint64_t sequence);

 private:
  struct Out {
    Clock::time_point due;
    std::chrono::milliseconds delay{};  // that was asked for
    bool retry = false;                 // else it went behind another
    int times_late = 0;                 // that it came again before the other one
    std::uint64_t gaps = 0, round = 0;  // at the time
  };
  using Events = std::map<std::uint64_t, Out>;
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };

  [[nodiscard]] bool is_over(const Out& out) const;
  void put(const std::string& key, std::uint64_t sequence, const Out& out);
  void forget_old();

  const std::chrono::milliseconds longest_;
  std::unordered_map<std::string, Events, Hash, std::equal_to<>> out_;  // by key; of each at least one
  std::size_t keys_to_look_through_ = 1000;
  std::uint64_t last_sequence_ = 0;  // the consumer's
  std::uint64_t gaps_ = 0;
  std::uint64_t round_ = 0;  // what is given back between two arrivals shares one
  Clock::time_point last_arrival_ = Clock::time_point::min();
};

}  // namespace tidings
