#pragma once

// While an event waits for its retry, later events of its aggregate wait with it:
// handled meanwhile, they would overtake it.

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace tidings {

/// Of one instance; does no I/O and reads no clock. Sequences are those of the stream.
class HeldAggregates {
 public:
  using Clock = std::chrono::steady_clock;

  /// The event at `sequence` comes again at `until`. An earlier one of the aggregate keeps its hold.
  void hold(const std::string& key, std::uint64_t sequence, Clock::time_point until, Clock::time_point now);

  /// The event at `sequence` is settled.
  void release(std::string_view key, std::uint64_t sequence);

  /// For how long the event at `sequence` is to be given back; empty when nothing holds it. A hold ends
  /// a little after its time: the retry may have gone to another instance, which does not tell.
  [[nodiscard]] std::optional<std::chrono::milliseconds> delay(std::string_view key, std::uint64_t sequence,
                                                               Clock::time_point now);

 private:
  struct Hold {
    std::uint64_t sequence = 0;
    Clock::time_point until;
  };
  std::map<std::string, Hold, std::less<>> holds_;
};

}  // namespace tidings
