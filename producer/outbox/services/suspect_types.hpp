#pragma once

// Types of events that the stream did not store, which may be their own fault (a right that is missing, a
// stream without their subject, a limit by subject) or the broker's. It is theirs when an event of another
// type, sent after that, is stored, and they are not stored again. A type is suspect until one of its events
// is stored, or none is held and none on trial. Does no I/O and reads no clock.

#include "services/aggregate_queues.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace tidings {

class SuspectTypes {
 public:
  using Entry = AggregateQueues::Entry;

  [[nodiscard]] bool empty() const noexcept { return types_.empty(); }
  [[nodiscard]] bool contains(const Entry& entry) const {
    return !types_.empty() && types_.contains(entry.event.event_type);
  }

  /// The entry was not stored, after `sends` events were sent in all. Its type is suspect, and it is held.
  void add(Entry& entry, std::uint64_t sends);
  /// An entry of a suspect type that is not to be sent with the others.
  void hold(Entry& entry);
  /// The earliest held entry of the type that failed longest ago; nullptr when none is held. Not held any
  /// more.
  [[nodiscard]] Entry* take_probe();
  /// An event of `type`, sent as number `sent_at`, is stored: the entries that may go out now, those of other
  /// types on trial.
  [[nodiscard]] std::vector<Entry*> release(const std::string& type, std::uint64_t sent_at);
  /// An entry on trial has its result.
  void end_trial(Entry& entry);

 private:
  struct Suspect {
    std::uint64_t failed_at = 0;
    std::map<std::uint64_t, Entry*> held;  // by number
    std::set<Entry*> on_trial;
  };
  std::map<std::string, Suspect, std::less<>> types_;
};

}  // namespace tidings
